from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest
from generated_events import START
from hypothesis import given
from hypothesis import strategies as st
from memory_storage import MemoryStorage

from exporter.errors import FieldError, Overloaded, StorageDamaged
from exporter.ingest import rejected_deliveries as module
from exporter.ingest.rejected_deliveries import (
    FUTURE,
    RejectedDeliveries,
    RejectedDelivery,
    digest_of,
)
from exporter.storage.contract import Changes, Row, Table


def rejection(body: bytes, received: int = 0, reason: str = "invalid") -> RejectedDelivery:
    return RejectedDelivery(
        "roamify", reason, (FieldError(("a", 0), "bad"),), body, received, received
    )


class Kept:
    """Rejected deliveries with their stored rows."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.rejections = RejectedDeliveries(limit)
        self.storage = MemoryStorage()
        self.dropped = 0

    def add(self, *batch: RejectedDelivery, drops_none: bool = False) -> None:
        draft = self.rejections.draft(drops_none=drops_none)
        for each in batch:
            draft.add(each)
        assert self.storage.apply(Changes(draft.changes())) == ()
        self.rejections.publish(draft)
        self.dropped += draft.dropped

    def restarted(self) -> RejectedDeliveries:
        other = RejectedDeliveries(self.limit)
        other.restore(self.storage.rows.values())
        return other

    @property
    def bodies(self) -> list[bytes]:
        return [each.body for each in self.rejections]


def test_keeps_each_body_once_and_counts_its_deliveries() -> None:
    kept = Kept(10)
    kept.add(rejection(b"x", 5), rejection(b"y", 6), rejection(b"x", 7))
    kept.add(rejection(b"x", 9))
    assert len(kept.rejections) == 2
    x = next(each for each in kept.rejections if each.body == b"x")
    assert (x.first_received, x.last_received, x.deliveries, x.version) == (5, 9, 3, 2)
    assert list(kept.restarted()) == list(kept.rejections)


def test_the_one_last_received_longest_ago_makes_room() -> None:
    kept = Kept(2)
    kept.add(rejection(b"x", 1))
    kept.add(rejection(b"y", 2))
    kept.add(rejection(b"x", 3))
    kept.add(rejection(b"z", 4))
    assert kept.bodies == [b"x", b"z"]
    assert kept.dropped == 1
    assert {row.key for row in kept.storage.rows.values()} == {
        (digest_of(b"x"),),
        (digest_of(b"z"),),
    }


def test_one_that_comes_again_in_the_same_batch_is_the_newest() -> None:
    kept = Kept(2)
    kept.add(rejection(b"x", 1), rejection(b"y", 1), rejection(b"x", 2))
    assert kept.bodies == [b"y", b"x"]
    kept.add(rejection(b"z", 3))
    assert kept.bodies == [b"x", b"z"]


def test_a_batch_larger_than_the_limit_keeps_its_last() -> None:
    kept = Kept(2)
    kept.add(rejection(b"old"))
    kept.add(*[rejection(b"%d" % number, 1) for number in range(5)])
    assert kept.bodies == [b"3", b"4"]
    assert kept.dropped == 4
    assert len(kept.storage.rows) == 2


def test_a_known_one_may_make_room_in_the_batch_that_brings_it_again() -> None:
    kept = Kept(2)
    kept.add(rejection(b"x"))
    kept.add(rejection(b"x"), rejection(b"y"), rejection(b"z"))
    assert kept.bodies == [b"y", b"z"]
    assert len(kept.storage.rows) == 2


def test_nothing_is_kept_under_a_limit_of_nothing() -> None:
    kept = Kept(0)
    kept.add(rejection(b"x"))
    assert (kept.bodies, kept.storage.rows, kept.dropped) == ([], {}, 1)


def test_bodies_are_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    kept = Kept(100)
    kept.add(rejection(b"a" * 4), rejection(b"b" * 4))
    kept.add(rejection(b"a" * 4), rejection(b"c" * 2))
    assert kept.bodies == [b"b" * 4, b"a" * 4, b"cc"]
    kept.add(rejection(b"d"))
    assert kept.bodies == [b"a" * 4, b"cc", b"d"]
    kept.add(rejection(b"e" * 11))
    assert kept.bodies == []


def test_what_came_from_the_future_does_not_count_as_one_too_many() -> None:
    kept = Kept(2)
    kept.add(*[rejection(b"future %d" % number, number, FUTURE) for number in range(5)])
    kept.add(*[rejection(b"%d" % number, 9) for number in range(3)])
    assert kept.bodies == [*[b"future %d" % number for number in range(5)], b"1", b"2"]
    assert kept.dropped == 1


def test_what_came_from_the_future_is_dropped_last_and_only_for_its_bytes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    kept = Kept(100)
    kept.add(*[rejection(body * 4, reason=FUTURE) for body in (b"a", b"b")], rejection(b"cc"))
    kept.add(rejection(b"d", reason=FUTURE))
    assert kept.bodies == [b"aaaa", b"bbbb", b"d"]
    kept.add(rejection(b"eeee", reason=FUTURE))
    assert kept.bodies == [b"bbbb", b"d", b"eeee"]


def test_deliveries_from_the_future_are_bounded_in_number_and_make_room_for_each_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_FUTURE", 2)
    kept = Kept(1)
    kept.add(rejection(b"x"), *[rejection(b"%d" % n, n, FUTURE) for n in range(3)])
    assert kept.bodies == [b"x", b"1", b"2"]
    with pytest.raises(Overloaded):
        kept.add(rejection(b"3", 3, FUTURE), drops_none=True)
    kept.add(rejection(b"y"))
    assert kept.bodies == [b"1", b"2", b"y"]


def test_nothing_is_dropped_where_that_is_forbidden_and_what_has_no_room_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(module, "MAX_BYTES", 10)
    kept = Kept(2)
    kept.add(rejection(b"a"), rejection(b"b"), drops_none=True)
    kept.add(rejection(b"a", 5), rejection(b"future", 6, FUTURE), drops_none=True)
    for surplus in (rejection(b"c"), rejection(b"later", reason=FUTURE)):
        with pytest.raises(Overloaded, match="clock"):
            kept.add(surplus, drops_none=True)
    assert kept.bodies == [b"b", b"a", b"future"]
    assert kept.dropped == 0
    kept.rejections = kept.restarted()
    with pytest.raises(Overloaded):
        kept.add(rejection(b"c"), drops_none=True)
    kept.add(rejection(b"c", 7))
    assert kept.bodies == [b"a", b"future", b"c"]


def test_a_dropped_draft_leaves_no_trace() -> None:
    kept = Kept(1)
    kept.add(rejection(b"x"))
    draft = kept.rejections.draft()
    draft.add(rejection(b"y"))
    draft.changes()
    assert kept.bodies == [b"x"]
    kept.add(rejection(b"y"))
    assert kept.bodies == [b"y"]


def test_a_lowered_limit_is_kept_from_the_next_rejection_on() -> None:
    kept = Kept(5)
    kept.add(*[rejection(b"%d" % number, number) for number in range(5)])
    kept.limit = 2
    kept.rejections = kept.restarted()
    assert len(kept.rejections) == 5
    kept.add(rejection(b"new", 9))
    assert kept.bodies == [b"4", b"new"]


@given(
    batches=st.lists(st.lists(st.sampled_from([b"a", b"bb", b"ccc", b"\xff\x00", b""]))),
    limit=st.integers(0, 4),
    futures=st.sets(st.sampled_from([b"a", b"ccc"])),
)
def test_a_restart_gives_the_same(
    batches: list[list[bytes]], limit: int, futures: set[bytes]
) -> None:
    kept = Kept(limit)
    received = START
    for batch in batches:
        kept.add(
            *[
                rejection(body, received + at, FUTURE if body in futures else "invalid")
                for at, body in enumerate(batch)
            ]
        )
        received += len(batch)
        assert len(kept.rejections) - len(futures.intersection(kept.bodies)) <= limit
        assert list(kept.restarted()) == list(kept.rejections)
        assert {row.version for row in kept.storage.rows.values()} <= {
            each.version for each in kept.rejections
        }


def test_a_digest_does_not_give_the_body_away() -> None:
    assert rejection(b"x").digest == digest_of(b"x") == sha256(b"x").hexdigest()
    assert rejection(b"x", 5).digest == replace(rejection(b"x"), deliveries=7).digest


@pytest.mark.parametrize(
    "data", [b"[2]", b'[3,"a"]', b"", b'[2,"roamify","invalid",[],"",1,1,1]', b"7"]
)
def test_a_row_of_a_newer_version_is_refused(data: bytes) -> None:
    with pytest.raises(StorageDamaged, match=r"table rejected was written by another version"):
        RejectedDeliveries(5).restore([Row(Table.REJECTED, ("d",), 1, data)])
