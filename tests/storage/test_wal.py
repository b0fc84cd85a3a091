from __future__ import annotations

import shutil
import sqlite3
import struct
from typing import TYPE_CHECKING

import pytest

from exporter.errors import StorageDamaged
from exporter.storage.sqlite import wal

if TYPE_CHECKING:
    from pathlib import Path

PAGE = 1024
FRAME = 24 + PAGE
COMMITS = 6


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """The log of a killed process. Each transaction has several frames."""
    connection = sqlite3.connect(tmp_path / "live.db", isolation_level=None)
    connection.execute(f"PRAGMA page_size = {PAGE}")
    connection.execute("CREATE TABLE t (x)")
    connection.execute("PRAGMA journal_mode = WAL")
    for number in range(COMMITS):
        connection.execute("INSERT INTO t VALUES (?)", (f"{number}" * PAGE * 2,))
    shutil.copy(tmp_path / "live.db", tmp_path / "a.db")
    path = wal.log_path(tmp_path / "a.db")
    shutil.copy(tmp_path / "live.db-wal", path)
    connection.close()
    return path


def frames(log: Path) -> int:
    return (log.stat().st_size - 32) // FRAME


def last_commits(log: Path) -> list[int]:
    """The indices of the frames that end a transaction."""
    data = log.read_bytes()
    starts = range(32, len(data), FRAME)
    return [i for i, start in enumerate(starts) if any(data[start + 4 : start + 8])]


def flip(log: Path, offset: int) -> None:
    data = bytearray(log.read_bytes())
    data[offset] ^= 0x10
    log.write_bytes(data)


def in_frame(index: int, offset: int = 24 + 100) -> int:
    return 32 + index * FRAME + offset


def big_endian(log: Path) -> None:
    """Write the checksums of a big-endian machine. The format allows them too."""
    data = log.read_bytes()
    words = list(struct.unpack(">8I", data[:32]))
    words[0] = 0x377F0683
    head = struct.pack(">6I", *words[:6])
    sums = wal._checksums((0, 0), head, ">")
    out = [head, struct.pack(">2I", *sums)]
    for start in range(32, len(data), FRAME):
        frame = data[start : start + FRAME]
        sums = wal._checksums(wal._checksums(sums, frame[:8], ">"), frame[24:], ">")
        out += [frame[:16], struct.pack(">2I", *sums), frame[24:]]
    log.write_bytes(b"".join(out))


def count_after_recovery(log: Path) -> int:
    connection = sqlite3.connect(log.with_name("a.db"))
    (count,) = connection.execute("SELECT count(*) FROM t").fetchone()
    connection.close()
    return int(count)


def test_finds_nothing_wrong_with_a_log_that_is_whole(log: Path) -> None:
    assert len(last_commits(log)) == COMMITS
    assert wal.check(log).note is None


def test_reads_logs_of_either_byte_order(log: Path) -> None:
    big_endian(log)
    assert wal.check(log).note is None
    # SQLite reads it too.
    shutil.copytree(log.parent, log.parent / "copy")
    assert count_after_recovery(log.parent / "copy" / log.name) == COMMITS

    flip(log, in_frame(1))
    with pytest.raises(StorageDamaged, match="frame 2 of"):
        wal.check(log)


@pytest.mark.parametrize("offset", [0, 4, 9, 17, 24, 24 + PAGE - 1])
@pytest.mark.parametrize("transaction", range(COMMITS - 2))
def test_refuses_a_bit_that_flipped_before_committed_transactions(
    log: Path, transaction: int, offset: int
) -> None:
    index = last_commits(log)[transaction]
    flip(log, in_frame(index, offset))
    before = log.read_bytes()

    with pytest.raises(StorageDamaged, match=f"frame {index + 1} of {frames(log)}, .*backup"):
        wal.check(log)

    assert log.read_bytes() == before
    assert count_after_recovery(log) < COMMITS, "SQLite says nothing"


def test_counts_the_broken_frame_itself_as_a_transaction(log: Path) -> None:
    flip(log, in_frame(last_commits(log)[-2]))

    with pytest.raises(StorageDamaged, match="1 or more committed transactions would be lost"):
        wal.check(log)


def test_reports_a_torn_last_transaction(log: Path) -> None:
    first = last_commits(log)[-2] + 1
    assert first < last_commits(log)[-1]
    flip(log, in_frame(first))

    assert wal.check(log).note == (
        f"{log} is damaged at frame {first + 1} of {frames(log)}: "
        "the transaction there was not finished and was left out"
    )


@pytest.mark.parametrize("left", [24, 25, FRAME - 1])
def test_reports_a_last_frame_that_was_cut_off(log: Path, left: int) -> None:
    count = frames(log)
    with log.open("r+b") as file:
        file.truncate(log.stat().st_size - FRAME + left)

    note = wal.check(log).note

    assert note is not None
    assert f"frame {count} of {count}" in note


def test_frames_with_earlier_salts_are_the_end(log: Path) -> None:
    data = bytearray(log.read_bytes())
    start = in_frame(last_commits(log)[2] + 1, 0)
    for frame in range(start, len(data), FRAME):
        data[frame + 8] ^= 0xFF
    log.write_bytes(data)

    assert wal.check(log).note is None
    assert count_after_recovery(log) == 3


def test_a_transaction_without_its_last_frame_is_the_end(log: Path) -> None:
    with log.open("r+b") as file:
        file.truncate(in_frame(last_commits(log)[-1], 0))

    assert wal.check(log).note is None


def test_a_log_that_is_missing_or_empty_is_no_damage(tmp_path: Path) -> None:
    path = tmp_path / "a.db-wal"
    assert wal.check(path).note is None
    for content in (b"", b"\0" * 31, b"\0" * 100_000, b"\x37\x7f\x06\x82" + b"\0" * 100):
        path.write_bytes(content)
        assert wal.check(path).note is None


def seal_header(log: Path, **words: int) -> None:
    data = log.read_bytes()
    names = ["magic", "version", "page_size", "round", "salt1", "salt2"]
    old = dict(zip(names, struct.unpack(">6I", data[:24]), strict=True))
    head = struct.pack(">6I", *(old | words).values())
    log.write_bytes(head + struct.pack(">2I", *wal._checksums((0, 0), head, "<")) + data[32:])


def test_refuses_a_header_that_does_not_verify_before_frames(log: Path) -> None:
    flip(log, 17)
    with pytest.raises(StorageDamaged, match="in its header"):
        wal.check(log)


def test_refuses_a_header_of_zeros_before_frames(log: Path) -> None:
    log.write_bytes(b"\0" * 32 + log.read_bytes()[32:])
    with pytest.raises(StorageDamaged, match="in its header"):
        wal.check(log)


@pytest.mark.parametrize(
    "words", [{"page_size": 1000}, {"page_size": 256}, {"page_size": 1 << 17}, {"version": 1}]
)
def test_refuses_a_header_that_makes_no_sense(log: Path, words: dict[str, int]) -> None:
    seal_header(log, **words)
    with pytest.raises(StorageDamaged, match="in its header"):
        wal.check(log)


def test_a_log_that_is_rewritten_stays_as_it_is(log: Path) -> None:
    before = log.read_bytes()
    wal.rewrite(log)
    assert log.read_bytes() == before

    log.write_bytes(before * 40)
    wal.rewrite(log)
    assert log.read_bytes() == before * 40


def test_rewriting_a_missing_log_does_nothing(tmp_path: Path) -> None:
    wal.rewrite(tmp_path / "a.db-wal")
    assert list(tmp_path.iterdir()) == []
