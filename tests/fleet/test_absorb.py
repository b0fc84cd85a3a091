"""A fleet takes over what other replicas committed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from expected_samples import DAY
from generated_events import START
from replica_members import WHOLE, both_show_what_is_stored, members, remove, status, usage
from running_fleet import RunningFleet, series, shown

from exporter.exposition.exposition import Group
from exporter.fleet import admission
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Fleet, Policy
from exporter.model.events import PartnerEvent, Status
from exporter.model.merge import Result
from exporter.model.shards import Shard
from exporter.storage.contract import Changes, Table

if TYPE_CHECKING:
    import pytest


async def test_what_one_takes_the_other_shows() -> None:
    one, other = members()
    partner = PartnerEvent("roamify", "low_balance", START, "EUR", 1.5, None)
    one.take(usage("a", locations=(("France", 7),)), status(Status.ACTIVATED, "a"), partner)
    await other.follow()
    assert other.text() == one.text()
    received = [each.fleet.totals.vendors["roamify"].usage_received for each in (one, other)]
    assert received == [int(one.now)] * 2
    assert other.take(usage("a")) == [Result.DUPLICATE]

    other.take(usage("a", 1, 60), usage("b"))
    await both_show_what_is_stored(one, other)
    assert one.take(usage("a", 1, 60)) == [Result.DUPLICATE]


async def test_much_is_taken_over_at_once() -> None:
    one, other = members()
    one.take(*(usage(f"e{number}") for number in range(500)))
    await other.follow()
    assert other.text() == one.text()


async def test_following_ones_own_commits_changes_nothing() -> None:
    one, other = members()
    one.take(usage("a"))
    for member in (one, other):
        await member.follow()
    other.take(PartnerEvent("roamify", "low_balance", START, "EUR", 1.5, None))
    one.take(usage("a", 1, 30))
    one.text()
    await one.follow()
    assert one.exposition.pending == 0, "nothing is rendered again"
    await both_show_what_is_stored(one, other)


async def test_what_one_lets_go_leaves_the_other_and_is_counted_once() -> None:
    one, other = members()
    one.take(usage("e", used=40, locations=(("France", 7),)), usage("f"))
    await other.follow()
    remove(one)
    await both_show_what_is_stored(one, other)
    consumed = series("esim_fleet_data_consumed_bytes_total", vendor="roamify", package_id="p")
    assert other.samples()[consumed] == 50
    assert shown(other) == ["f"]
    assert other.take(usage("e", used=40)) == [Result.STALE]

    assert other.take(usage("e", 1, 60)) == [Result.ACCEPTED]
    await both_show_what_is_stored(one, other)
    assert one.samples()[consumed] == 70


async def test_a_second_life_at_the_version_of_the_first_is_taken_over() -> None:
    one, other = members()
    one.take(usage("e", used=40), usage("f"))
    await other.follow()
    remove(one)
    one.take(usage("e", 1, 50, package_id="q"))
    first, second = other.fleet.esim(("roamify", "e")), one.fleet.esim(("roamify", "e"))
    assert first
    assert second
    assert first.version == second.version
    await both_show_what_is_stored(one, other)


async def test_what_came_and_went_in_between_is_never_shown() -> None:
    one, other = members()
    one.take(usage("e"))
    remove(one)
    await both_show_what_is_stored(one, other)
    assert shown(other) == []
    assert other.take(usage("e")) == [Result.STALE]


async def test_a_forgotten_tombstone_is_forgotten_by_all() -> None:
    one, other = members()
    one.take(usage("e"))
    remove(one)
    await other.follow()
    one.now += 91 * DAY
    one.expire()
    await other.follow()
    assert list(one.fleet.tombstones) == list(other.fleet.tombstones) == []


async def test_what_others_admit_over_the_cap_waits() -> None:
    one, other = members(Policy(max_esims=2))
    one.take(usage("a"), usage("b"), usage("c"))
    await other.follow()
    assert (len(other.fleet.esims), len(other.fleet.over_cap)) == (2, 1)
    one.take(usage("c", 1, 20))
    await other.follow()
    assert (len(other.fleet.esims), len(other.fleet.over_cap)) == (2, 1)
    assert one.text(Group.FLEET) == other.text(Group.FLEET)


async def test_one_that_others_let_go_makes_room_for_one_that_waits() -> None:
    one, other = members(Policy(max_esims=1))
    one.take(usage("a"), usage("b"))
    await other.follow()
    remove(one, "a")
    await other.follow()
    other.take(usage("new"))
    assert shown(other) == [], "those that wait go first"
    other.expire()
    assert shown(other) == ["b"]
    await one.follow()
    one.expire()
    assert shown(one) == ["b"]


async def test_a_second_life_over_the_cap_still_gets_room_in_the_end() -> None:
    one, other = members(Policy(max_esims=1))
    one.take(usage("a"), usage("b"))
    await other.follow()
    remove(one, "b")
    one.take(usage("b", 1))
    await other.follow()
    remove(one, "a")
    await other.follow()
    other.expire()
    assert shown(other) == ["b"]


async def test_replicas_that_admit_with_the_same_number_keep_the_cap_after_a_restart() -> None:
    one, other = members(Policy(max_esims=2))
    one.take(usage("x"), usage("b"))
    conflicting = Draft(other.fleet, other.now)
    for esim_id in ("c", "a"):
        conflicting.merge(usage(esim_id))
    rows = tuple(c for c in conflicting.changes().rows if c.table is Table.ESIM)
    assert other.storage.apply(Changes(rows)) == ()
    stored = RunningFleet(storage=one.storage, shard=WHOLE).fleet.esims
    assert sorted(each.admitted for each in stored) == [1, 1, 2, 2]

    for member in (one, other):
        await member.follow()
        member.load()
        assert shown(member) == ["c", "x"], "by admission, then by name"
        assert member.fleet.room() == 0
    assert [e.esim_id for e in one.fleet.admission.next_waiting(9)] == ["a", "b"]


async def test_replicas_at_the_cap_show_the_same_whoever_admitted_first() -> None:
    one, other = members(Policy(max_esims=10))
    for number in range(0, 30, 2):  # at the same time, with the same numbers
        one.take(status(Status.ACTIVATED, f"e{number:02}"))
        other.take(status(Status.ACTIVATED, f"e{number + 1:02}"))
        if number % 3 == 0:
            await one.follow()
            await other.follow()
    await both_show_what_is_stored(one, other)
    assert shown(one) == [f"e{number:02}" for number in range(10)]

    remove(one, "e03")
    for member in (other, one):
        await member.follow()
        member.expire()
    await both_show_what_is_stored(one, other)
    assert "e10" in shown(one)


async def test_places_are_given_up_from_the_last_on_however_many(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(admission, "KEPT", 3)
    one, other = members(Policy(max_esims=20))
    one.take(*(status(Status.ACTIVATED, f"x{number:02}") for number in range(20)))
    other.take(*(status(Status.ACTIVATED, f"a{number:02}") for number in range(15)))
    await both_show_what_is_stored(one, other)
    assert len(shown(one)) == 20
    firsts = [f"{group}{number:02}" for number in range(10) for group in "ax"]
    assert shown(one) == sorted(firsts)


def test_a_clock_behind_that_of_another_replica_changes_nothing() -> None:
    fleet = Fleet(Policy(), ("roamify",), Shard())
    ahead = Draft(fleet, START + 5)
    ahead.note_delivery("roamify")
    ahead.changes()
    fleet.publish(ahead)

    behind = Draft(fleet, START + 4)
    behind.note_delivery("roamify")

    assert not behind.changes()
