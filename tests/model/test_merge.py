"""How one event changes one record. Each contradiction in a vendor's events has its test."""

from __future__ import annotations

from itertools import permutations
from typing import Any

import pytest
from generated_events import START

from exporter.model.events import PartnerEvent, Snapshot, Status, StatusEvent, UsageEvent
from exporter.model.merge import (
    Result,
    merge_balance,
    merge_package,
    merge_peaks,
    merge_status,
    merge_usage,
    tombstone_of,
)
from exporter.model.records import AccountBalance, Allowance, Esim, Package, Remains, Tombstone

NEW = Esim("roamify", "e", received=0, admitted=1)
RECEIVED = START + 1000


def usage(time: int = 0, **values: Any) -> UsageEvent:
    of_event = {
        name: values.pop(name)
        for name in ("status", "reference_id", "iccid", "package_name", "package_id")
        if name in values
    }
    return UsageEvent(
        vendor="roamify",
        time=START + time,
        esim_id="e",
        package_id=of_event.pop("package_id", "p"),
        snapshot=Snapshot(**values),
        **of_event,
    )


def status(time: int, value: Status, **names: Any) -> StatusEvent:
    return StatusEvent("roamify", START + time, "e", value, **names)


def after(*events: UsageEvent | StatusEvent, tombstone: Tombstone | None = None) -> Esim:
    esim = NEW
    for event in events:
        esim, _ = merge(esim, event, tombstone)
        tombstone = None
    return esim


def merge(
    esim: Esim, event: UsageEvent | StatusEvent, tombstone: Tombstone | None = None
) -> tuple[Esim, Result]:
    if isinstance(event, UsageEvent):
        return merge_usage(esim, tombstone, event, RECEIVED)
    return merge_status(esim, event, RECEIVED)


def only(esim: Esim) -> Allowance:
    (allowance,) = esim.allowances
    return allowance


def in_any_order(*events: UsageEvent | StatusEvent) -> Esim:
    outcomes = {after(*order) for order in permutations(events)}
    assert len(outcomes) == 1
    return outcomes.pop()


def total(esim: Esim) -> int:
    data = only(esim).data
    assert data
    return data.total


def test_the_newest_event_gives_the_snapshot() -> None:
    esim = in_any_order(
        usage(1, data_allowed=100, data_remaining=90), usage(2, data_allowed=100, data_remaining=80)
    )
    assert only(esim).snapshot == Snapshot(data_allowed=100, data_remaining=80)
    assert only(esim).time == START + 2


def test_something_wins_over_nothing_in_the_same_second() -> None:
    esim = in_any_order(usage(sms_allowed=5, sms_remaining=0), usage(start=1), usage(end=1))
    assert only(esim).snapshot.sms_allowed == 5
    assert only(in_any_order(usage(), usage(locations=()))).snapshot.locations == ()


def test_unlimited_wins_over_limited_in_the_same_second() -> None:
    esim = in_any_order(
        usage(data_allowed=100, data_remaining=50), usage(data_unlimited=True, start=1)
    )
    assert only(esim).snapshot.data_unlimited


def test_a_top_up_leaves_the_counter_alone() -> None:
    esim = in_any_order(
        usage(1, data_allowed=100, data_remaining=40),
        usage(2, data_allowed=200, data_remaining=140),
    )
    assert total(esim) == 60


def test_a_renewal_does_not_reset_the_counter() -> None:
    esim = in_any_order(
        usage(1, data_allowed=100, data_remaining=40),
        usage(2, data_allowed=100, data_remaining=100),
        usage(3, data_allowed=100, data_remaining=90),
    )
    assert total(esim) == 70


def test_more_remaining_than_allowed_is_nothing_used() -> None:
    assert total(after(usage(data_allowed=100, data_remaining=150))) == 0


@pytest.mark.parametrize("snapshot", [{}, {"data_allowed": 9}, {"data_remaining": 9}])
def test_absent_amounts_give_no_sample(snapshot: dict[str, int]) -> None:
    assert only(after(usage(**snapshot))).data is None


def test_an_event_without_amounts_keeps_the_counter() -> None:
    esim = in_any_order(usage(1, data_allowed=100, data_remaining=40), usage(2, start=5))
    assert total(esim) == 60
    assert only(esim).snapshot == Snapshot(start=5)


def test_unlimited_data_is_counted_by_the_usage_list() -> None:
    esim = in_any_order(
        usage(1, data_unlimited=True, locations=(("France", 10), ("Peru", 5))),
        usage(2, data_unlimited=True, locations=(("France", 30),)),
        usage(3, data_unlimited=True),
    )
    assert total(esim) == 30


def test_unlimited_and_back_counts_both() -> None:
    esim = in_any_order(
        usage(1, data_allowed=100, data_remaining=40),
        usage(2, data_unlimited=True, locations=(("France", 10),)),
        usage(3, data_allowed=100, data_remaining=20),
    )
    assert total(esim) == 60 + 70


def test_the_usage_list_need_not_add_up() -> None:
    esim = after(usage(data_allowed=1024, data_remaining=512, locations=(("Afghanistan", 300),)))
    assert total(esim) == 512
    assert only(esim).peaks == (("Afghanistan", 300),)


