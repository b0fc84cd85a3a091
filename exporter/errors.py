"""Every exception this package raises on purpose.

ExporterError
├── SettingsError          a setting, file or secret is unusable; the process does not start
├── EventError             a delivery cannot be taken
│   ├── MalformedEvent     the body is not JSON (400)
│   └── InvalidEvent       the body is JSON that does not fit the vendor's format (422)
├── StorageError           the storage could not do what was asked
│   ├── StorageUnavailable a commit failed, or probing after a failure has not succeeded yet (503)
│   │   └── StorageHangs   it did not come to an end, and is not to be waited for
│   ├── StorageLocked      another process holds the storage
│   └── StorageDamaged     the storage cannot be read and must be looked at by a person
├── Overloaded             too many events are waiting, or one waited too long (503)
└── Missing                what a command is about is not there (404)

Messages are one line, name what to do, and never hold a secret, an ICCID or a
piece of a request body.
"""

from __future__ import annotations

from dataclasses import dataclass


class ExporterError(Exception):
    """Base of all errors of this package."""


class SettingsError(ExporterError):
    """A setting, a file it names, or a secret cannot be used."""


class EventError(ExporterError):
    """A delivery cannot be taken."""


class MalformedEvent(EventError):
    """The body is not JSON."""


@dataclass(frozen=True, slots=True)
class FieldError:
    """One reason why a document does not fit: where, and what is wrong there.

    ``loc`` is the path into the document (``("data", "usage_list", 0, "date")``);
    ``msg`` never repeats the offending value, which may be an ICCID.
    """

    loc: tuple[str | int, ...]
    msg: str


class InvalidEvent(EventError):
    """The body is JSON, but not an event of the vendor's format."""

    def __init__(self, errors: tuple[FieldError, ...]) -> None:
        super().__init__("; ".join(f"{'.'.join(map(str, e.loc))}: {e.msg}" for e in errors))
        self.errors = errors


class StorageError(ExporterError):
    """The storage could not do what was asked."""


class StorageUnavailable(StorageError):
    """A commit failed, or the storage has not answered a probe since one failed."""


class StorageHangs(StorageUnavailable):
    """What was begun did not come to an end: the disk is gone, and takes a thread with it."""


class StorageLocked(StorageError):
    """Another process holds the storage."""


class StorageDamaged(StorageError):
    """The storage cannot be read; the message names the file and the way out."""


class Overloaded(ExporterError):
    """Too many events are waiting for a commit, or this one waited too long."""


class Missing(ExporterError):
    """What a command is about is not there."""
