"""A disk that fails: events are refused in time and never shown, and the exporter recovers."""

from __future__ import annotations

import asyncio
import fcntl
import resource
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from running import SECRET, SIGNED, Serving, encoded, event, until

from exporter.app.build import build
from exporter.app.run import run
from exporter.errors import StorageDamaged, StorageHangs, StorageUnavailable
from exporter.settings import loading
from exporter.storage.shutdown import close_or_abandon
from exporter.storage.sqlite.last_acknowledged import note_path
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from conftest import Serve

    from exporter.storage.contract import Chunk, Table

NOT_A_BYTE = 0


def limit_file_size(server: Serving, size: int) -> None:
    """Limit the size of files that the process writes, as if the disk were full."""
    resource.prlimit(server.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def lift(server: Serving) -> None:
    limit_file_size(server, resource.RLIM_INFINITY)


def test_a_fault_is_refused_leaves_no_trace_and_is_recovered_from(serve: Serve) -> None:
    server = serve()
    assert server.post(event(esim_id="before")).status_code == 200
    before = server.state()
    during = event(esim_id="during")

    limit_file_size(server, NOT_A_BYTE)
    for _ in range(5):
        response = server.post(during)
        assert response.status_code == 503
        assert int(response.headers["Retry-After"]) > 0
        answer = response.json()
        assert (answer["code"], answer["status"]) == (503, "error")
        assert str(server.folder) not in response.text
        assert server.state() == before
    own = server.own()
    assert own["storage_commit_errors_total"] >= 1
    assert server.rejected("storage") == 5
    assert server.get("/-/ready").status_code == 200
    assert server.get("/-/healthy").status_code == 200
    assert server.client.get(server.webhook).status_code == 200
    assert server.post(during, b"wrong").status_code == 401

    lift(server)
    until(lambda: server.post(during).status_code == 200)
    after = server.state()
    assert 'esim_id="during"' in after
    server.kill()
    assert serve().state() == after


def test_what_cannot_be_kept_among_the_rejected_is_not_answered_as_if_it_were(
    serve: Serve,
) -> None:
    server = serve()
    limit_file_size(server, NOT_A_BYTE)

    assert server.post(b"{").status_code == 503
    assert server.own()["rejected_events"] == 0

    lift(server)
    until(lambda: server.post(b"{").status_code == 400)
    assert server.own()["rejected_events"] == 1


def test_no_false_200_while_faults_come_and_go_under_load(serve: Serve) -> None:
    server = serve()
    acknowledged: list[str] = []
    refused: list[int] = []
    over = threading.Event()

    def send(name: str) -> None:
        number = 0
        while not over.is_set():
            number += 1
            code = server.post(event(esim_id=f"{name}-{number}")).status_code
            acknowledged.append(f"{name}-{number}") if code == 200 else refused.append(code)

    senders = [threading.Thread(target=send, args=(f"sender{n}",)) for n in range(4)]
    for sender in senders:
        sender.start()
    try:
        for _ in range(3):
            count, known = len(refused), len(acknowledged)
            until(lambda known=known: len(acknowledged) > known + 10)  # type: ignore[misc]
            limit_file_size(server, NOT_A_BYTE)
            until(lambda count=count: len(refused) > count + 5)  # type: ignore[misc]
            lift(server)
        known = len(acknowledged)
        until(lambda: len(acknowledged) > known + 10)
    finally:
        over.set()
        for sender in senders:
            sender.join()

    assert set(refused) == {503}
    text = server.state()
    assert all(f'esim_id="{name}"' in text for name in acknowledged)
    server.kill()
    text = serve().state()
    assert all(f'esim_id="{name}"' in text for name in acknowledged)


def test_stops_in_time_while_the_disk_is_full(serve: Serve) -> None:
    # Coverage could not write its file either, and would print an error.
    server = serve(environ={**SIGNED, "COVERAGE_PROCESS_CONFIG": ""})
    assert server.post(event(esim_id="before")).status_code == 200
    text = server.state()
    limit_file_size(server, NOT_A_BYTE)
    assert server.post(event()).status_code == 503

    assert server.end() in {0, 1}

    assert serve().state() == text


def test_damage_to_the_file_is_told_at_the_start(serve: Serve, tmp_path: Path) -> None:
    server = serve()
    for number in range(200):
        server.post(event(esim_id=f"{number}", reference_id="landmark"))
    assert server.end() == 0
    path = tmp_path / "esim-exporter.db"
    content = path.read_bytes()
    assert b"landmark" in content
    path.write_bytes(content.replace(b"landmark", b"LANDMARK", 1))

    server = serve()

    assert server.own()["storage_damaged_rows"] == 1
    assert [record["level"] for record in server.logged("storage damaged")] == ["error"]
    assert server.own()["esims"] == 199


class Hanging(SqliteStorage):
    """A storage on a disk that does not answer: closing never ends."""

    async def close(self) -> None:
        await asyncio.Event().wait()


async def test_a_stop_gives_up_on_a_disk_that_hangs(tmp_path: Path) -> None:
    argv = ["--web.listen-address=127.0.0.1:0", "--webhook.listen-address=127.0.0.1:0"]
    chosen = loading.load(argv, {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()})
    storage = await SqliteStorage.open(tmp_path / "a.db")
    storage.__class__ = Hanging
    exporter = build(chosen, storage, lambda: 1.8e9, lambda: chosen)
    running = asyncio.create_task(run(exporter))
    await asyncio.sleep(0)
    exporter.stop()

    with pytest.raises(StorageUnavailable, match="nothing acknowledged is lost"):
        await running

    await SqliteStorage.close(storage)


@contextmanager
def held(path: Path) -> Iterator[Callable[[], bool]]:
    """Replace a file by one that no other process can open: open() waits, up to 45 seconds.

    Yields a function that returns whether a process waits.
    """
    other = path.with_name("held")
    with other.open("w+b") as file:
        fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGURG)  # the signal that a process waits; ignored
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
        other.rename(path)
        yield lambda: fcntl.fcntl(file, fcntl.F_GETLEASE) != fcntl.F_WRLCK
        fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_UNLCK)


