"""Rejected deliveries that other replicas committed."""

from __future__ import annotations

import pytest
from replica_members import Member, members

from exporter.errors import StorageDamaged
from exporter.ingest.rejected_deliveries import RejectedDeliveries, RejectedDelivery
from exporter.storage.contract import Changes, Row, Table


def rejection(body: bytes, received: int) -> RejectedDelivery:
    return RejectedDelivery("roamify", "invalid", (), body, received, received)


def reject(member: Member, body: bytes, received: int) -> None:
    draft = member.rejections.draft()
    draft.add(rejection(body, received))
    assert member.storage.apply(Changes(draft.changes())) == ()
    member.rejections.publish(draft)


def bodies(member: Member) -> list[bytes]:
    return [each.body for each in member.rejections]


async def test_rejections_of_others_are_kept_in_the_order_of_their_receipt() -> None:
    one, other = members()
    reject(one, b"late", 9)
    reject(other, b"early", 1)
    for member in (one, other):
        await member.follow()
        assert bodies(member) == [b"early", b"late"]
    reject(one, b"later", 10)
    await other.follow()
    assert bodies(one) == bodies(other) == [b"late", b"later"]


async def test_a_rejection_that_others_count_again_or_drop_changes_or_leaves() -> None:
    one, other = members()
    reject(one, b"x", 1)
    reject(one, b"y", 2)
    await other.follow()
    reject(other, b"x", 3)
    await one.follow()
    assert bodies(one) == [b"y", b"x"]
    assert [each.deliveries for each in one.rejections] == [1, 2]

    draft = one.rejections.draft()
    draft.remove(next(iter(one.rejections)).digest)
    assert one.storage.apply(Changes(draft.changes())) == ()
    await other.follow()
    assert bodies(other) == [b"x"]


def test_a_rejection_of_a_newer_version_is_not_taken_over() -> None:
    with pytest.raises(StorageDamaged):
        RejectedDeliveries(2).absorb([Row(Table.REJECTED, ("d",), 1, b"[2]")])
