from __future__ import annotations

import json
from typing import Any

import pytest
from generated_events import START, locations, snapshots
from hypothesis import given
from hypothesis import strategies as st

from exporter.consumption import Consumption, insert
from exporter.errors import StorageDamaged
from exporter.events import MAX_AMOUNT, Snapshot, Status
from exporter.records import (
    Allowance,
    Balance,
    Esim,
    Feed,
    Package,
    PartnerNotice,
    Record,
    Remains,
    Tombstone,
)
from exporter.rows import decode, encode, table_of
from exporter.storage import Row, Table

texts = st.text(st.characters(codec="utf-8"), max_size=8)
times = st.integers(0, 2**40)
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
balances = st.builds(Balance, texts, texts, times, money, times, st.none() | money, versions)
notices = st.builds(PartnerNotice, texts, texts, times, versions)
feeds = st.builds(Feed, texts, times, versions)
records: st.SearchStrategy[Record] = st.one_of(
    esims, tombstones, packages, balances, notices, feeds
)


def row_of(record: Record) -> Row:
    return Row(table_of(record), record.key, record.version, encode(record))


@given(record=records)
def test_a_row_gives_the_record_back(record: Record) -> None:
    assert decode(row_of(record)) == record


@given(record=records)
def test_a_row_is_json_in_utf_8_that_begins_with_its_layout(record: Record) -> None:
    assert json.loads(encode(record).decode())[0] == 1


def test_each_kind_of_record_has_its_table() -> None:
    snapshot = Snapshot()
    assert [
        table_of(record)
        for record in (
            Esim("v", "e", 0, 1, allowances=(Allowance("p", 0, snapshot, 0),)),
            Tombstone("v", "e", "p", 0, 0),
            Package("v", "p"),
            Balance("v", "EUR", 0, 0.0),
            PartnerNotice("v", "top_up", 0),
            Feed("v", 0),
        )
    ] == [
        *(Table.ESIM, Table.TOMBSTONE, Table.PACKAGE),
        *(Table.PARTNER, Table.PARTNER, Table.FEED),
    ]


def test_a_currency_called_event_is_not_taken_for_an_event() -> None:
    balance = Balance("v", "event", START, 1.5, version=1)
    assert decode(row_of(balance)) == balance


def test_a_counter_may_outgrow_64_bits() -> None:
    tombstone = Tombstone("v", "e", "p", 0, 0, data=Remains(10**40, 1), version=1)
    assert decode(row_of(tombstone)) == tombstone


@pytest.mark.parametrize(
    "data",
    [
        *(b"", b"[", b"{}", b"null", b"7", b"[]", b"[1]", b"[2,3]", b"[1,NaN]", b"\xff"),
        b'[1,1,1,true,0,"NO STATUS",0,"",0,"",[]]',
        b'[1,1,1,true,0,"NEW",0,"",0,"",[[]]]',
        b'[1,1,1,true,0,"NEW",0,"",0,"",[["p",1,1,false,1,1,1,1,1,1,1,1,[],[1,"!"],null,null,[]]]]',
    ],
)
def test_a_row_that_cannot_be_read_says_what_to_do(data: Any) -> None:
    with pytest.raises(StorageDamaged, match=r"of table esim .* run the version that wrote it"):
        decode(Row(Table.ESIM, ("v", "e"), 1, data))


def test_a_row_of_a_table_without_records_cannot_be_read() -> None:
    with pytest.raises(StorageDamaged, match="table rejected"):
        decode(Row(Table.REJECTED, ("digest",), 1, b"[1]"))