def test_a_disk_that_hangs_does_not_hold_up_the_end(serve: Serve) -> None:
    server = serve()
    assert server.post(event(esim_id="before")).status_code == 200
    text = server.state()

    with held(note_path(server.folder / "esim-exporter.db")):
        assert server.end() == 1

    (said,) = server.logged("cannot go on")
    assert "nothing acknowledged is lost" in said["error"]
    assert serve().state() == text


@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 1), (signal.SIGINT, 130)])
def test_a_disk_that_hangs_at_a_start_does_not_hold_up_the_end(
    number: int, status: int, serve: Serve, tmp_path: Path
) -> None:
    with held(note_path(tmp_path / "esim-exporter.db")) as waited_for:
        server = serve(ready="")
        until(waited_for)
        assert server.end(number) == status


class Failing(Hanging):
    """A hanging storage that failed before."""

    async def load(self, but: Table | None = None) -> AsyncIterator[Chunk]:  # noqa: ARG002  # the signature of the base
        raise StorageDamaged("row 7 is damaged")
        yield


async def test_what_went_wrong_is_told_though_the_disk_hangs(tmp_path: Path) -> None:
    argv = ["--web.listen-address=127.0.0.1:0", "--webhook.listen-address=127.0.0.1:0"]
    chosen = loading.load(argv, {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()})
    storage = await SqliteStorage.open(tmp_path / "a.db")
    storage.__class__ = Failing

    with pytest.raises(StorageHangs, match=r"^row 7 is damaged; .*nothing acknowledged is lost$"):
        await run(build(chosen, storage, lambda: 1.8e9, lambda: chosen))

    await close_or_abandon(storage)  # does not wait either
    await SqliteStorage.close(storage)


def test_an_event_that_was_refused_may_be_sent_again_as_it_was(serve: Serve) -> None:
    server = serve()
    body = encoded(event(esim_id="again"))
    limit_file_size(server, NOT_A_BYTE)
    assert server.post(body).status_code == 503
    lift(server)
    until(lambda: server.post(body).status_code == 200)
    text = server.state()

    assert server.post(body).status_code == 200
    assert server.state() == text
