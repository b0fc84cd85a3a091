"""Deliveries that were signed but could not be taken, kept for a person to look at.

Durable, one for each distinct body, and bounded: the one last received longest ago makes
room. A body holds ICCIDs, so it is never logged.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pydantic_core import from_json, to_json

from exporter.errors import FieldError
from exporter.storage.contract import Change, Row, Table
from exporter.storage.stored_records import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LAYOUT = 1

MAX_BYTES = 16 << 20
"""Bytes of all kept bodies together."""


@dataclass(frozen=True, slots=True)
class RejectedDelivery:
    """A delivery that could not be taken."""

    vendor: str
    reason: str
    """``malformed`` (400) or ``invalid`` (422)."""
    errors: tuple[FieldError, ...]
    body: bytes
    first_received: int
    """Unix seconds, as the next."""
    last_received: int
    deliveries: int = 1
    """How often this body came."""
    version: int = 0

    @property
    def digest(self) -> str:
        """Return what tells the body from others, without giving it away."""
        return digest_of(self.body)


def digest_of(body: bytes) -> str:
    """Return the SHA-256 of a body, in hex."""
    return hashlib.sha256(body).hexdigest()


class RejectedDeliveries:
    """The committed rejections, the one last received longest ago first."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, RejectedDelivery] = {}
        self.dropped = 0
        """Rejected deliveries that made room since the process started."""

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[RejectedDelivery]:
        return iter(self._kept.values())

    def get(self, digest: str) -> RejectedDelivery | None:
        """Return the rejection of a body, or ``None``."""
        return self._kept.get(digest)

    def draft(self) -> RejectedDeliveriesDraft:
        """Return an empty draft."""
        return RejectedDeliveriesDraft(self._kept, self._limit)

    def publish(self, draft: RejectedDeliveriesDraft) -> None:
        """Replace what the draft changed; its commit has succeeded."""
        for digest in draft.removed:
            self._kept.pop(digest, None)
        for digest, rejection in draft.added.items():
            self._kept.pop(digest, None)  # its place is the last again
            self._kept[digest] = rejection
        self.dropped += draft.dropped

    def absorb(self, rows: Sequence[Row]) -> None:
        """Take over what others committed. Raises ``StorageDamaged`` on an unknown layout."""
        for row in rows:
            (digest,) = row.key
            self._kept.pop(digest, None)
            if row.version:
                self._kept[digest] = _decode(row)
        if rows:
            self.sort()

    def restore(self, rows: Iterable[Row]) -> None:
        """Take over stored rows. Raises ``StorageDamaged`` on an unknown layout."""
        self._kept = {rejection.digest: rejection for rejection in map(_decode, rows)}
        self.sort()

    def sort(self) -> None:
        """Bring them into an order that is the same in all replicas and after a restart."""
        kept = sorted(self._kept.values(), key=lambda r: (r.last_received, r.digest))
        self._kept = {rejection.digest: rejection for rejection in kept}


class RejectedDeliveriesDraft:
    """Rejected deliveries beside the committed ones: dropped without a trace, or published."""

    def __init__(self, kept: dict[str, RejectedDelivery], limit: int) -> None:
        self.added: dict[str, RejectedDelivery] = {}
        self.removed: dict[str, RejectedDelivery] = {}
        self.dropped = 0
        """How many of those removed made room."""
        self._kept = kept
        self._limit = limit

    def get(self, digest: str) -> RejectedDelivery | None:
        """Return the rejection of a body as the draft has it, or ``None``."""
        if digest in self.added:
            return self.added[digest]
        return None if digest in self.removed else self._kept.get(digest)

    def add(self, rejection: RejectedDelivery) -> None:
        """Keep a delivery; one whose body is known already is counted."""
        digest = rejection.digest
        if known := self.get(digest):
            rejection = replace(
                rejection,
                first_received=known.first_received,
                deliveries=known.deliveries + 1,
                version=known.version,
            )
        elif removed := self.removed.pop(digest, None):
            rejection = replace(rejection, version=removed.version)
        self.added.pop(digest, None)  # its place is the last again
        self.added[digest] = rejection

    def remove(self, digest: str) -> RejectedDelivery | None:
        """Let a rejection go and return it, or ``None`` when there is none."""
        rejection = self.get(digest)
        if rejection:
            self.added.pop(digest, None)
            self.removed[digest] = rejection
        return rejection

    def changes(self) -> tuple[Change, ...]:
        """Return what one commit must write before the draft may be published."""
        self._make_room()
        changes = []
        for digest, rejection in self.added.items():
            expected = rejection.version
            self.added[digest] = replace(rejection, version=expected + 1)
            changes.append(Change(Table.REJECTED, (digest,), expected, _encode(rejection)))
        changes += [
            Change(Table.REJECTED, (digest,), rejection.version, None)
            for digest, rejection in self.removed.items()
            if rejection.version
        ]
        return tuple(changes)

    def _make_room(self) -> None:
        if not self.added:
            return
        oldest_first = [
            *(i for i in self._kept.items() if i[0] not in self.added and i[0] not in self.removed),
            *self.added.items(),
        ]
        count = len(oldest_first)
        size = sum(len(rejection.body) for _, rejection in oldest_first)
        for digest, rejection in oldest_first:
            if count <= self._limit and size <= MAX_BYTES:
                break
            self.remove(digest)
            self.dropped += 1
            count -= 1
            size -= len(rejection.body)


def _encode(rejection: RejectedDelivery) -> bytes:
    return to_json(
        [
            LAYOUT,
            rejection.vendor,
            rejection.reason,
            [[list(error.loc), error.msg] for error in rejection.errors],
            b64encode(rejection.body).decode(),
            rejection.first_received,
            rejection.last_received,
            rejection.deliveries,
        ]
    )


def _decode(row: Row) -> RejectedDelivery:
    try:
        layout, *fields = from_json(row.data)
        vendor, reason, errors, body, first_received, last_received, deliveries = fields
        rejection = RejectedDelivery(
            vendor=vendor,
            reason=reason,
            errors=tuple(FieldError(tuple(loc), msg) for loc, msg in errors),
            body=b64decode(body),
            first_received=first_received,
            last_received=last_received,
            deliveries=deliveries,
            version=row.version,
        )
    except (TypeError, ValueError) as error:
        raise unreadable(row) from error
    if layout != LAYOUT:
        raise unreadable(row)
    return rejection
