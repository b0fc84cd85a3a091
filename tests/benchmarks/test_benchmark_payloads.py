from __future__ import annotations

import pytest

from benchmarks import bulk, payloads
from benchmarks.generator import percentile, requests
from benchmarks.load import Load
from exporter.exposition.exposition import Exposition, Format, Group
from exporter.exposition.families import InfoLabels
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Fleet, Policy
from exporter.vendors import roamify

BASE = 1_790_000_000
NOW = BASE + 20 * payloads.DAY


def _line(name: str, labels: dict[str, str], value: int) -> str:
    pairs = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{pairs}}} {value}"


@pytest.mark.parametrize(("number", "step"), [(0, 0), (1, 3), (2, 40_000), (98_765, 999_999)])
def test_peers_hold_the_series_that_the_exporter_makes_of_the_event(number: int, step: int) -> None:
    fleet = Fleet(Policy(), (payloads.VENDOR,))
    draft = Draft(fleet, NOW)
    draft.merge(roamify.parse(payloads.usage_body(number, step, BASE), NOW))
    draft.changes()
    fleet.publish(draft)
    exposition = Exposition(fleet, InfoLabels(), stale_after=1)
    for _ in exposition.refresh():
        pass
    scrape = exposition.scrape({Group.ESIMS}, Format.TEXT, NOW)
    text = b"".join(scrape.identity()).decode()
    exposed = {line for line in text.splitlines() if not line.startswith("#")}
    assert exposed == {_line(*each) for each in payloads.series(number, step, BASE)}
    assert len(exposed) == payloads.SERIES


@pytest.mark.parametrize(("number", "step"), [(0, 0), (3, 15), (12_345, 678_901)])
def test_a_storage_is_filled_with_what_the_webhook_would_have_read(number: int, step: int) -> None:
    body = payloads.usage_body(number, step, BASE)
    assert bulk.event(number, step, BASE) == roamify.parse(body, NOW)


def test_deliveries_are_signed_as_the_vendor_signs() -> None:
    (request,) = requests(Load(1, count=1, base=BASE))
    head, _, body = request.partition(b"\r\n\r\n")
    signature = head.partition(b"X-Roamify-Signature: ")[2].partition(b"\r\n")[0].decode()
    assert signature == roamify.sign(body, payloads.SECRET)


def test_random_events_are_new_each_and_the_same_in_every_run() -> None:
    load = Load(1, count=50, esims=3, step=7, base=BASE)
    sent = requests(load)
    assert len(set(sent)) == 50
    assert sent == requests(load)
    assert load.steps == 50


def test_one_event_each_goes_through_the_fleet_in_one_step() -> None:
    load = Load(1, count=4, esims=4, each=True, step=7, base=BASE)
    expected = [payloads.usage_body(number, 7, BASE) for number in range(4)]
    assert [request.partition(b"\r\n\r\n")[2] for request in requests(load)] == expected
    assert load.steps == 1


@pytest.mark.parametrize(
    ("share", "value"), [(0.0, 1.0), (0.5, 50.0), (0.99, 99.0), (0.991, 100.0), (1, 100.0)]
)
def test_a_percentile_is_the_least_value_that_so_many_do_not_exceed(
    share: float, value: float
) -> None:
    assert percentile([float(n) for n in range(1, 101)], share) == value


def test_a_percentile_of_nothing_is_zero() -> None:
    assert percentile([], 0.99) == 0
