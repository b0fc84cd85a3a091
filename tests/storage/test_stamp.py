"""The stamp of a commit: stored whole or not at all, and found in the page that holds it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from exporter.storage.sqlite.schema import DEFINITIONS, FIND_STAMP, INSERT_STAMP, UPDATE_STAMP
from exporter.storage.sqlite.stamp import (
    AT_REST,
    FIRST,
    NO_COMMIT,
    CommitId,
    Stamp,
    StampedLog,
    stamp_in_page,
)

if TYPE_CHECKING:
    from pathlib import Path

STAMP = Stamp(b"identity", 1 << 40, CommitId(b"identity", 7), CommitId(b"previous", 5))
PAGE = 4096


def test_a_stamp_is_stored_whole_or_not_at_all() -> None:
    raw = STAMP.pack()
    assert Stamp.unpack(raw) == STAMP
    for at in range(len(raw)):
        damaged = bytearray(raw)
        damaged[at] ^= 1
        assert Stamp.unpack(bytes(damaged)) is None
    for other in (raw[:-1], raw + b"\0", "text", None, 7):
        assert Stamp.unpack(other) is None


def test_a_start_without_commits_leaves_the_newest_commit_as_it_is() -> None:
    committed = FIRST.started().next(for_caller=True)
    again = committed.closed().started().next(for_caller=False).closed().started()

    assert committed.newest == CommitId(committed.identity, 1)
    assert (again.newest, again.number) == (committed.newest, 2)
    assert again.identity not in {committed.identity, AT_REST}


def test_includes_the_commits_of_this_start_and_the_last_one_of_earlier_starts() -> None:
    included = [NO_COMMIT, *(CommitId(b"identity", n) for n in (1, 7)), CommitId(b"previous", 5)]
    assert all(STAMP.includes(commit) for commit in included)
    other = [CommitId(b"identity", 8), CommitId(b"previous", 6), CommitId(b"another.", 1)]
    assert not any(STAMP.includes(commit) for commit in other)


def page_of_seal(path: Path, *stamps: Stamp) -> bytes:
    """The page of the table that holds the stamp, after so many commits."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"PRAGMA page_size = {PAGE}")
        connection.execute(DEFINITIONS["seal"])
        connection.execute(INSERT_STAMP, (FIRST.pack(),))
        connection.executemany(
            "INSERT INTO seal (name, rows) VALUES (?, 7)", [(f"table {n}",) for n in range(8)]
        )
        for stamp in stamps:
            connection.execute(UPDATE_STAMP, (stamp.pack(),))
        (stored,) = connection.execute(FIND_STAMP).fetchone()
        assert Stamp.unpack(stored) == (stamps or (FIRST,))[-1]
    return path.read_bytes()[PAGE : 2 * PAGE]


def test_finds_the_stamp_in_a_page_as_sqlite_writes_it(tmp_path: Path) -> None:
    page = page_of_seal(tmp_path / "a.db", FIRST.started(), STAMP)
    assert stamp_in_page(page) == STAMP


def test_does_not_find_stamps_in_the_free_space_of_a_page(tmp_path: Path) -> None:
    page = page_of_seal(tmp_path / "a.db", STAMP)
    older = replace(STAMP, number=3).pack()
    free = page.index(bytes(100), 40)
    page = page[:free] + older + page[free + len(older) :]
    assert stamp_in_page(page) == STAMP


@pytest.mark.parametrize("page", [b"", bytes(PAGE), b"\x0a" + b"\xff" * 4095, b"\xffSt\xfe" * 1024])
def test_finds_no_stamp_in_other_pages(page: bytes) -> None:
    assert stamp_in_page(page) is None


def test_survives_a_damaged_page(tmp_path: Path) -> None:
    page = page_of_seal(tmp_path / "a.db", STAMP)
    for at in range(40):
        damaged = bytearray(page)
        damaged[at] ^= 0xFF
        assert stamp_in_page(bytes(damaged)) in {None, STAMP}


FILE = FIRST.started().next(for_caller=True)
LATER = FILE.next(for_caller=True)
LAST = LATER.next(for_caller=True)


def log(first: Stamp, last: Stamp) -> StampedLog:
    return StampedLog(first, last, 2, PAGE)


def test_a_log_continues_the_file_it_was_begun_on() -> None:
    for file in (FILE, LATER, LAST):
        assert log(LATER, LAST).continues(file)
    assert not log(LAST, LAST).continues(FILE), "a commit is missing between them"
    assert not log(FILE, LATER).continues(LAST), "the log is older"
    other = FIRST.started().next(for_caller=True)
    assert not log(LATER, LAST).continues(other), "the log is of another file"


def test_a_log_may_begin_with_a_change_of_the_identity() -> None:
    started = FILE.closed().started()
    assert log(started, started.next(for_caller=True)).continues(FILE.closed())
    assert log(started, started).continues(started)
    assert log(FILE, FILE.closed()).continues(FILE.closed())
    assert log(FILE.closed(), FILE.closed()).continues(FILE)
    assert not log(started.next(for_caller=True), started).continues(FILE.closed())


def test_a_log_does_not_continue_a_backup_of_its_own_file() -> None:
    for backup in (FILE.closed(), LATER.closed()):
        assert not log(LATER, LAST).continues(backup)
    closed = FIRST.started().next(for_caller=True).closed()
    assert not log(closed, closed).continues(LATER.closed())
