"""Bounds on one eSIM and one account."""

from __future__ import annotations

from collections import Counter

import pytest
from expected_samples import DAY
from generated_events import START
from hypothesis import given
from hypothesis import strategies as st
from running_fleet import RunningFleet, consumed, status, usage

from exporter.errors import InvalidEvent
from exporter.fleet import bounds
from exporter.fleet.drafts import Draft
from exporter.model.events import PartnerEvent, Snapshot, Status
from exporter.model.merge import Result
from exporter.storage.contract import Table


def test_an_esim_has_a_greatest_number_of_packages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_ALLOWANCES", 2)
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


def peaks_of(running: RunningFleet, package_id: str = "p") -> dict[str, int]:
    esim = running.fleet.esim(("roamify", "e"))
    assert esim
    allowance = esim.allowance(package_id)
    assert allowance
    return dict(allowance.peaks)


def used(**amounts: int) -> Snapshot:
    return Snapshot(data_unlimited=True, locations=tuple(sorted(amounts.items())))


def test_the_locations_for_which_an_esim_has_no_room_are_summed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MAX_LOCATIONS", 3)
    running = RunningFleet()
    running.take(usage(package_id="q", snapshot=used(Peru=1)))
    running.take(usage(snapshot=used(Chad=5, Iran=1, Oman=20, Togo=3)))
    assert peaks_of(running) == {"Oman": 20, "Chad": 5, "other": 4}
    assert consumed(running) == 29
    shown = {
        dict(labels)["location"]: value
        for (name, labels), value in running.samples().items()
        if name == "esim_location_data_used_bytes" and ("package_id", "p") in labels
    }
    assert shown == {"Oman": 20, "Chad": 5, "other": 4}
    same = usage(snapshot=used(Chad=5, Iran=1, Oman=20, Togo=3))
    assert running.take(same) == [Result.DUPLICATE]
    assert running.take(usage(time=1, snapshot=used(Oman=21, Cuba=9))) == [Result.ACCEPTED]
    assert peaks_of(running) == {"Oman": 21, "Chad": 5, "other": 9}
    assert running.fleet.totals.folded == running.restarted().fleet.totals.folded == 1


def test_no_byte_counts_twice_when_there_is_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "MAX_LOCATIONS", 1)
    running = RunningFleet()
    running.take(usage(snapshot=used(Chad=5, Iran=1)))
    monkeypatch.setattr(bounds, "MAX_LOCATIONS", 9)
    running.take(usage(time=1, snapshot=used(Chad=5, Iran=4)))
    assert peaks_of(running) == {"Chad": 5, "other": 4}
    running.take(status(Status.EXPIRED, time=2))
    running.now += DAY
    running.expire()
    running.take(usage(time=3, snapshot=used(Chad=6, Iran=5)))
    assert peaks_of(running) == {"Chad": 6, "other": 5}


def test_the_names_of_an_esims_locations_have_a_greatest_length(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(bounds, "MAX_LOCATION_CHARACTERS", 6)
    running = RunningFleet()
    running.take(usage(snapshot=used(Chad=1, Ob=1)))
    running.take(usage(package_id="q", snapshot=used(X=1)))
    assert peaks_of(running) == {"Chad": 1, "Ob": 1}
    assert peaks_of(running, "q") == {"other": 1}


def test_an_esim_above_lower_bounds_changes_but_does_not_grow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    running = RunningFleet()
    running.take(*(usage(package_id=each, snapshot=used(A=1, B=1, C=1)) for each in "abc"))
    for bound in ("MAX_ALLOWANCES", "MAX_LOCATIONS", "MAX_LOCATION_CHARACTERS"):
        monkeypatch.setattr(bounds, bound, 2)
    more = usage(time=1, package_id="a", snapshot=used(A=9, C=1))
    assert running.take(more, status(Status.ACTIVATED)) == [Result.ACCEPTED] * 2
    with pytest.raises(InvalidEvent, match="the eSIM has 2 packages already"):
        running.take(usage(time=2, package_id="d"))
    running.take(usage(time=2, package_id="a", snapshot=used(D=1)))
    assert peaks_of(running, "a") == {"A": 9, "B": 1, "C": 1, "other": 1}


@given(
    data=st.data(),
    of=st.lists(
        st.dictionaries(st.sampled_from("ABCDEF"), st.integers(0, 9), min_size=1), max_size=6
    ),
    room=st.integers(0, 4),
)
def test_in_any_order_lists_that_only_grow_have_the_sum_of_the_last_one(
    data: st.DataObject, of: list[dict[str, int]], room: int
) -> None:
    total: Counter[str] = Counter()
    events = []
    for time, more in enumerate(of):
        total.update(more)
        events.append(usage(time=time, snapshot=used(**total)))
    running = RunningFleet()
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setattr(bounds, "MAX_LOCATIONS", room)
        for event in data.draw(st.permutations([*events, *events])):
            before = peaks_of(running) if running.storage.rows else {}
            running.take(event)
            after = peaks_of(running)
            assert all(after[name] >= amount for name, amount in before.items())
    if events:
        assert sum(peaks_of(running).values()) == total.total()
        assert len(peaks_of(running)) <= room + 1


def test_the_row_of_an_esim_at_all_bounds_stays_small() -> None:
    running = RunningFleet()
    each = bounds.MAX_LOCATIONS // bounds.MAX_ALLOWANCES
    length = bounds.MAX_LOCATION_CHARACTERS // bounds.MAX_LOCATIONS
    for number in range(bounds.MAX_ALLOWANCES):
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
    monkeypatch.setattr(bounds, "MAX_CURRENCIES", 2)
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