def test_sms_and_voice_are_counted_on_their_own() -> None:
    allowance = only(after(usage(sms_allowed=9, sms_remaining=4, voice_allowed=60)))
    assert allowance.sms
    assert allowance.sms.total == 5
    assert (allowance.data, allowance.voice) == (None, None)


def test_start_and_end_are_kept_as_given_and_nothing_depends_on_them() -> None:
    esim = in_any_order(
        usage(1, start=None, end=0, data_allowed=9, data_remaining=4),
        usage(2, start=9, end=3, data_allowed=9, data_remaining=4),
    )
    assert (only(esim).snapshot.start, only(esim).snapshot.end) == (9, 3)
    assert total(esim) == 5


def test_packages_of_an_esim_are_apart_and_sorted() -> None:
    esim = in_any_order(
        usage(1, package_id="b", data_allowed=9, data_remaining=4),
        usage(2, package_id="a", data_allowed=9, data_remaining=9),
        usage(3, package_id="c"),
    )
    assert [a.package_id for a in esim.allowances] == ["a", "b", "c"]
    assert esim.allowance("b") == esim.allowances[1]
    assert esim.allowance("d") is None


def test_flapping_within_a_second_gives_one_status() -> None:
    esim = in_any_order(
        status(1, Status.ACTIVATED), status(1, Status.INACTIVE), status(0, Status.NEW)
    )
    assert esim.status is Status.INACTIVE


def test_a_terminal_status_wins_a_tie() -> None:
    terminal = in_any_order(
        status(1, Status.UNKNOWN), status(1, Status.DELETED), usage(1, status=Status.OTHER)
    )
    assert terminal.status is Status.DELETED
    both = in_any_order(status(1, Status.EXPIRED), status(1, Status.REVOKED))
    assert both.status is Status.REVOKED


def test_a_newer_status_wins_over_a_terminal_one() -> None:
    assert in_any_order(status(1, Status.EXPIRED), status(2, Status.NEW)).status is Status.NEW


def test_the_status_is_fed_by_usage_events_too() -> None:
    esim = in_any_order(
        usage(2, status=Status.INACTIVE), status(1, Status.ACTIVATED), usage(3, status=None)
    )
    assert (esim.status, esim.status_time) == (Status.INACTIVE, START + 2)


@pytest.mark.parametrize("missing", [None, ""])
def test_a_missing_or_empty_name_never_erases_a_known_one(missing: str | None) -> None:
    esim = in_any_order(
        usage(1, reference_id="r", iccid="89"),
        status(2, Status.NEW, reference_id=missing, iccid=missing),
    )
    assert (esim.reference_id, esim.iccid) == ("r", "89")


def test_the_newest_names_win_and_the_greater_in_a_tie() -> None:
    esim = in_any_order(
        usage(1, reference_id="z", iccid="9"),
        usage(2, reference_id="a", iccid="1"),
        status(2, Status.NEW, reference_id="b", iccid="0"),
    )
    assert (esim.reference_id, esim.iccid) == ("b", "1")


def test_an_event_that_changes_something_is_accepted_and_its_receipt_noted() -> None:
    esim, result = merge(NEW, usage(package_name="x"))
    assert result is Result.ACCEPTED
    assert (esim.received, only(esim).received) == (RECEIVED, RECEIVED)


def test_a_name_alone_does_not_count_as_receipt_for_the_allowance() -> None:
    first = after(usage(data_allowed=9, data_remaining=4))
    esim, result = merge_usage(
        first, None, usage(data_allowed=9, data_remaining=4, iccid="89"), RECEIVED + 50
    )
    assert result is Result.ACCEPTED
    assert (esim.received, only(esim).received) == (RECEIVED + 50, RECEIVED)


def test_a_duplicate_changes_nothing() -> None:
    for event in (
        usage(),
        usage(data_allowed=9, data_remaining=4, status=Status.NEW, iccid="8"),
        status(1, Status.NEW),
    ):
        esim = after(event)
        same, result = merge(esim, event)
        assert same is esim
        assert result is Result.DUPLICATE


def test_an_event_older_than_what_is_known_is_stale() -> None:
    esim = after(usage(5), status(5, Status.NEW))
    assert merge(esim, usage(4)) == (esim, Result.STALE)
    assert merge(esim, status(4, Status.EXPIRED)) == (esim, Result.STALE)


def test_another_status_of_the_same_second_that_loses_the_tie_is_stale() -> None:
    esim = after(status(5, Status.DELETED))
    assert merge(esim, status(5, Status.ACTIVATED)) == (esim, Result.STALE)
    assert merge(esim, status(5, Status.DELETED)) == (esim, Result.DUPLICATE)


def test_an_event_too_old_to_refine_a_counter_is_late() -> None:
    esim = after(*[usage(t, data_allowed=99, data_remaining=t) for t in range(5, 30)])
    same, result = merge(esim, usage(1, data_allowed=99, data_remaining=0))
    assert same is esim
    assert result is Result.LATE


