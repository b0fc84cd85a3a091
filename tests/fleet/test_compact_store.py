from __future__ import annotations

from generated_records import esims
from hypothesis import given

from exporter.fleet.compact_store import CompactEsims
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
