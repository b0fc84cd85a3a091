"""Whether a storage holds what was acknowledged: its stamp is compared with the note beside it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from exporter.storage.sqlite.last_acknowledged import note_path
from exporter.storage.sqlite.schema import FIND_STAMP, FIND_START
from exporter.storage.sqlite.stamp import AT_REST, NO_COMMIT, CommitId, Stamp

if TYPE_CHECKING:
    import sqlite3
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class History:
    """What a storage and the note beside it say."""

    stamp: Stamp
    acknowledged: CommitId
    """The last acknowledged commit that the storage holds."""
    damaged: tuple[str, ...] = ()
    """One line if commits are missing, or may be missing."""


def compare(
    connection: sqlite3.Connection, path: Path, acknowledged: CommitId | None, log: Path | None
) -> History:
    """Compare the stamp with the commit in the note.

    ``log`` is a copy of the log, for the case that the log lacks that commit. It is removed if
    the storage holds the commit. Raises ``sqlite3.Error`` and ``OSError``.
    """
    stamp = _stored_stamp(connection)
    if stamp is None:
        # Numbers go on from the note, so that they do not occur twice.
        commit = acknowledged or NO_COMMIT
        return History(
            Stamp(AT_REST, commit.number, commit, commit), commit, (_without_number(path),)
        )
    if acknowledged is None:
        damaged = () if stamp.identity == AT_REST else (_without_note(path),)
        return History(stamp, stamp.newest, damaged)
    if not stamp.includes(acknowledged) and not _started(connection, acknowledged):
        return History(stamp, stamp.newest, (_lacking(path, stamp, acknowledged, log),))
    if log:
        log.unlink()  # the database file holds all that the log lacks
    # A note of an earlier start is renewed, because starts are forgotten one day.
    renewed = acknowledged.identity != stamp.newest.identity
    return History(stamp, stamp.newest if renewed else acknowledged)


def _stored_stamp(connection: sqlite3.Connection) -> Stamp | None:
    """Return the stamp of the newest commit, or ``None`` if it is damaged."""
    row = connection.execute(FIND_STAMP).fetchone()
    return Stamp.unpack(row[0]) if row else None


def _started(connection: sqlite3.Connection, commit: CommitId) -> bool:
    """Return whether the storage includes a commit of an earlier start."""
    found = connection.execute(FIND_START, (commit.identity,)).fetchone()
    return found is not None and type(found[0]) is int and found[0] >= commit.number


def _lacking(path: Path, stamp: Stamp, acknowledged: CommitId, log: Path | None) -> str:
    kept = f"; what is left of its log is kept as {log.name}" if log else ""
    return (
        f"{path} ends with commit {stamp.newest.number} and lacks commit {acknowledged.number}, "
        "the last acknowledged one, as after restoring a backup: events are lost, unless you stop "
        f"the exporter and put the right file or its log back{kept}"
    )


def _without_note(path: Path) -> str:
    return (
        f"{path} was not closed, and {note_path(path).name} is missing or damaged: it may lack "
        "acknowledged commits"
    )


def _without_number(path: Path) -> str:
    return f"{path}: the number of the last commit is damaged, so it may lack acknowledged commits"
