"""The text, its two formats and its two encodings."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from expected_samples import Model
from generated_events import MB, START, VENDORS, event_sets
from hypothesis import given, settings
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest
from prometheus_client.openmetrics import parser as openmetrics_parser
from prometheus_client.parser import text_string_to_metric_families
from running_fleet import ARRIVAL, STATE, RunningFleet, samples_of

from exporter.exposition.deflated_text import GZIP_CHUNK, IDENTITY_CHUNK, Deflater
from exporter.exposition.exposition import Exposition, Format, Group, own_text
from exporter.exposition.families import InfoLabels
from exporter.exposition.family_texts import LITTLE
from exporter.exposition.rendering import escape
from exporter.fleet import blocks
from exporter.fleet.fleet import Policy
from exporter.model.events import (
    MAX_AMOUNT,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from prometheus_client.metrics_core import Metric

    from exporter.exposition.deflated_text import ScrapeBody
    from exporter.model.events import Event

GOLDEN = Path(__file__).with_name("golden")

Parsed = dict[tuple[str, frozenset[tuple[str, str]]], float]


def usage(esim_id: str, time: int = 0, package_id: str = "p") -> UsageEvent:
    snapshot = Snapshot(data_allowed=1024 * MB, data_remaining=512 * MB)
    return UsageEvent("roamify", START + time, esim_id, package_id, snapshot)


def parsed(text: str, format_: Format = Format.TEXT) -> Parsed:
    families: Iterable[Metric]
    if format_ is Format.OPENMETRICS:
        families = openmetrics_parser.text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    else:
        families = text_string_to_metric_families(text)
    samples: Parsed = {}
    for family in families:
        for sample in family.samples:
            key = (sample.name, frozenset(sample.labels.items()))
            assert key not in samples
            samples[key] = float(sample.value)
    return samples


def gunzipped(scrape: ScrapeBody) -> bytes:
    """Return the text of a scrape that is exactly one gzip member."""
    member = b"".join(scrape.gzip())
    assert len(member) == scrape.gzip_size
    inflater = zlib.decompressobj(wbits=31)
    text = inflater.decompress(member) + inflater.flush()
    assert inflater.eof
    assert inflater.unused_data == b""
    assert len(text) == scrape.size
    return text


def small_fleet() -> RunningFleet:
    running = RunningFleet()
    snapshot = Snapshot(
        data_allowed=1024 * MB,
        data_remaining=512 * MB,
        sms_allowed=100,
        sms_remaining=50,
        voice_allowed=18000,
        voice_remaining=15000,
        start=START,
        end=START + 3600,
        locations=(("Afghanistan", 300 * MB), ("Åland Islands", 0)),
    )
    running.take(
        UsageEvent(
            "roamify", START, "e2", "p1", snapshot, Status.ACTIVATED, "order 7", "8", "1 GB"
        ),
        UsageEvent(
            "roamify", START, "e4", "p1", snapshot._replace(data_remaining=0, sms_remaining=9)
        ),
        UsageEvent("roamify", START + 1, "e1", "p2", Snapshot(data_unlimited=True, locations=())),
        StatusEvent("roamify", START + 2, 'e"3\\', Status.EXPIRED, 'a\nb"c\\d'),
        PartnerEvent("roamify", "low_balance", START + 3, "EUR", 12.5, 50.0),
    )
    return running


@pytest.mark.parametrize(
    ("name", "format_"),
    [("fleet.txt", Format.TEXT), ("fleet.openmetrics.txt", Format.OPENMETRICS)],
)
def test_the_text_of_a_small_fleet_does_not_change(name: str, format_: Format) -> None:
    assert small_fleet().text(format_=format_) == (GOLDEN / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("format_", Format)
def test_an_empty_fleet_can_be_scraped(format_: Format) -> None:
    running = RunningFleet()
    samples = parsed(running.text(format_=format_), format_)
    assert {name for name, _ in samples} == {"esim_fleet_esims", "esim_fleet_esims_stale"}
    assert gunzipped(running.scrape(format_=format_)) == running.text(format_=format_).encode()


@given(of=event_sets)
def test_parsers_read_what_the_client_library_would_write(of: list[Event]) -> None:
    running, model = RunningFleet(), Model()
    running.take(*of)
    for event in of:
        model.arrive(event, ARRIVAL)
    registry = CollectorRegistry()
    metrics: dict[str, Any] = {}
    for (name, labels), value in model.samples(ARRIVAL).items():
        if name not in metrics:
            kind = Counter if name.endswith("_total") else Gauge
            metrics[name] = kind(name, "help", [label for label, _ in labels], registry=registry)
        child = metrics[name].labels(**dict(labels))
        (child.inc if name.endswith("_total") else child.set)(value)
    written = parsed(generate_latest(registry).decode())
    expected = {key: value for key, value in written.items() if not key[0].endswith("_created")}
    for format_ in Format:
        assert parsed(running.text(format_=format_), format_) == expected


label_values = st.one_of(
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=256),
    st.text(st.sampled_from('"\\\nn{},= #\t\r\x00\x1f\x7f\x85\u2028é😀'), min_size=1, max_size=12),
    st.sampled_from(["x" * 256, '"' * 256, "\\" * 255, "\n", "\\n", "\r\n", "# EOF", "é" * 256]),
)


@given(esim_id=label_values, package_id=label_values, name=label_values, place=label_values)
def test_label_values_come_back_unchanged_from_parsers(
    esim_id: str, package_id: str, name: str, place: str
) -> None:
    running = RunningFleet()
    snapshot = Snapshot(locations=((place, 1),))
    event = UsageEvent(
        *("roamify", START, esim_id, package_id, snapshot), reference_id=name, package_name=name
    )
    running.take(event)
    for format_ in Format:
        samples = parsed(running.text(format_=format_), format_)
        for expected in (
            ("esim_info", {"esim_id": esim_id, "reference_id": name}),
            ("esim_package_info", {"package_id": package_id, "package_name": name}),
            (
                "esim_location_data_used_bytes",
                {"esim_id": esim_id, "package_id": package_id, "location": place},
            ),
            ("esim_fleet_location_data_consumed_bytes_total", {"location": place}),
        ):
            labels = expected[1] | {"vendor": "roamify"}
            assert samples[expected[0], frozenset(labels.items())] == 1


def test_only_backslash_quote_and_newline_are_escaped() -> None:
    assert escape('a"b\\c\nd\te\r') == 'a\\"b\\\\c\\nd\te\r'


def test_amounts_are_written_in_full() -> None:
    running = RunningFleet()
    snapshot = Snapshot(data_allowed=MAX_AMOUNT, data_remaining=1)
    for time in range(3):
        running.take(UsageEvent("roamify", START + 2 * time, "e", "p", snapshot))
        running.take(UsageEvent("roamify", START + 2 * time + 1, "e", "p", Snapshot()))
        running.take(
            UsageEvent(
                *("roamify", START + 2 * time + 1, "e", "p"),
                Snapshot(data_allowed=5, data_remaining=5),
            )
        )
    assert f"}} {3 * (MAX_AMOUNT - 1)}\n" in running.text()


@settings(max_examples=15)
@given(order=st.permutations([f"{number:03}" for number in range(150)]))
def test_the_text_of_many_blocks_does_not_depend_on_the_order_of_arrival(order: list[str]) -> None:
    running = RunningFleet()
    for start in range(0, len(order), 40):
        running.take(*[usage(esim_id, package_id=esim_id) for esim_id in order[start : start + 40]])
        running.text()
    assert running.text() == MANY.text()
    assert running.restarted().text() == MANY.text()


MANY = RunningFleet()
MANY.take(*[usage(f"{number:03}", package_id=f"{number:03}") for number in range(150)])


def test_families_and_series_are_sorted() -> None:
    running = small_fleet()
    running.take(*[usage(f"{number}", package_id=f"{number % 7}") for number in range(300)])
    for group in (Group.ESIMS, Group.FLEET):
        lines = [line for line in running.text(group).splitlines() if line[0] != "#"]
        series = [next(iter(samples_of(line))) for line in lines]
        keys = [key(name, dict(labels)) for name, labels in series]
        assert keys == sorted(keys)


def key(name: str, labels: dict[str, str]) -> tuple[Any, ...]:
    first = [labels.pop(label) for label in ("vendor", "esim_id", "package_id") if label in labels]
    return (name, *first, sorted(labels.items()))


def test_a_large_scrape_is_one_gzip_member_in_large_chunks() -> None:
    running = RunningFleet()
    for start in range(0, 12_000, 500):
        running.take(*[usage(f"{number:05}") for number in range(start, start + 500)])
    for format_ in Format:
        scrape = running.scrape(format_=format_)
        chunks = list(scrape.identity())
        assert gunzipped(scrape) == b"".join(chunks)
        assert sum(map(len, chunks)) == scrape.size
        assert len(chunks) > 5
        assert all(len(chunk) >= IDENTITY_CHUNK for chunk in chunks[:-1])
        assert all(len(chunk) >= GZIP_CHUNK for chunk in [*scrape.gzip()][:-1])


@given(of=event_sets)
def test_both_encodings_hold_the_same_text(of: list[Event]) -> None:
    running = RunningFleet()
    running.take(*of)
    for format_ in Format:
        assert gunzipped(running.scrape(format_=format_)).decode() == running.text(format_=format_)


def test_a_captured_scrape_does_not_change() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:05}") for number in range(2000)])
    before = running.text()
    scrape = running.scrape()
    chunks = scrape.identity()
    first = next(chunks)
    running.take(*[usage(f"{number:05}", 1) for number in range(500, 2500)])
    running.now += 31 * 86400
    running.expire()
    after = running.text()
    assert before != after
    assert (first + b"".join(chunks)).decode() == before
    assert gunzipped(scrape).decode() == before


def test_a_scrape_shows_each_series_as_it_was_though_blocks_were_split_since_the_refresh() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:03}") for number in range(0, 256, 2)])
    running.text()
    running.take(*[usage(f"{number:03}") for number in range(1, 256, 2)])
    scrape = running.exposition.scrape(STATE, Format.TEXT, running.now)
    shown = parsed(b"".join(scrape.identity()).decode())
    assert len([name for name, _ in shown if name == "esim_status"]) == 128
    assert running.exposition.pending > 0
    running.text()
    assert running.exposition.pending == 0


def test_a_block_that_was_merged_away_meanwhile_is_not_rendered() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:03}") for number in range(200)])
    running.load()
    assert running.exposition.pending > 2
    refresh = running.exposition.refresh()
    next(refresh)
    running.now += 40 * 86400
    running.take(*[usage(f"{number:03}", 1) for number in range(3)])
    running.expire()
    # The part of eSIMs is joined, the block of packages rendered and joined. Other blocks are gone.
    assert len(list(refresh)) == 1 + 2
    assert len([name for name, _ in running.samples() if name == "esim_status"]) == 3


def test_only_what_changed_is_rendered() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:03}") for number in range(300)])
    running.text()
    running.take(usage("000", 1), usage("001", 1))
    assert running.exposition.pending == 2  # a block of eSIMs and one of packages
    steps = len(list(running.exposition.refresh({Group.ESIMS})))
    assert steps == 1 + 1  # the block, its part
    assert running.exposition.pending == 1


def test_an_event_deflates_only_the_families_that_it_changes() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:03}") for number in range(300)])
    running.text()
    before = dict(running.exposition._esims.capture())
    snapshot = Snapshot(data_allowed=1024 * MB, data_remaining=MB)
    running.take(usage("007", 1)._replace(snapshot=snapshot))
    running.text()
    changed = {
        family.name
        for family, texts in running.exposition._esims.capture()
        if texts != before[family]
    }
    assert changed == {
        "esim_data_consumed_bytes_total",
        "esim_data_remaining_bytes",
        "esim_last_event_timestamp_seconds",
    }


def test_a_scrape_renders_little_itself_and_leaves_much_to_the_background() -> None:
    running = RunningFleet()
    numbers = range(64 * (LITTLE + 2))
    running.take(*[usage(f"{number:05}") for number in numbers])
    exposition = running.exposition
    exposition.note_changes(100.0)
    running.text()
    assert exposition.age(107.0) == 0

    def scraped() -> str:
        for _ in exposition.refresh_little({Group.ESIMS}):
            pass
        scrape = exposition.scrape({Group.ESIMS}, Format.TEXT, running.now)
        return b"".join(scrape.identity()).decode()

    old = scraped()
    running.take(usage("00000", 1))
    exposition.note_changes(110.0)
    assert exposition.age(111.0) == 0, "a scrape shows little at once"
    new = scraped()
    assert new != old

    running.take(*[usage(f"{number:05}", 2) for number in numbers])
    exposition.note_changes(120.0)
    running.take(usage("00000", 3))
    exposition.note_changes(121.0)
    assert exposition.age(122.5) == 2.5
    assert scraped() == new
    while exposition.oldest is not None:
        for _ in exposition.refresh_oldest():
            pass
    assert exposition.age(123.0) == 0
    assert scraped() == running.restarted().text(Group.ESIMS)


def test_the_part_that_changed_first_is_rendered_first_even_if_others_change_all_the_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blocks, "PART", 2)
    running = RunningFleet()
    numbers = range(64 * 80)
    running.take(*[usage(f"{number:05}") for number in numbers])
    running.text()
    exposition = running.exposition
    for now in range(1, 30):
        # The first eSIM changes all the time, and each time one of another part.
        running.take(usage("00000", 100 * now), usage(f"{now * 160:05}", now))
        exposition.note_changes(float(now))
        for later in (0.25, 0.5):
            for _ in exposition.refresh_oldest():
                running.take(usage("00000", 100 * now + round(100 * later)))
                exposition.note_changes(now + later)
        oldest = exposition.oldest
        assert oldest is None or oldest >= now - 3


def test_a_loaded_fleet_is_ready_when_all_of_it_was_rendered() -> None:
    running = RunningFleet()
    running.take(*[usage(f"{number:05}") for number in range(64 * (LITTLE + 20))])
    running.load()
    exposition = running.exposition
    everything = set(Group) - {Group.ESIMS}
    for _ in exposition.refresh_little(set(Group)):
        pass
    assert exposition.ready(everything)
    assert not exposition.ready()
    for _ in exposition.refresh():
        assert not exposition.ready() or exposition.pending == 0
    assert exposition.ready()
    assert running.text() == running.restarted().text()


def test_esims_over_the_cap_have_no_series() -> None:
    running = RunningFleet(Policy(max_esims=1))
    running.take(usage("a"), usage("b"))
    assert 'esim_id="b"' not in running.text()


OWN = "# HELP x y\n# TYPE x gauge\nx 1.0\n"


@pytest.mark.parametrize("format_", Format)
def test_groups_are_chosen(format_: Format) -> None:
    running = small_fleet()

    def text(*groups: Group) -> str:
        scrape = running.scrape(groups, format_, OWN)
        assert gunzipped(scrape) == b"".join(scrape.identity())
        return gunzipped(scrape).decode().removesuffix("# EOF\n")

    assert text(Group.EXPORTER) == OWN
    assert "esim_fleet_" not in text(Group.ESIMS)
    assert "esim_status" not in text(Group.FLEET)
    assert "esim_data_" not in text(Group.ATTENTION)
    assert text(*Group) == "".join(text(group) for group in Group)
    assert text() == ""


def test_the_exporters_own_text_can_stand_alone() -> None:
    assert gunzipped(own_text(OWN, Format.TEXT)).decode() == OWN
    assert gunzipped(own_text(OWN, Format.OPENMETRICS)).decode() == OWN + "# EOF\n"
    assert list(own_text("", Format.TEXT).identity()) == []


def test_stale_is_counted_at_the_moment_of_the_scrape() -> None:
    running = RunningFleet()
    running.take(StatusEvent("roamify", START, "e", Status.ACTIVATED))
    running.exposition.stale_after = 60
    running.now += 60
    assert 'esim_fleet_esims_stale{vendor="roamify"} 0\n' in running.text()
    running.now += 1
    assert 'esim_fleet_esims_stale{vendor="roamify"} 1\n' in running.text()


def test_a_vendor_that_reports_at_thresholds_only_has_no_stale_esims() -> None:
    running = RunningFleet()
    for vendor in VENDORS:
        running.take(StatusEvent(vendor, START, "e", Status.ACTIVATED))
    at_thresholds, *others = VENDORS
    exposition = Exposition(running.fleet, InfoLabels(), 60, {at_thresholds})
    text = b"".join(exposition.scrape({Group.FLEET}, Format.TEXT, ARRIVAL + 61).identity())
    stale = {line for line in text.decode().splitlines() if line.startswith("esim_fleet_esims_sta")}
    assert others
    assert stale == {f'esim_fleet_esims_stale{{vendor="{vendor}"}} 1' for vendor in others}


def test_a_deflated_text_stands_alone() -> None:
    deflater = Deflater()
    texts = [deflater.deflate(text) for text in (b"abc " * 50, b"", b"abc " * 50)]
    for deflated in texts:
        text = zlib.decompressobj(wbits=-15).decompress(deflated.deflated)
        assert (len(text), zlib.crc32(text)) == (deflated.size, deflated.crc)
    assert texts[0] == texts[2]
