"""What one batch changes: bounds, accounts, versions of rows."""

from __future__ import annotations

import pytest
from expected_samples import DAY
from generated_events import START
from running_fleet import (
    ARRIVAL,
    RunningFleet,
    capped,
    expired,
    fleet_sample,
    status,
    usage,
)

from exporter.errors import InvalidEvent, StorageDamaged
from exporter.fleet import drafts
from exporter.fleet.drafts import Draft
from exporter.model.events import OtherEvent, PartnerEvent, Snapshot, Status
from exporter.model.merge import Result
from exporter.model.records import Feed
from exporter.storage.contract import Chunk, Row, Table

MONTH = 30 * DAY


def test_an_esim_has_a_greatest_number_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MAX_ALLOWANCES", 2)
    running = RunningFleet()
    running.take(usage(package_id="a"), usage(package_id="b"))
    before = running.text()
    draft = Draft(running.fleet, running.now)
    with pytest.raises(InvalidEvent, match="package_id: the eSIM has 2 packages already"):
        draft.merge(usage(package_id="c", package_name="x", status=Status.NEW))
    assert draft.merge(usage(package_id="b")) is Result.DUPLICATE
    running.publish(draft)
    assert running.text() == before


def in_locations(*names: str) -> Snapshot:
    return Snapshot(locations=tuple((name, 1) for name in sorted(names)))


