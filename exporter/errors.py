"""Every exception that this package raises on purpose, and the exit statuses of its commands.

ExporterError
├── SettingsError          a setting, file or secret cannot be used; the process does not start
├── EventError             a delivery is not accepted
│   ├── MalformedEvent     the body is not JSON (400)
│   └── InvalidEvent       the body is JSON, but does not fit the vendor's format (422)
│       └── FutureEvent    it fits, but its time is in the future
├── StorageError           the storage could not do what was asked
│   ├── StorageUnavailable a commit failed, or no probe has succeeded since one failed (503)
│   │   └── StorageHangs   an operation does not end; do not wait for it
│   ├── StorageLocked      another process holds the storage
│   └── StorageDamaged     the storage cannot be read; a person must act
├── Overloaded             too many events are waiting, or one waited too long (503)
└── Missing                the object that a command names does not exist (404)

A message is one line and says what to do. It never holds a secret, an ICCID or a piece of a
request body.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum


class ExitStatus(IntEnum):
    """How a command ended."""

    DONE = 0
    FAILED = 1
    UNUSABLE = 2
    """Arguments, settings or secrets cannot be used. argparse exits with this status too."""
    INTERRUPTED = 130
    """Ended by Ctrl-C. Shells report the same: 128 and the number of SIGINT."""


class ExporterError(Exception):
    """Base of all errors of this package."""

    exit_status = ExitStatus.FAILED
    """The status of a command that this error ends."""


class SettingsError(ExporterError):
    """A setting, a file that a setting names, or a secret cannot be used."""

    exit_status = ExitStatus.UNUSABLE


class EventError(ExporterError):
    """A delivery is not accepted."""


class MalformedEvent(EventError):
    """The body is not JSON."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason why a document does not fit: where, and what is wrong there.

    ``loc`` is the path into the document (``("data", "usage_list", 0, "date")``);
    ``msg`` never repeats the value, which may be an ICCID.
    """

    loc: tuple[str | int, ...]
    msg: str


class InvalidEvent(EventError):
    """The body is JSON, but not an event in the vendor's format."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, e.loc))}: {e.msg}" for e in errors))
        self.errors = errors


class FutureEvent(InvalidEvent):
    """The only fault of an event is a time in the future. Maybe this machine's clock is wrong."""

    def __init__(self, time: int, error: FieldError) -> None:
        super().__init__((error,))
        self.time = time
        """The event's time, unix seconds."""


class StorageError(ExporterError):
    """The storage could not do what was asked."""


class StorageUnavailable(StorageError):
    """A commit failed, or no probe of the storage has succeeded since a commit failed."""


class StorageHangs(StorageUnavailable):
    """An operation does not end: the disk does not answer, and a thread waits for it."""


class StorageLocked(StorageError):
    """Another process holds the storage."""


class StorageDamaged(StorageError):
    """The storage cannot be read. The message names the file and what to do."""


class Overloaded(ExporterError):
    """Too many events wait for a commit, or this one waited too long."""


class Missing(ExporterError):
    """The object that a command names does not exist."""
