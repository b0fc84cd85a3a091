"""Texts that are rendered and joined in small steps, by two at a time, while events arrive."""

from __future__ import annotations

import random
import re
import struct
import zlib
from collections import defaultdict
from typing import TYPE_CHECKING
from weakref import ref

import pytest
from generated_events import MB, START
from hypothesis import given, settings
from hypothesis import strategies as st
from running_fleet import STATE, RunningFleet, samples_of

from exporter.exposition.deflated_text import IDENTITY_CHUNK, DeflatedText, Deflater, ScrapeBody
from exporter.exposition.exposition import Format, Group
from exporter.exposition.families import InfoLabels, esim_families
from exporter.exposition.rendering import render_esims
from exporter.fleet import blocks
from exporter.model.events import Snapshot, Status, StatusEvent, UsageEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

FAMILIES = esim_families(InfoLabels())
NUMBERS = st.integers(0, 20)
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("use"), NUMBERS),
        st.tuples(st.just("end"), NUMBERS),
        st.tuples(
            st.sampled_from(["background", "scrape"]), st.sampled_from([1, 2, 3, 5, 10, 200])
        ),
        st.tuples(st.just("begin"), st.just(0)),
    ),
    max_size=25,
)


@pytest.fixture(scope="module", autouse=True)
def small() -> Iterator[None]:
    """Make blocks hold few eSIMs, so that few eSIMs split and merge them."""
    with pytest.MonkeyPatch.context() as patch:
        for name, size in (("FULL", 2), ("MOST", 3), ("FEWEST", 2)):
            patch.setattr(blocks, name, size)
        patch.setattr(blocks, "PART", 1)
        yield


class Busy:
    """A fleet that is rendered in the background and for a scrape at the same time."""

    def __init__(self) -> None:
        self.running = RunningFleet()
        self.time = 0
        self.background: Iterator[None] = iter(())
        self.scrape: Iterator[None] = iter(())
        for number in range(0, 20, 2):
            self.do(("use", number))
        self.running.text()

    def do(self, step: tuple[str, int]) -> None:
        action, number = step
        if action == "use":
            self.time += 1
            self.running.take(self.usage(number))
        elif action == "end":
            self.time += 1
            event_ = StatusEvent("roamify", START + self.time, f"e{number:02}", Status.DELETED)
            self.running.take(event_)
            self.running.now += 86400  # so that the terminal eSIM expires
            self.running.expire()
        elif action == "begin":
            self.background = self.running.exposition.refresh()
        else:
            steps = self.background if action == "background" else self.scrape
            for _ in range(number):
                next(steps, None)

    def usage(self, number: int) -> UsageEvent:
        """Return an event that changes some families, gives an eSIM others, or takes some away."""
        turn = self.time % 5
        snapshot = Snapshot(
            data_allowed=MB,
            data_remaining=MB - self.time,
            sms_allowed=10 if turn > 1 else None,
            sms_remaining=10 - turn if turn > 1 else None,
            locations=tuple((f'"{place}\\', self.time) for place in "abc"[: turn % 3]),
        )
        event = UsageEvent("roamify", START + self.time, f"e{number:02}", "pq"[turn % 2], snapshot)
        return event._replace(reference_id=f"{turn % 2}\n") if turn else event

    def lines(self) -> dict[str, set[str]]:
        """Return the lines of each eSIM as they should be now, by its id."""
        text = "".join(render_esims(self.running.fleet.esims, FAMILIES))
        return lines_of_esims(text)

    def shown(self) -> dict[str, int]:
        """Return the newest event time of each eSIM, by its id."""
        fleet = self.running.fleet
        return {e.esim_id: max(a.time for a in e.allowances) for e in fleet.esims}


def lines_of_esims(text: str) -> dict[str, set[str]]:
    """Return the lines of each eSIM by its id."""
    found: defaultdict[str, set[str]] = defaultdict(set)
    for line in text.splitlines():
        if match := re.search(r'esim_id="(e\d\d)"', line):
            assert line not in found[match[1]]
            found[match[1]].add(line)
    return found


def times_of(scrape: ScrapeBody) -> dict[str, float]:
    """Return the newest event time of each eSIM that a scrape shows, by its id."""
    newest: dict[str, float] = {}
    for (name, labels), time in samples_of(b"".join(scrape.identity()).decode()).items():
        if name == "esim_last_event_timestamp_seconds":
            esim_id = dict(labels)["esim_id"]
            newest[esim_id] = max(time, newest.get(esim_id, 0))
    return newest


@settings(max_examples=100)
@given(before=STEPS, during=STEPS, after=STEPS)
def test_a_scrape_shows_each_esim_once_and_nothing_older_than_when_it_began(
    before: list[tuple[str, int]], during: list[tuple[str, int]], after: list[tuple[str, int]]
) -> None:
    busy = Busy()
    for step in before:
        busy.do(step)
    begun = busy.shown()
    busy.scrape = busy.running.exposition.refresh()
    for step in during:
        busy.do(step)
    for _ in busy.scrape:
        pass
    ended = busy.shown().keys()
    scrape = busy.running.exposition.scrape(STATE, Format.TEXT, busy.running.now)
    for step in after:  # does not change what was captured
        busy.do(step)

    times = times_of(scrape)
    used = {f"e{number:02}" for action, number in during if action == "use"}
    left = any(action == "end" for action, _ in during)
    # An eSIM that was used may have expired and come back.
    stayed = (begun.keys() & ended) - (used if left else set())
    assert stayed <= times.keys() <= begun.keys() | used
    assert all(begun.get(e, 0) <= time <= busy.time + START for e, time in times.items())
    assert busy.running.text() == busy.running.restarted().text()


