"""Records of every kind, for property-based tests."""

from __future__ import annotations

from generated_events import locations, snapshots
from hypothesis import strategies as st

from exporter.model.consumption import Consumption, insert
from exporter.model.events import MAX_AMOUNT, MAX_TIME, Status
from exporter.model.records import (
    AccountBalance,
    Allowance,
    Esim,
    Feed,
    Package,
    PartnerNotice,
    Record,
    Remains,
    Tombstone,
)

texts = st.text(st.characters(codec="utf-8"), max_size=8)
times = st.integers(0, MAX_TIME)
versions = st.integers(1, 9)
peaks = locations.map(lambda given: given or ())
remains = st.none() | st.builds(Remains, st.integers(0, 2**80), st.integers(0, MAX_AMOUNT))
money = st.floats(allow_nan=False, allow_infinity=False)


def counter(samples: list[tuple[int, int]]) -> Consumption | None:
    known: Consumption | None = None
    for time, used in samples:
        known, _ = insert(known, time, used)
    return known


counters = st.lists(
    st.tuples(st.integers(1, 2**32 - 1), st.integers(0, MAX_AMOUNT)), max_size=25
).map(counter)

allowances = st.builds(
    Allowance,
    package_id=texts,
    time=times,
    snapshot=snapshots(),
    received=times,
    data=counters,
    sms=counters,
    voice=counters,
    peaks=peaks,
)
esims = st.builds(
    Esim,
    vendor=texts,
    esim_id=texts,
    received=times,
    admitted=times,
    tracked=st.booleans(),
    status_time=times,
    status=st.sampled_from(Status),
    reference_time=times,
    reference_id=texts,
    iccid_time=times,
    iccid=texts,
    allowances=st.lists(allowances, max_size=3).map(tuple),
    version=versions,
)
tombstones = st.builds(
    Tombstone,
    vendor=texts,
    esim_id=texts,
    package_id=texts,
    time=times,
    expired=times,
    status=st.sampled_from(Status),
    data=remains,
    sms=remains,
    voice=remains,
    peaks=peaks,
    version=versions,
)
packages = st.builds(Package, texts, texts, times, texts, versions)
balances = st.builds(AccountBalance, texts, texts, times, money, times, st.none() | money, versions)
notices = st.builds(PartnerNotice, texts, texts, times, versions)
feeds = st.builds(Feed, texts, times, versions)
records: st.SearchStrategy[Record] = st.one_of(
    esims, tombstones, packages, balances, notices, feeds
)