def test_a_late_event_within_the_window_can_only_raise_the_counter() -> None:
    esim = after(
        usage(1, data_allowed=100, data_remaining=90), usage(3, data_allowed=100, data_remaining=80)
    )
    refined, result = merge(esim, usage(2, data_allowed=100, data_remaining=50))
    assert result is Result.ACCEPTED
    assert (total(esim), total(refined)) == (20, 50)
    assert only(refined).snapshot == only(esim).snapshot


def test_a_late_event_still_raises_what_was_most_used_in_a_location() -> None:
    esim = after(usage(5, locations=(("Peru", 4),)))
    raised, result = merge(esim, usage(1, locations=(("Peru", 9), ("Chile", 0))))
    assert result is Result.ACCEPTED
    assert only(raised).peaks == (("Chile", 0), ("Peru", 9))
    assert only(raised).snapshot.locations == (("Peru", 4),)


def test_a_replayed_event_does_not_set_the_time_of_receipt_back() -> None:
    replayed_at = RECEIVED - 500
    known = after(usage(1, data_allowed=9, data_remaining=4), status(1, Status.NEW))
    assert (known.received, only(known).received) == (RECEIVED, RECEIVED)

    ended, result = merge_status(known, status(2, Status.EXPIRED), replayed_at)
    assert (result, ended.status) == (Result.ACCEPTED, Status.EXPIRED)
    assert ended.received == RECEIVED

    used, result = merge_usage(known, None, usage(2, data_allowed=9, data_remaining=1), replayed_at)
    assert result is Result.ACCEPTED
    assert (used.received, only(used).received) == (RECEIVED, RECEIVED)


def test_peaks_are_the_same_object_where_nothing_rose() -> None:
    known = (("Peru", 9),)
    assert merge_peaks(known, (("Peru", 9),)) is known
    assert merge_peaks(known, ()) is known
    assert merge_peaks((), (("Peru", 0),)) == (("Peru", 0),)


def test_an_expired_allowance_can_be_revived() -> None:
    esim = after(
        usage(
            *(5,),
            data_allowed=100,
            data_remaining=30,
            sms_allowed=5,
            sms_remaining=5,
            locations=(("Peru", 9),),
        ),
        status(9, Status.EXPIRED),
    )
    tombstone = tombstone_of(only(esim), esim, RECEIVED)
    assert tombstone == Tombstone(
        vendor="roamify",
        esim_id="e",
        package_id="p",
        time=START + 9,
        expired=RECEIVED,
        status=Status.EXPIRED,
        data=Remains(70, 70),
        sms=Remains(0, 0),
        voice=None,
        peaks=(("Peru", 9),),
    )
    again = usage(10, data_allowed=100, data_remaining=20, voice_allowed=60, voice_remaining=0)
    revived = only(after(again, tombstone=tombstone))
    assert revived.data
    assert revived.voice
    assert (revived.data.total, revived.voice.total) == (80, 60)
    assert revived.snapshot == again.snapshot
    assert revived.peaks == (("Peru", 9),)


def test_a_tombstone_remembers_the_newer_of_usage_and_status() -> None:
    esim = after(usage(5), status(2, Status.NEW))
    assert tombstone_of(only(esim), esim, 0).time == START + 5


def test_the_newest_name_of_a_package_wins() -> None:
    named = [usage(1, package_name="z"), usage(2, package_name="a"), usage(2, package_name="b")]
    nameless = [usage(3, package_name=None), usage(3, package_name="")]
    for order in permutations([*named, *nameless]):
        package = Package("roamify", "p")
        for event in order:
            package = merge_package(package, event)
        assert package == Package("roamify", "p", START + 2, "b")


def partner(time: int, balance: float, threshold: float | None = None) -> PartnerEvent:
    return PartnerEvent("roamify", "top_up", START + time, "EUR", balance, threshold)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ([partner(1, 5.0), partner(2, 3.0)], (3.0, None)),
        ([partner(1, 5.0), partner(1, 7.0)], (7.0, None)),
        ([partner(1, 5.0, 10.0), partner(2, 3.0)], (3.0, 10.0)),
        ([partner(1, 5.0, 10.0), partner(2, 3.0, 1.0)], (3.0, 1.0)),
        ([partner(1, 5.0, -7.0), partner(1, 5.0, -9.0), partner(1, 5.0)], (5.0, -7.0)),
        ([partner(1, -5.0, 0.0), partner(2, -9.0)], (-9.0, 0.0)),
    ],
)
def test_balance_and_threshold_are_registers_of_their_own(
    events: list[PartnerEvent], expected: tuple[float, float | None]
) -> None:
    for order in permutations(events):
        balance: AccountBalance | None = None
        for event in order:
            balance = merge_balance(balance, event)
        assert balance
        assert (balance.balance, balance.threshold) == expected
        assert all(merge_balance(balance, event) is balance for event in events)


def test_keys_of_records_name_what_they_are_about() -> None:
    assert NEW.key == ("roamify", "e")
    assert NEW._replace(status=Status.REVOKED).terminal
    assert not NEW.terminal