@settings(max_examples=100)
@given(before=STEPS, during=STEPS)
def test_a_scrape_that_renders_nothing_shows_each_esim_whole_as_it_was_at_one_moment(
    before: list[tuple[str, int]], during: list[tuple[str, int]]
) -> None:
    busy = Busy()
    for step in before:
        busy.do(step)
    busy.running.text()
    been: defaultdict[str, list[set[str]]] = defaultdict(list)
    stayed = set(busy.lines())
    shown_before = times_of(busy.running.exposition.scrape(STATE, Format.TEXT, busy.running.now))
    for step in [("use", 0), *during]:
        for esim_id, lines in busy.lines().items():
            been[esim_id].append(lines)
        busy.do(step)
        stayed &= busy.lines().keys()
        for esim_id, lines in busy.lines().items():
            been[esim_id].append(lines)

        scrape = busy.running.exposition.scrape({Group.ESIMS}, Format.TEXT, busy.running.now)
        shown = lines_of_esims(b"".join(scrape.identity()).decode())
        assert stayed <= shown.keys()
        assert all(lines in been[esim_id] for esim_id, lines in shown.items())
        times = times_of(scrape)
        assert all(times[each] >= shown_before[each] for each in stayed)
        shown_before |= times


@pytest.mark.parametrize("ended", range(0, 20, 2))
def test_what_stays_is_shown_while_parts_are_split_and_dropped(ended: int) -> None:
    busy = Busy()
    for number in range(1, 20, 2):
        busy.do(("use", number))
    for number in range(0, ended, 2):
        busy.do(("end", number))
        busy.do(("end", number + 1))
    stayed = {f"e{number:02}" for number in range(ended, 20, 2)}
    busy.do(("begin", 0))
    for _ in range(100):
        scrape = busy.running.exposition.scrape(STATE, Format.TEXT, busy.running.now)
        assert stayed <= times_of(scrape).keys()
        busy.do(("background", 1))
    assert busy.running.exposition.pending == 0


def test_parts_whose_records_are_gone_are_freed() -> None:
    busy = Busy()
    blocks = busy.running.fleet.esims.blocks
    first = ref(blocks.parts[0])
    assert len(blocks.parts) > 1
    for number in range(18):
        busy.do(("use", number))
        busy.do(("end", number))
    assert len(blocks.parts) == 1
    assert first() is None


def test_an_identity_scrape_inflates_in_small_steps() -> None:
    text = random.Random(7).randbytes(2_000_000).hex()
    body = ScrapeBody([Deflater().deflate(text.encode())])

    chunks = list(body.identity())

    assert b"".join(chunks).decode() == text
    assert len(chunks) > 8
    assert all(IDENTITY_CHUNK <= len(chunk) < 2 * IDENTITY_CHUNK for chunk in chunks[:-1])


def test_the_trailer_of_a_text_of_4_gib_and_more_has_its_size_modulo_4_gib() -> None:
    half = DeflatedText(b"", 2**31, zeros_crc(2**31))
    rest = DeflatedText(b"", 7, zlib.crc32(b"\0" * 7))
    whole = DeflatedText.joined([half, half])
    assert whole.size == 2**32

    for texts in ([half, half, rest], [whole, rest], [rest, whole], [half, rest, half]):
        body = ScrapeBody(texts)
        crc, size = struct.unpack("<II", b"".join(body.gzip())[-8:])
        assert body.size == 2**32 + 7
        assert size == 7
        assert crc == zeros_crc(2**32 + 7)


def zeros_crc(size: int) -> int:
    """Return the CRC-32 of so many zero bytes, calculated from its definition.

    The register is a polynomial modulo the one of CRC-32. A zero byte multiplies it by x^8.
    """
    register, factor = 0xFFFFFFFF, 1 << 23  # the bits are reversed: bit 31 - n stands for x^n
    while size:
        if size & 1:
            register = times(register, factor)
        factor = times(factor, factor)
        size >>= 1
    return register ^ 0xFFFFFFFF


def times(one: int, other: int) -> int:
    """Multiply two polynomials modulo the one of CRC-32."""
    product = 0
    for bit in range(31, -1, -1):
        if other >> bit & 1:
            product ^= one
        one = one >> 1 ^ (0xEDB88320 if one & 1 else 0)
    return product


@pytest.mark.parametrize("already", range(0, 60, 6))
def test_a_refresh_that_began_earlier_does_not_bring_older_text_back(already: int) -> None:
    for between in range(0, 60, 6):
        busy = Busy()
        busy.do(("use", 0))
        busy.do(("begin", 0))
        busy.do(("background", already))
        busy.do(("use", 0))
        busy.do(("use", 18))
        newest = busy.shown()
        busy.scrape = busy.running.exposition.refresh()
        busy.do(("scrape", between))
        busy.do(("background", 1000))
        for _ in busy.scrape:
            pass
        scrape = busy.running.exposition.scrape(STATE, Format.TEXT, busy.running.now)
        assert times_of(scrape) == newest
