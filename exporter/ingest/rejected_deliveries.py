"""Signed deliveries that the exporter could not process, kept for people to look at.

They are stored durably, once for each distinct body. When there are too many, the one whose last
receipt is longest ago is dropped. A body holds ICCIDs, so it is never logged.
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
"""Version of the stored form."""

MAX_BYTES = 16 << 20
"""Most bytes of all kept bodies together."""


@dataclass(frozen=True, slots=True)
class RejectedDelivery:
    """A delivery that could not be processed."""

    vendor: str
    reason: str
    """``malformed`` (answered with 400) or ``invalid`` (422)."""
    errors: tuple[FieldError, ...]
    body: bytes
    first_received: int
    """Unix seconds."""
    last_received: int
    """Unix seconds."""
    deliveries: int = 1
    """How often this body was received."""
    version: int = 0
    """Version of the stored row; 0 before it is stored."""

    @property
    def digest(self) -> str:
        """Return the id that people see: the SHA-256 of the body, in hex."""
        return digest_of(self.body)


def digest_of(body: bytes) -> str:
    """Return the SHA-256 of a body, in hex."""
    return hashlib.sha256(body).hexdigest()


class RejectedDeliveries:
    """The committed rejected deliveries, the one with the newest receipt last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, RejectedDelivery] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[RejectedDelivery]:
        return iter(self._kept.values())

    def get(self, digest: str) -> RejectedDelivery | None:
        """Return the delivery with this digest, or ``None``."""
        return self._kept.get(digest)

    def draft(self) -> RejectedDeliveriesDraft:
        """Return a draft without changes."""
        return RejectedDeliveriesDraft(self._kept, self._limit)

    def publish(self, draft: RejectedDeliveriesDraft) -> None:
        """Take over the changes of a draft whose commit has succeeded."""
        for digest in draft.removed:
            self._kept.pop(digest, None)
        for digest, delivery in draft.added.items():
            self._kept.pop(digest, None)  # it moves to the end
            self._kept[digest] = delivery

    def absorb(self, rows: Sequence[Row]) -> None:
        """Take over rows that other replicas committed; version 0 means removed.

        Raises ``StorageDamaged`` on an unknown layout.
        """
        for row in rows:
            (digest,) = row.key
            self._kept.pop(digest, None)
            if row.version:
                self._kept[digest] = _decode(row)
        if rows:
            self.sort()

    def restore(self, rows: Iterable[Row]) -> None:
        """Replace everything by stored rows. Raises ``StorageDamaged`` on an unknown layout."""
        self._kept = {delivery.digest: delivery for delivery in map(_decode, rows)}
        self.sort()

    def sort(self) -> None:
        """Sort by receipt, so that the order is the same in all replicas and after a restart."""
        by_receipt = sorted(self._kept.items(), key=lambda item: (item[1].last_received, item[0]))
        self._kept = dict(by_receipt)


class RejectedDeliveriesDraft:
    """Changes to the rejected deliveries, not committed yet."""

    def __init__(self, kept: dict[str, RejectedDelivery], limit: int) -> None:
        self.added: dict[str, RejectedDelivery] = {}
        self.removed: dict[str, RejectedDelivery] = {}
        self.dropped = 0
        """How many were removed because there were too many."""
        self._kept = kept
        self._limit = limit

    def get(self, digest: str) -> RejectedDelivery | None:
        """Return the delivery with this digest after the changes, or ``None``."""
        if digest in self.added:
            return self.added[digest]
        return None if digest in self.removed else self._kept.get(digest)

    def add(self, delivery: RejectedDelivery) -> None:
        """Keep a delivery. If its body is kept already, count it there."""
        digest = delivery.digest
        if known := self.get(digest):
            delivery = replace(
                delivery,
                first_received=known.first_received,
                deliveries=known.deliveries + 1,
                version=known.version,
            )
        elif removed := self.removed.pop(digest, None):
            delivery = replace(delivery, version=removed.version)
        self.added.pop(digest, None)  # it moves to the end
        self.added[digest] = delivery

    def remove(self, digest: str) -> RejectedDelivery | None:
        """Remove a delivery and return it; ``None`` if there is none with this digest."""
        delivery = self.get(digest)
        if delivery:
            self.added.pop(digest, None)
            self.removed[digest] = delivery
        return delivery

    def changes(self) -> tuple[Change, ...]:
        """Return what a commit must write before the draft may be published.

        Removes the oldest deliveries first if there are too many.
        """
        self._drop_surplus()
        changes = []
        for digest, delivery in self.added.items():
            expected = delivery.version
            self.added[digest] = replace(delivery, version=expected + 1)
            changes.append(Change(Table.REJECTED, (digest,), expected, _encode(delivery)))
        changes += [
            Change(Table.REJECTED, (digest,), delivery.version, None)
            for digest, delivery in self.removed.items()
            if delivery.version
        ]
        return tuple(changes)

    def _drop_surplus(self) -> None:
        if not self.added:
            return
        oldest_first = [
            *(i for i in self._kept.items() if i[0] not in self.added and i[0] not in self.removed),
            *self.added.items(),
        ]
        count = len(oldest_first)
        size = sum(len(delivery.body) for _, delivery in oldest_first)
        for digest, delivery in oldest_first:
            if count <= self._limit and size <= MAX_BYTES:
                break
            self.remove(digest)
            self.dropped += 1
            count -= 1
            size -= len(delivery.body)


def _encode(delivery: RejectedDelivery) -> bytes:
    return to_json(
        [
            LAYOUT,
            delivery.vendor,
            delivery.reason,
            [[list(error.loc), error.msg] for error in delivery.errors],
            b64encode(delivery.body).decode(),
            delivery.first_received,
            delivery.last_received,
            delivery.deliveries,
        ]
    )


def _decode(row: Row) -> RejectedDelivery:
    try:
        layout, *fields = from_json(row.data)
        vendor, reason, errors, body, first_received, last_received, deliveries = fields
        delivery = RejectedDelivery(
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
    return delivery
