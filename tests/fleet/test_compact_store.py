from __future__ import annotations

from generated_records import esims
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.compact_store import CompactEsims, RecordList, may_contain, pack_key
from exporter.model.consumption import Consumption
from exporter.model.events import Snapshot
from exporter.model.records import Allowance, Esim

LONG = Consumption(2**70, b"\0" * 12, 2**70)


def packed(*esims: Esim) -> CompactEsims:
    kept = CompactEsims(lambda esim: esim.received)
    for esim in esims:
        kept.put(esim)
    return kept


def with_counter(counter: Consumption) -> Esim:
    allowance = Allowance("p", 1, Snapshot(), 1, data=counter)
    return Esim("v", "e", 1, 1, reference_id='a"b', allowances=(allowance,))


@given(esim=esims.filter(lambda esim: "\0" not in esim.vendor + esim.esim_id))
def test_an_esim_comes_back_as_it_was_put(esim: Esim) -> None:
    assert packed(esim).get(esim.key) == esim


def test_a_counter_may_outgrow_64_bits_in_memory_too() -> None:
    esim = with_counter(LONG)
    assert packed(esim).get(esim.key) == esim
    assert list(packed(esim)) == [esim]


def test_a_record_is_passed_by_only_where_it_cannot_hold_the_text() -> None:
    for counter in (LONG, Consumption(1, b"\0" * 12, 1)):
        [(key, record)] = packed(with_counter(counter)).blocks.slice_from(b"")
        assert key == pack_key(("v", "e"))
        assert may_contain(record, (b'a"b', b"p"))
    assert not may_contain(record, (b"other",))


ACTIONS = ("insert", "replace", "delete", "cut", "extend")
records = st.lists(st.binary(max_size=9), max_size=6)


@given(start=records, data=st.data())
def test_a_record_list_is_a_list(start: list[bytes], data: st.DataObject) -> None:
    packed, plain = RecordList(start), list(start)
    for _ in range(4):
        record = data.draw(st.binary(max_size=9))
        place = data.draw(st.integers(0, len(plain)))
        match data.draw(st.sampled_from(ACTIONS)):
            case "insert":
                packed.insert(place, record)
                plain.insert(place, record)
            case "replace" if place < len(plain):
                packed[place] = plain[place] = record
            case "delete" if place < len(plain):
                del packed[place], plain[place]
            case "cut":
                del packed[place:], plain[place:]
            case "extend":
                packed += RecordList([record])
                plain += [record]
        assert list(packed) == plain
        assert len(packed) == len(plain)
        assert [packed[at] for at in range(len(plain))] == plain
        assert list(packed[place:]) == plain[place:]


def test_an_iteration_does_not_see_changes_made_meanwhile() -> None:
    def replace(packed: RecordList) -> None:
        packed[1] = b"longer than before"

    def insert(packed: RecordList) -> None:
        packed.insert(0, b"first of all")

    def delete(packed: RecordList) -> None:
        del packed[0]

    for change in (replace, insert, delete):
        packed = RecordList([b"a", b"bcd", b"ef"])
        iteration = iter(packed)
        assert next(iteration) == b"a"
        change(packed)
        assert list(iteration) == [b"bcd", b"ef"], change.__name__
