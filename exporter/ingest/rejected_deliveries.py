"""Signed deliveries that the exporter could not process, kept for people to look at.

They are stored durably, once for each distinct body. When there are too many, the one whose last
receipt is longest ago is dropped. A body holds ICCIDs, so it is never logged.

A delivery whose only fault is a time in the future has nothing wrong if this machine's clock is.
It does not count as one too many, so that it can be replayed when the clock is right.
"""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Self

from pydantic_core import from_json, to_json

from exporter.errors import FieldError, Overloaded
from exporter.storage.contract import Change, Row, Table
from exporter.storage.stored_records import unreadable

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

LAYOUT = 1
"""Version of the stored form."""

MAX_BYTES = 16 << 20
"""Most bytes of all kept bodies together."""

MAX_FUTURE = 20_000
"""Most deliveries with the reason :data:`FUTURE`. Each needs about 0.5 kB beside its body."""

FUTURE = "future"
"""The reason of a delivery whose only fault is a time in the future."""


@dataclass(frozen=True, slots=True)
class RejectedDelivery:
    """A delivery that could not be processed."""

    vendor: str
    reason: str
    """``malformed`` (answered with 400), ``invalid`` or :data:`FUTURE` (422)."""
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


@dataclass(slots=True)
class _Totals:
    """How much is kept."""

    ordinary: int = 0
    """Deliveries, those from the future left out."""
    future: int = 0
    """Deliveries from the future."""
    size: int = 0
    """Bytes of all bodies."""

    @classmethod
    def of(cls, deliveries: Iterable[RejectedDelivery]) -> Self:
        totals = cls()
        for delivery in deliveries:
            totals.add(delivery)
        return totals

    def add(self, delivery: RejectedDelivery, times: int = 1) -> None:
        if delivery.reason == FUTURE:
            self.future += times
        else:
            self.ordinary += times
        self.size += times * len(delivery.body)

    def exceed(self, limit: int, *, future: bool) -> bool:
        """Return whether there are too many, from the future or others, or too large ones."""
        too_many = self.future > MAX_FUTURE if future else self.ordinary > limit
        return too_many or self.size > MAX_BYTES


class RejectedDeliveries:
    """The committed rejected deliveries, the one with the newest receipt last."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._kept: dict[str, RejectedDelivery] = {}
        self._totals = _Totals()

    def __len__(self) -> int:
        return len(self._kept)

    def __iter__(self) -> Iterator[RejectedDelivery]:
        return iter(self._kept.values())

    def get(self, digest: str) -> RejectedDelivery | None:
        """Return the delivery with this digest, or ``None``."""
        return self._kept.get(digest)

    def draft(self, *, drops_none: bool = False) -> RejectedDeliveriesDraft:
        """Return a draft without changes. With ``drops_none`` it drops no delivery for another."""
        totals = replace(self._totals)
        return RejectedDeliveriesDraft(self._kept, totals, self._limit, drops_none=drops_none)

    def publish(self, draft: RejectedDeliveriesDraft) -> None:
        """Take over the changes of a draft whose commit has succeeded."""
        for digest in draft.removed:
            self._kept.pop(digest, None)
        for digest, delivery in draft.added.items():
            self._kept.pop(digest, None)  # it moves to the end
            self._kept[digest] = delivery
        self._totals = draft.totals

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
            self._totals = _Totals.of(self._kept.values())
            self.sort()

    def restore(self, rows: Iterable[Row]) -> None:
        """Replace everything by stored rows. Raises ``StorageDamaged`` on an unknown layout."""
        self._kept = {delivery.digest: delivery for delivery in map(_decode, rows)}
        self._totals = _Totals.of(self._kept.values())
        self.sort()

    def sort(self) -> None:
        """Sort by receipt, so that the order is the same in all replicas and after a restart."""
        by_receipt = sorted(self._kept.items(), key=lambda item: (item[1].last_received, item[0]))
        self._kept = dict(by_receipt)


class RejectedDeliveriesDraft:
    """Changes to the rejected deliveries, not committed yet."""

    def __init__(
        self,
        kept: dict[str, RejectedDelivery],
        totals: _Totals,
        limit: int,
        *,
        drops_none: bool,
    ) -> None:
        self.totals = totals
        """How much is kept after the changes."""
        self.added: dict[str, RejectedDelivery] = {}
        self.removed: dict[str, RejectedDelivery] = {}
        self.dropped = 0
        """How many were removed because there were too many."""
        self._kept = kept
        self._limit = limit
        self._drops_none = drops_none

    def get(self, digest: str) -> RejectedDelivery | None:
        """Return the delivery with this digest after the changes, or ``None``."""
        if digest in self.added:
            return self.added[digest]
        return None if digest in self.removed else self._kept.get(digest)

    def add(self, delivery: RejectedDelivery) -> None:
        """Keep a delivery. If its body is kept already, count it there.

        Raises ``Overloaded`` if there is no room and the draft drops no other delivery for it.
        """
        digest = delivery.digest
        known = self.get(digest)
        if self._drops_none and not known:
            self._refuse_surplus(delivery)
        if known:
            self.totals.add(known, -1)
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
        self.totals.add(delivery)

    def remove(self, digest: str) -> RejectedDelivery | None:
        """Remove a delivery and return it; ``None`` if there is none with this digest."""
        delivery = self.get(digest)
        if delivery:
            self.added.pop(digest, None)
            self.removed[digest] = delivery
            self.totals.add(delivery, -1)
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

    def _refuse_surplus(self, delivery: RejectedDelivery) -> None:
        """Raise ``Overloaded`` if there is no room for a delivery."""
        totals = replace(self.totals)
        totals.add(delivery)
        if totals.exceed(self._limit, future=delivery.reason == FUTURE):
            raise Overloaded(
                "the clock of this machine seems to be behind, and there is no room to keep more "
                "rejected deliveries: set the clock"
            )

    def _drop_surplus(self) -> None:
        """Drop the oldest deliveries if there are too many, those from the future last.

        If the number is too great and not the size, deliveries are dropped for others like them.
        """
        if self._drops_none or not self.added:
            return
        for future in (False, True):
            if not self.totals.exceed(self._limit, future=future):
                continue
            for digest, delivery in self._oldest_first():
                if (delivery.reason == FUTURE) is future:
                    self.remove(digest)
                    self.dropped += 1
                    if not self.totals.exceed(self._limit, future=future):
                        break

    def _oldest_first(self) -> Iterator[tuple[str, RejectedDelivery]]:
        """Return what is kept after the changes. What was returned may be removed meanwhile."""
        added = list(self.added.items())
        for digest, delivery in self._kept.items():
            if digest not in self.added and digest not in self.removed:
                yield digest, delivery
        yield from added


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
