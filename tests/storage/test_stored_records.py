from __future__ import annotations

import json
from typing import Any

import pytest
from generated_events import START
from generated_records import records
from hypothesis import given

from exporter.errors import StorageDamaged
from exporter.model.events import Snapshot
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
from exporter.storage.contract import Row, Table
from exporter.storage.stored_records import decode, encode, table_of


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
            AccountBalance("v", "EUR", 0, 0.0),
            PartnerNotice("v", "top_up", 0),
            Feed("v", 0),
        )
    ] == [
        *(Table.ESIM, Table.TOMBSTONE, Table.PACKAGE),
        *(Table.PARTNER, Table.PARTNER, Table.FEED),
    ]


def test_a_currency_called_event_is_not_taken_for_an_event() -> None:
    balance = AccountBalance("v", "event", START, 1.5, version=1)
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
