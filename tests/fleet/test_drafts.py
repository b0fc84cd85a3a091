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
    usage,
)

from exporter.errors import StorageDamaged
from exporter.fleet.drafts import Draft
from exporter.model.events import OtherEvent, PartnerEvent
from exporter.model.merge import Result
from exporter.model.records import Feed
from exporter.storage.contract import Chunk, Row, Table

MONTH = 30 * DAY


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
