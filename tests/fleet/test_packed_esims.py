from __future__ import annotations

from generated_records import esims
from hypothesis import given
from hypothesis import strategies as st

from exporter.fleet.packed_esims import (
    HIDDEN,
    NO_LIMIT,
    SEVERAL,
    STATUS_CODES,
    PackedEsim,
    PackedEsims,
    number_of,
    pack,
    unpack,
)
from exporter.fleet.packed_records import is_transparent
from exporter.model.consumption import Consumption
from exporter.model.events import Snapshot
from exporter.model.records import Allowance, Esim
from exporter.query.shown_values import data_used_share, greatest_used_share, last_event

HUGE = Consumption(2**70, b"\0" * 12, 2**70)
SMALL = Consumption(1, b"\0" * 12, 1)


def with_counter(counter: Consumption) -> Esim:
    allowance = Allowance("p", 1, Snapshot(), 1, data=counter)
    return Esim("v", "e", 1, 1, reference_id='a"b', allowances=(allowance,))


@given(esim=esims)
def test_the_columns_say_what_people_see(esim: Esim) -> None:
    kept = PackedEsims([pack(esim)])

    share = kept.data_used_shares[0]
    assert (None if share == NO_LIMIT else share) == data_used_share(esim)
    assert kept.last_events[0] == last_event(esim)
    assert kept.statuses[0] == STATUS_CODES[esim.status]
    for resource, column in (("sms", kept.sms_percents), ("voice", kept.voice_percents)):
        used = greatest_used_share(esim.allowances, resource) or 0.0
        assert used - 0.01 - 1e-9 <= column[0] / 100 <= used + 1e-9
    expected = number_of(esim.allowances[0].package_id) if len(esim.allowances) == 1 else SEVERAL
    assert kept.packages[0] == (expected if is_transparent(kept.records[0]) else HIDDEN)
    assert kept.references[0] == number_of(esim.reference_id)
    assert kept.iccids[0] == number_of(esim.iccid)


def test_only_a_record_without_escapes_shows_its_texts() -> None:
    assert b'a"b' in pack(with_counter(SMALL))[0]
    assert is_transparent(pack(with_counter(SMALL))[0])
    assert PackedEsims([pack(with_counter(SMALL))]).records.may_contain(b'a"b')
    assert not PackedEsims([pack(with_counter(SMALL))]).records.may_contain(b"other")
    assert b'a"b' not in pack(with_counter(HUGE))[0]
    assert not is_transparent(pack(with_counter(HUGE))[0])


def test_a_counter_may_outgrow_64_bits() -> None:
    for counter in (HUGE, SMALL):
        esim = with_counter(counter)
        assert unpack(b"v\0e", pack(esim)[0]) == esim


ACTIONS = ("insert", "replace", "delete", "cut", "extend")
entry = st.tuples(
    st.binary(min_size=1, max_size=9),
    st.floats(-1, 1),
    st.integers(0, 2**32 - 1),
    st.binary(min_size=6, max_size=6),
)


@given(start=st.lists(entry, max_size=6), data=st.data())
def test_packed_esims_are_a_list(start: list[PackedEsim], data: st.DataObject) -> None:
    packed, plain = PackedEsims(start), list(start)
    for _ in range(4):
        esim = data.draw(entry)
        place = data.draw(st.integers(0, len(plain)))
        match data.draw(st.sampled_from(ACTIONS)):
            case "insert":
                packed.insert(place, esim)
                plain.insert(place, esim)
            case "replace" if place < len(plain):
                packed[place] = plain[place] = esim
            case "delete" if place < len(plain):
                del packed[place], plain[place]
            case "cut":
                del packed[place:], plain[place:]
            case "extend":
                packed += PackedEsims([esim])
                plain += [esim]
        assert list(packed) == plain
        assert len(packed) == len(plain)
        assert [packed[at] for at in range(len(plain))] == plain
        assert list(packed[place:]) == plain[place:]
        assert list(packed.records) == [record for record, *_ in plain]
        assert list(packed.data_used_shares) == [share for _, share, _, _ in plain]
        assert list(packed.last_events) == [time for _, _, time, _ in plain]
        columns = zip(
            packed.statuses,
            packed.sms_percents,
            packed.voice_percents,
            packed.packages,
            packed.references,
            packed.iccids,
            strict=True,
        )
        assert [bytes(each) for each in columns] == [traits for *_, traits in plain]


def test_an_iteration_does_not_see_changes_made_meanwhile() -> None:
    first, second, third = [pack(with_counter(SMALL._replace(base=base))) for base in range(3)]

    def replace(packed: PackedEsims) -> None:
        packed[1] = pack(with_counter(HUGE))

    def insert(packed: PackedEsims) -> None:
        packed.insert(0, third)

    def delete(packed: PackedEsims) -> None:
        del packed[0]

    for change in (replace, insert, delete):
        packed = PackedEsims([first, second, third])
        iteration = iter(packed)
        assert next(iteration) == first
        change(packed)
        assert list(iteration) == [second, third], change.__name__
