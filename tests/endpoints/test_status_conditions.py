"""The status pages without a state, without events, with a full disk, and after a replay."""

from __future__ import annotations

import asyncio
import json
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import mixed_fleet
import pytest
from running import LOOPBACK, USAGE

from exporter.app.build import build
from exporter.app.listener_applications import build_applications, build_status_pages
from exporter.endpoints.status import admin_actions
from exporter.errors import FieldError, InvalidEvent, StorageUnavailable
from exporter.fleet.drafts import Draft
from exporter.ingest.batch import VerifiedDelivery
from exporter.model.events import Status, StatusEvent
from exporter.settings import loading
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from pathlib import Path

    from quart.typing import TestClientProtocol

    from exporter.storage.contract import Changes, Row

PAGE = {"Accept": "text/html"}


class FailingStorage(SqliteStorage):
    """A real storage whose disk can become full."""

    full = False

    async def commit(self, changes: Changes) -> tuple[Row, ...]:
        if self.full:
            raise StorageUnavailable("no space left on device")
        return await super().commit(changes)

    async def probe(self) -> bool:
        if self.full:
            raise StorageUnavailable("no space left on device")
        return await super().probe()


class Site:
    """An exporter with its real wiring, but without sockets, and a client of its pages."""

    def __init__(
        self, storage: FailingStorage, flags: tuple[str, ...], environ: Mapping[str, str]
    ) -> None:
        unsigned = () if environ else ("--webhook.allow-unsigned",)
        chosen = loading.load((*LOOPBACK, *unsigned, *flags), environ)
        self.storage = storage
        self.exporter = build(chosen, storage, time.time, lambda: chosen)
        sites = build_applications(self.exporter, build_status_pages(self.exporter))
        (app,) = (site.app for site in sites if site.name == "internal")
        self.client: TestClientProtocol = app.test_client()

    async def load(self) -> asyncio.Task[None]:
        """Load the state and start to accept deliveries."""
        intake = self.exporter.intake
        task = asyncio.create_task(intake.run())
        while intake.state is None:  # noqa: ASYNC110  # the exporter need not tell
            await asyncio.sleep(0.001)
        return task

    async def get(self, path: str, code: int = 200) -> str:
        response = await self.client.get(path, headers=PAGE)
        assert response.status_code == code
        return await response.get_data(as_text=True)

    async def send(self, path: str, **form: str) -> tuple[int, str]:
        response = await self.client.post(path, headers=PAGE, form=form)
        return response.status_code, await response.get_data(as_text=True)


@asynccontextmanager
async def site(
    folder: Path, *flags: str, environ: Mapping[str, str] | None = None
) -> AsyncIterator[Site]:
    storage = await FailingStorage.open(folder / "exporter.db")
    assert isinstance(storage, FailingStorage)
    made = Site(storage, flags or ("--web.enable-admin-api",), environ or {})
    try:
        yield made
    finally:
        made.exporter.intake.stop()
        await storage.close()


async def test_until_the_state_is_loaded_the_pages_say_so(tmp_path: Path) -> None:
    async with site(tmp_path) as made:
        overview = await made.get("/")
        assert (
            "The state is still being loaded. Until then, deliveries are answered with 503."
            in overview
        )
        assert "Packages</h2>" not in overview
        assert all(f'<div id="{part}" data-live>' in overview for part in ("fleet", "accounts"))
        for path in (
            *("/esims", "/esims/roamify/e", "/packages", "/rejected", "/rejected/0", "/search"),
        ):
            assert "Try again in a moment" in await made.get(path, 503)
        code, text = await made.send("/esims/roamify/e", do="delete")
        assert code == 503
        assert "The change was not confirmed" in text
        made.exporter.health.stopping = True
        assert "The exporter is stopping." in await made.get("/")


async def test_before_the_first_event_the_pages_say_what_to_wait_for(tmp_path: Path) -> None:
    async with site(tmp_path, "--limits.max-esims=0") as made:
        task = await made.load()
        text = await made.get("/")
        assert "No verified delivery has arrived yet." in text
        assert "No usage event has arrived yet." in text
        assert "The number may be wrong" not in text
        assert "all get their own series" in text
        assert "No eSIM was reported yet." in await made.get("/esims")
        assert "No delivery since the exporter started." in await made.get("/deliveries")
        made.exporter.intake.stop()
        await task