def test_an_esim_has_a_greatest_number_of_locations(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MAX_LOCATIONS", 3)
    running = RunningFleet()
    running.take(
        usage(package_id="a", snapshot=in_locations("A", "B")),
        usage(package_id="b", snapshot=in_locations("A")),
    )
    draft = Draft(running.fleet, running.now)
    with pytest.raises(InvalidEvent, match="usage_list: the eSIM would have more than 3 locations"):
        draft.merge(usage(time=1, package_id="b", snapshot=in_locations("C")))
    assert not draft.changes()
    changed = usage(time=1, package_id="b", snapshot=Snapshot(locations=(("A", 9),)))
    assert running.take(changed) == [Result.ACCEPTED]


def test_the_names_of_an_esims_locations_have_a_greatest_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(drafts, "MAX_LOCATION_CHARACTERS", 6)
    running = RunningFleet()
    running.take(usage(package_id="a", snapshot=in_locations("Chad", "Ob")))
    with pytest.raises(InvalidEvent, match="locations would have more than 6 characters"):
        running.take(usage(package_id="b", snapshot=in_locations("C")))


def test_an_esim_above_lower_bounds_changes_but_does_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = RunningFleet()
    locations = in_locations("A", "B", "C")
    running.take(*(usage(package_id=each, snapshot=locations) for each in "abc"))
    for bound in ("MAX_ALLOWANCES", "MAX_LOCATIONS", "MAX_LOCATION_CHARACTERS"):
        monkeypatch.setattr(drafts, bound, 2)
    more = usage(time=1, package_id="a", snapshot=Snapshot(locations=(("A", 9),)))
    assert running.take(more, status(Status.ACTIVATED)) == [Result.ACCEPTED] * 2
    for wider in ({"package_id": "d"}, {"package_id": "a", "snapshot": in_locations("D")}):
        with pytest.raises(InvalidEvent, match="the eSIM"):
            running.take(usage(time=2, **wider))


def test_the_row_of_an_esim_at_all_bounds_stays_small() -> None:
    running = RunningFleet()
    each = drafts.MAX_LOCATIONS // drafts.MAX_ALLOWANCES
    length = drafts.MAX_LOCATION_CHARACTERS // drafts.MAX_LOCATIONS
    for number in range(drafts.MAX_ALLOWANCES):
        names = (f"{number * each + at:0{length}}" for at in range(each))
        full = Snapshot(
            data_allowed=2**40,
            sms_allowed=99,
            voice_allowed=9999,
            locations=tuple((name, 10**9) for name in names),
        )
        for n in range(20):  # more than are kept
            left = full._replace(data_remaining=2**30 - n, sms_remaining=n, voice_remaining=n)
            running.take(usage(time=n, package_id=f"package-{number:04}", snapshot=left))
    (row,) = (row for at, row in running.storage.rows.items() if at[0] is Table.ESIM)
    assert 50_000 < len(row.data) < 130_000


def partner_in(currency: str) -> PartnerEvent:
    return PartnerEvent("roamify", "top_up", START, currency, 5.0)


def test_a_vendor_has_a_greatest_number_of_currencies(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drafts, "MAX_CURRENCIES", 2)
    running = RunningFleet()
    running.take(partner_in("EUR"))
    draft = Draft(running.fleet, running.now)
    assert draft.merge(partner_in("USD")) is Result.ACCEPTED
    with pytest.raises(InvalidEvent, match="currency: the account has 2 currencies already"):
        draft.merge(partner_in("XAU"))
    other_vendor = partner_in("XAU")._replace(vendor="another")
    assert draft.merge(other_vendor) is Result.ACCEPTED
    running.publish(draft)
    assert running.take(partner_in("USD")._replace(time=START + 1)) == [Result.ACCEPTED]
    with pytest.raises(InvalidEvent):
        running.restarted().take(partner_in("XAU"))


def partner(event_type: str, time: int, balance: float = 5.0) -> PartnerEvent:
    return PartnerEvent("roamify", event_type, START + time, "EUR", balance)


def test_partner_events_feed_balance_and_time_by_type() -> None:
    running = RunningFleet()
    taken = running.take(
        partner("top_up", 5),
        partner("low_balance", 3, 2.0),
        partner("low_balance", 3, 2.0),
        partner("top_up", 5),
        partner("top_up", 4),
        partner("top_up", 5, 4.0),
        partner("low_balance", 5, 1.0),
    )
    assert taken == [
        *(Result.ACCEPTED, Result.ACCEPTED, Result.STALE),
        *(Result.DUPLICATE, Result.STALE, Result.STALE, Result.ACCEPTED),
    ]
    assert fleet_sample(running, "esim_partner_balance", currency="EUR") == 5
    name = "esim_partner_last_event_timestamp_seconds"
    assert fleet_sample(running, name, event_type="low_balance") == START + 5
    assert running.restarted().text() == running.text()


def test_an_event_without_metrics_is_ignored() -> None:
    running = RunningFleet()
    draft = Draft(running.fleet, running.now)
    assert draft.merge(OtherEvent("roamify", "order")) is Result.IGNORED
    assert not draft.changes()


def test_a_delivery_of_a_vendor_is_noted_once_a_second() -> None:
    running = RunningFleet()
    running.now += 0.75
    for _ in range(2):
        draft = Draft(running.fleet, running.now)
        draft.note_delivery("roamify")
        running.publish(draft)
    assert running.fleet.registers["feed", "roamify"] == Feed("roamify", ARRIVAL, 1)
    draft = Draft(running.fleet, running.now + 1)
    draft.note_delivery("roamify")
    running.publish(draft)
    restarted = running.restarted().fleet.registers["feed", "roamify"]
    assert restarted == Feed("roamify", ARRIVAL + 1, 2)


def test_a_delivery_is_noted_after_the_clock_was_set_back() -> None:
    running = RunningFleet()
    for now in (ARRIVAL + MONTH, ARRIVAL):
        draft = Draft(running.fleet, now)
        draft.note_delivery("roamify")
        running.publish(draft)
    assert running.fleet.registers["feed", "roamify"] == Feed("roamify", ARRIVAL, 2)


def test_versions_of_rows_rise_by_one_a_batch() -> None:
    running = RunningFleet()
    running.take(usage(), usage(time=1))
    running.take(usage(time=2))
    assert {row.version for at, row in running.storage.rows.items() if at[0] is Table.ESIM} == {2}


def test_a_draft_that_changed_nothing_writes_nothing() -> None:
    running = capped(0, "e")
    draft = Draft(running.fleet, running.now)
    draft.merge(usage())
    assert not draft.changes()


def test_what_came_and_went_in_one_draft_is_not_written() -> None:
    running = RunningFleet()
    draft = Draft(running.fleet, running.now)
    draft.merge(usage())
    draft.esims.put(("roamify", "e"), None)
    assert {change.table for change in draft.changes().rows} == {Table.PACKAGE}


def test_an_esim_that_expired_and_came_back_begins_at_version_1_again() -> None:
    running = expired()
    running.take(usage(time=6))
    esim = running.fleet.esim(("roamify", "e"))
    assert esim
    assert esim.version == 1


def test_a_row_of_an_unknown_layout_is_refused() -> None:
    running = capped(0, "e")
    row = next(iter(running.storage.rows.values()))
    with pytest.raises(StorageDamaged, match="run the version that wrote it"):
        running.restarted_with(Chunk((row._replace(data=b"[2]"),)))
    with pytest.raises(StorageDamaged):
        running.restarted_with(Chunk((Row(Table.ESIM, ("roamify", "e"), 1, b"{"),)))
