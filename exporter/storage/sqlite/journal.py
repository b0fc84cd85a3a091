"""Checking a rollback journal before SQLite opens the file beside it.

A transaction that writes to the database file itself has a journal, which holds the pages as they
were before. The exporter has one for a moment while it creates a file or switches to a log. A
person's ``sqlite3`` can have one too. After a crash, SQLite writes the journal's pages back to the
file. It does not know whether they ever were in this file.

The format is described in "The Rollback Journal" of the SQLite file format document.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from exporter.errors import StorageDamaged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MAGIC = bytes.fromhex("d9d505f920a163d7")
_HEADER = struct.Struct(">iIIII")
"""Number of records or -1, a number for checksums, pages before, bytes of a sector, of a page."""
_NUMBER = struct.Struct(">I")
_TO_THE_END = -1
_FIRST_PAGE = 1

_MODE, _LOG_MODE = slice(18, 20), b"\2\2"
_HEADER_OF_FILE = 100
_CHANGES = slice(24, 28)
_SWITCHED = (_MODE, _CHANGES, slice(92, 100))
"""Bytes of the first page that differ after a switch to a log: the mode, the counter of changes,
and for which change and version of SQLite the size in the header is valid."""


@dataclass(frozen=True, slots=True)
class Journal:
    """The journal of a transaction that did not end."""

    pages_before: int
    """Pages that the database had before the transaction."""
    pages: frozenset[int]
    """Numbers of the pages that it holds."""
    first_page: bytes
    """The first page as it was before, or nothing if it is not among them."""


def journal_path(database: Path) -> Path:
    """Return the path of a database's rollback journal."""
    return database.with_name(f"{database.name}-journal")


def require_own(database: Path, file: BinaryIO) -> Journal | None:
    """Return what SQLite will write back to the open file, or ``None`` if it is nothing.

    Raises ``OSError``, and ``StorageDamaged`` if the journal was made for another file or for
    another state of it.
    """
    journal = _read(database)
    if journal and not _is_own(journal, file):
        name = journal_path(database).name
        raise StorageDamaged(
            f"{database} and its journal {name} do not belong together, one of them was replaced "
            f"by another or an older one: put the right one back, or move {name} away"
        )
    return journal


def _read(database: Path) -> Journal | None:
    try:
        with journal_path(database).open("rb") as journal:
            head = journal.read(len(MAGIC) + _HEADER.size)
            if not head.startswith(MAGIC) or len(head) < len(MAGIC) + _HEADER.size:
                return None
            _, _, pages_before, _, _ = _HEADER.unpack_from(head, len(MAGIC))
            pages, first_page = set(), b""
            for number, page in _records(journal):
                pages.add(number)
                if number == _FIRST_PAGE:
                    first_page = page
            return Journal(pages_before, frozenset(pages), first_page)
    except FileNotFoundError:
        return None


def _is_own(journal: Journal, file: BinaryIO) -> bool:
    file.seek(0)
    first_page = file.read(len(journal.first_page) or _HEADER_OF_FILE)
    changes = _number(first_page)
    if not journal.pages_before:
        return changes <= 1  # creating a file is its first change
    if not journal.pages:  # nothing was written yet, SQLite would only cut the file
        size = os.fstat(file.fileno()).st_size
        return size == journal.pages_before * int.from_bytes(first_page[16:18], "big")
    if journal.pages == {_FIRST_PAGE}:
        return _without_switch(first_page) == _without_switch(journal.first_page)
    # With a log, no change but a switch has a journal, and commits do not count as changes.
    was_counted = changes - _number(journal.first_page) in {0, 1}
    return bool(journal.first_page) and first_page[_MODE] != _LOG_MODE and was_counted


def _number(first_page: bytes) -> int:
    """Return the counter of changes in a first page."""
    return int.from_bytes(first_page[_CHANGES], "big")


def _without_switch(first_page: bytes) -> bytes:
    page = bytearray(first_page)
    for part in _SWITCHED:
        page[part] = bytes(part.stop - part.start)
    return bytes(page)


def _records(journal: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield the numbers and contents of the pages that were written to the disk with a header."""
    size, start = os.fstat(journal.fileno()).st_size, 0
    while True:
        journal.seek(start)
        head = journal.read(len(MAGIC) + _HEADER.size)
        if not head.startswith(MAGIC) or len(head) < len(MAGIC) + _HEADER.size:
            return
        count, _, _, sector, page_size = _HEADER.unpack_from(head, len(MAGIC))
        start += sector
        record = 2 * _NUMBER.size + page_size
        if not (512 <= page_size <= 65536 and 32 <= sector <= 65536):  # noqa: PLR2004  # SQLite's
            return
        if count == _TO_THE_END:
            count = (size - start) // record
        journal.seek(start)
        for _ in range(count):
            content = journal.read(record)
            if len(content) < record:
                return
            yield *_NUMBER.unpack_from(content), content[_NUMBER.size : -_NUMBER.size]
        start = -(-(start + count * record) // sector) * sector