@pytest.mark.parametrize(("hours", "silent"), [(4.9, False), (5.1, True)])
async def test_the_overview_says_that_the_vendor_missed_a_report(
    hours: float, silent: bool, tmp_path: Path
) -> None:
    async with site(tmp_path) as made:
        task = await made.load()
        state = made.exporter.intake.state
        assert state
        draft = Draft(state.fleet, time.time() - hours * 3600)
        draft.note_delivery("roamify")
        draft.merge(StatusEvent("roamify", 1_700_000_000, "e", Status.ACTIVATED))
        state.fleet.publish(draft)
        assert ("No verified delivery has arrived for" in await made.get("/")) is silent
        made.exporter.intake.stop()
        await task


async def test_the_overview_of_several_vendors_tells_them_apart(tmp_path: Path) -> None:
    environ, flags = mixed_fleet.environ(VENDORS), mixed_fleet.flags(VENDORS)
    async with site(tmp_path, *flags, environ=environ) as made:
        task = await made.load()
        state = made.exporter.intake.state
        assert state
        waiting = " ".join((await made.get("/")).split())
        assert "Roamify sends one every 4 h for each activated eSIM." in waiting
        assert "eSIM Go sends one when an eSIM has used a certain share of its data." in waiting
        draft = Draft(state.fleet, time.time() - 86400)
        for vendor in ("roamify", "esim-go"):
            draft.note_delivery(vendor)
            draft.merge(StatusEvent(vendor, 1_700_000_000, "e", Status.ACTIVATED))
        state.fleet.publish(draft)
        text = re.sub("<[^>]+>", "", await made.get("/"))
        assert "Roamify: 1 d ago, eSIM Access: none yet, eSIM Go: 1 d ago" in text
        assert "No verified delivery of Roamify has arrived for 1 d." in text
        assert "No verified delivery of eSIM Access has arrived yet." in text
        assert "For 1 activated eSIM of Roamify, nothing was received" in text
        assert "delivery of eSIM Go" not in text
        assert "eSIM of eSIM Go" not in text
        made.exporter.intake.stop()
        await task


async def test_an_iccid_is_shown_where_the_metrics_have_it(tmp_path: Path) -> None:
    for labels, shown in (("reference_id", False), ("iccid", True)):
        async with site(tmp_path, f"--metrics.esim-labels={labels}") as made:
            task = await made.load()
            event = VENDORS[0].parse(USAGE, time.time())
            await made.exporter.intake.submit(
                VerifiedDelivery("roamify", USAGE, time.time(), event)
            )
            iccid = json.loads(USAGE)["data"]["iccid"]
            page = await made.get("/esims/roamify/c2a9cdae-430e-4251-bf65-a84df4562ed9")
            assert (iccid in page) is shown
            made.exporter.intake.stop()
            await task


async def test_the_overview_shows_a_failing_storage(tmp_path: Path) -> None:
    async with site(tmp_path) as made:
        task = await made.load()
        made.storage.full = True
        code, _ = await made.send("/esims/roamify/e", do="delete")
        assert code == 404  # nothing to write
        delivery = VerifiedDelivery("roamify", b"{}", time.time(), refused())
        with pytest.raises(StorageUnavailable):
            await made.exporter.intake.submit(delivery)
        text = await made.get("/")
        assert "The number may be wrong" in text
        assert "The storage cannot commit" in text
        assert "failing" in text
        made.exporter.intake.stop()
        await task


def refused() -> InvalidEvent:
    return InvalidEvent((FieldError(("data",), "is of tomorrow"),) * 7)


async def test_a_replay_that_succeeds_is_confirmed(tmp_path: Path) -> None:
    async with site(tmp_path) as made:
        task = await made.load()
        delivery = VerifiedDelivery("roamify", USAGE, time.time(), refused())
        with pytest.raises(InvalidEvent):
            await made.exporter.intake.submit(delivery)
        (kept,) = made.exporter.intake.state.rejected  # type: ignore[union-attr]  # it is loaded
        assert "and 2 more" in await made.get("/rejected")
        assert "c2a9cdae-430e-4251-bf65-a84df4562ed9" in await made.get(f"/rejected/{kept.digest}")
        code, _ = await made.send(f"/rejected/{kept.digest}", do="replay")
        assert code == 303
        assert "No rejected delivery is kept." in await made.get("/rejected?done=accepted")
        assert "The delivery was replayed: accepted." in await made.get("/rejected?done=accepted")
        await made.get("/esims/roamify/c2a9cdae-430e-4251-bf65-a84df4562ed9")
        made.exporter.intake.stop()
        await task


async def test_a_form_that_does_not_arrive_in_time_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(admin_actions, "_FORM_TIMEOUT", 0.01)
    async with site(tmp_path) as made:
        task = await made.load()
        async with made.client.request("/search", method="POST", headers=PAGE) as connection:
            await connection.send(b"text=")
            await connection.receive()
            assert (await connection.as_response()).status_code == 408
        made.exporter.intake.stop()
        await task
