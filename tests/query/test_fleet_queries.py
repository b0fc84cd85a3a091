"""Queries give the same as looking at every eSIM of the fleet."""

from __future__ import annotations

import asyncio
import random
from base64 import urlsafe_b64encode
from dataclasses import replace
from fractions import Fraction
from functools import cache
from typing import TYPE_CHECKING, Any

import pytest
from generated_events import START
from hypothesis import given, settings
from hypothesis import strategies as st
from running_fleet import ARRIVAL, RunningFleet

from exporter.exposition.families import InfoLabels
from exporter.fleet.attention import AttentionRule
from exporter.fleet.blocks import Blocks
from exporter.fleet.drafts import Draft
from exporter.fleet.fleet import Policy
from exporter.model.events import MAX_AMOUNT, Snapshot, Status, StatusEvent, UsageEvent
from exporter.query import list_scan, scan_turn
from exporter.query.fleet_queries import FleetQueries
from exporter.query.list_options import EsimFilter, Sorting, SortKey, SortOrder, UnknownCursor
from exporter.query.shown_values import EsimItem, ResourceData, UsedAt

if TYPE_CHECKING:
    from exporter.fleet.fleet import Fleet
    from exporter.model.records import Esim, EsimKey

ESIMS = 300
"""Several blocks of each vendor, with series and without."""

TRACKED = 200
BEYOND_FLOATS = urlsafe_b64encode(b'["esim_id", "asc", 1%s, "k"]' % (b"0" * 400)).decode()
"""A cursor with a number too large for a float."""

PACKAGES = ("p1", "p2", 'é"\\')
STATUSES = (Status.ACTIVATED, Status.DELETED, Status.NEW)


def usage(esim_id: str = "e", time: int = 0, used: int = 10, **values: Any) -> UsageEvent:
    amounts = Snapshot(data_allowed=100, data_remaining=100 - used)
    event = UsageEvent("roamify", START + time, esim_id, "p1", amounts)
    return event._replace(**values)


def filled() -> RunningFleet:
    """Return a fleet of two vendors, over its cap, whose eSIMs lack some fields at random."""
    running = RunningFleet(Policy(max_esims=TRACKED))
    chance = random.Random(7)
    for number in chance.sample(range(ESIMS), ESIMS):
        esim_id = f"{number // 10:03}-{number % 10}"
        vendor = chance.choice(("roamify", "other-vendor"))
        running.take(StatusEvent(vendor, START, esim_id, chance.choice(STATUSES)))
        for package_id in chance.sample(PACKAGES, chance.choice((0, 1, 1, 2))):
            limit = chance.choice((None, 0, 100, 100, 100))
            left = None if limit is None else chance.choice((0, 0, 7, chance.randint(0, 120)))
            sms = chance.choice((None, 5))
            amounts = Snapshot(limit is None, limit, left, sms, sms and chance.randint(0, 5))
            time = START + chance.randint(0, 20)
            reference = chance.choice((None, "r1", "r2"))
            event = UsageEvent(vendor, time, esim_id, package_id, amounts, None, reference)
            running.take(event)
    return running


@cache
def fleet() -> Fleet:
    return filled().fleet


QUERIES = FleetQueries(InfoLabels())


def listed(wanted: EsimFilter, sorting: Sorting) -> list[EsimItem]:
    """Return a whole list, made by looking at every eSIM."""
    esims = [*fleet().esims, *fleet().over_cap]
    found = [EsimItem.of(esim) for esim in esims if is_wanted(esim, wanted)]

    def key(summary: EsimItem) -> tuple[str, str]:
        return summary.vendor, summary.esim_id

    ascending = sorting.order is SortOrder.ASCENDING
    if sorting.by is SortKey.ESIM_ID:
        return sorted(found, key=key, reverse=not ascending)
    if sorting.by is SortKey.LAST_EVENT:
        return sorted(found, key=lambda s: (s.last_event, key(s)), reverse=not ascending)
    field = sorting.by.value
    known = [s for s in found if getattr(s, field) is not None]
    unknown = [s for s in found if getattr(s, field) is None]
    return [
        *sorted(known, key=lambda s: (getattr(s, field), key(s)), reverse=not ascending),
        *sorted(unknown, key=key, reverse=not ascending),
    ]


def is_wanted(esim: Esim, wanted: EsimFilter) -> bool:
    """Return whether an eSIM meets all conditions, judged by its shares in a slow way."""
    uses = [a for a in esim.allowances if wanted.package_id in {None, a.package_id}]
    snapshots = [a.snapshot for a in uses]
    data = [(s.data_allowed, s.data_remaining) for s in snapshots]
    sms = [(s.sms_allowed, s.sms_remaining) for s in snapshots]
    shares = data_shares(esim)
    live = esim.status not in {Status.DELETED, Status.REVOKED, Status.EXPIRED}
    out = live and set(shares) == {1}
    known = [share for share in shares if share is not None]
    nearly = live and not out and bool(shares) and known == shares and min(known) >= 0.9
    last = EsimItem.of(esim).out_of_data_package
    return (
        wanted.vendor in {None, esim.vendor}
        and esim.esim_id.startswith(wanted.prefix)
        and wanted.status in {None, esim.status}
        and wanted.terminal in {None, not live}
        and wanted.reference_id in {None, esim.reference_id}
        and wanted.over_limit in {None, not esim.tracked}
        and (wanted.package_id is None or bool(uses))
        and (wanted.min_data_used_share is None or used(data) >= wanted.min_data_used_share)
        and (wanted.min_sms_used_share is None or used(sms) >= wanted.min_sms_used_share)
        and wanted.out_of_data in {None, out}
        and (not wanted.out_of_data or wanted.package_id in {None, last})
        and wanted.about_to_run_out in {None, nearly}
        and wanted.min_voice_used_share is None  # no package has voice
    )


def used(amounts: list[tuple[int | None, int | None]]) -> float:
    """Return the greatest used share, -1 without any."""
    known = [(allowed, left) for allowed, left in amounts if allowed and left is not None]
    return max((max(0, allowed - left) / allowed for allowed, left in known), default=-1)


def data_shares(esim: Esim) -> list[float | None]:
    """Return the used share of each data allowance; ``None`` if there may be any amount left."""
    shares: list[float | None] = []
    for snapshot in (a.snapshot for a in esim.allowances):
        allowed, left = snapshot.data_allowed, snapshot.data_remaining
        if snapshot.data_unlimited or (left and not allowed):
            shares.append(None)
        elif allowed and left is not None:
            shares.append((allowed - left) / allowed)
    return shares


async def walked(wanted: EsimFilter, sorting: Sorting, limit: int) -> list[EsimItem]:
    """Return a whole list, page by page."""
    found: list[EsimItem] = []
    after = None
    while True:
        page = await QUERIES.esims(fleet(), wanted, sorting, after=after, limit=limit)
        assert len(page.esims) == limit or page.next is None
        found += page.esims
        assert len(found) <= ESIMS
        if page.next is None:
            return found
        after = page.next


def some(*values: object, default: object = None) -> st.SearchStrategy[object]:
    """Return a condition that is mostly absent, so that most lists are not empty."""
    return st.sampled_from((*[default] * 8 * len(values), *values))


wishes = st.builds(
    EsimFilter,
    vendor=some("roamify", "other-vendor", "nobody"),
    prefix=some("0", "012", "012-3", "029-9", "x", "\N{SNOWMAN}", default=""),
    status=some(*STATUSES, Status.OTHER),
    terminal=some(True, False),
    package_id=some(*PACKAGES, "p"),
    reference_id=some("r1", "r"),
    min_data_used_share=some(0.0, 0.5, 0.75, 1.0),
    min_sms_used_share=some(0.8, 1.0),
    min_voice_used_share=some(0.0),
    out_of_data=some(True, False),
    about_to_run_out=some(True, False),
    over_limit=some(True, False),
)
sortings = st.builds(Sorting, st.sampled_from(SortKey), st.sampled_from(SortOrder))


def test_pages_are_the_list_cut_up() -> None:
    with_several_pages = 0

    @given(wanted=wishes, sorting=sortings, limit=st.sampled_from((1, 7, 50, 500)))
    @settings(max_examples=100)
    def check(wanted: EsimFilter, sorting: Sorting, limit: int) -> None:
        nonlocal with_several_pages
        whole = listed(wanted, sorting)
        limit = max(limit, len(whole) // 20)  # not too many pages

        assert asyncio.run(walked(wanted, sorting, limit)) == whole
        with_several_pages += len(whole) > limit

    check()
    assert with_several_pages >= 20


NEEDY = (EsimFilter(out_of_data=True), EsimFilter(about_to_run_out=True))


@pytest.mark.parametrize("sort", SortKey)
@pytest.mark.parametrize("wanted", NEEDY)
async def test_esims_in_need_are_listed_without_reading_the_others(
    wanted: EsimFilter, sort: SortKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    def read(*_: object) -> None:
        raise AssertionError("the fleet was scanned")

    monkeypatch.setattr(list_scan, "block_ranges", read)
    for order in SortOrder:
        whole = listed(wanted, Sorting(sort, order))
        assert 5 < len(whole) < ESIMS / 2
        assert await walked(wanted, Sorting(sort, order), 3) == whole


async def test_the_newest_in_need_come_first() -> None:
    newest = QUERIES.newest_out_of_data(fleet(), 7)
    by_time = Sorting(SortKey.OUT_OF_DATA_SINCE, SortOrder.DESCENDING)

    assert newest == listed(NEEDY[0], by_time)[:7]
    assert QUERIES.newest_out_of_data(fleet(), ESIMS) == listed(NEEDY[0], by_time)
    nearly = QUERIES.newest_about_to_run_out(fleet(), ESIMS)
    assert {e.esim_id for e in nearly} == {e.esim_id for e in listed(NEEDY[1], Sorting())}


async def test_what_is_over_the_cap_of_the_metrics_is_still_listed() -> None:
    running = RunningFleet(Policy(attention=AttentionRule(max_esims=2)))
    for number in range(5):
        running.take(usage(f"e{number}", time=number, used=100))
    items = (await QUERIES.esims(running.fleet, NEEDY[0])).esims

    assert len(running.fleet.attention.shown) == 2
    assert [item.esim_id for item in items] == ["e0", "e1", "e2", "e3", "e4"]
    assert items[3].out_of_data_since == START + 3
    assert items[3].out_of_data_package == "p1"


async def test_an_esim_leaves_the_list_with_a_top_up_and_returns_when_that_is_used_up() -> None:
    running = RunningFleet()
    for time, snapshot in enumerate(
        (Snapshot(False, 100, 0), Snapshot(False, 200, 100), Snapshot(False, 200, 9))
    ):
        running.take(usage(time=time, snapshot=snapshot))
        out, nearly = [(await QUERIES.esims(running.fleet, wanted)).esims for wanted in NEEDY]
        assert (len(out), len(nearly)) == ((1, 0), (0, 0), (0, 1))[time]
    running.take(usage(time=9, snapshot=Snapshot(False, 200, 0)))
    ((item,), nearly) = [(await QUERIES.esims(running.fleet, w)).esims for w in NEEDY]
    assert (item.out_of_data_since, nearly) == (START + 9, [])


def test_the_lists_are_the_same_after_a_restart_and_after_other_orders() -> None:
    running = filled()
    again, before = (each.fleet.attention for each in (running.restarted(), running))
    assert again.about_to_run_out is not None
    assert before.about_to_run_out is not None
    assert [*again.out_of_data] == [*before.out_of_data] != []
    assert [*again.about_to_run_out] == [*before.about_to_run_out] != []
    for esim in [*running.fleet.esims, *running.fleet.over_cap]:
        draft = Draft(running.fleet, running.now)
        draft.remove(esim.key)
        running.publish(draft)
    assert not running.fleet.attention.out_of_data
    assert not running.fleet.attention.about_to_run_out


async def test_who_is_about_to_run_out_does_not_depend_on_the_rule() -> None:
    running = RunningFleet(Policy(attention=AttentionRule(least=Fraction(1))))
    running.take(usage("nearly", used=90), usage("half", used=50), usage("out", used=100))

    (item,) = (await QUERIES.esims(running.fleet, NEEDY[1])).esims
    assert item.esim_id == "nearly"
    assert len(running.fleet.attention) == 1
    assert running.fleet.attention.about_to_run_out is None


@pytest.mark.parametrize("order", SortOrder)
@pytest.mark.parametrize("sort", SortKey)
async def test_every_esim_has_its_place_in_every_order(sort: SortKey, order: SortOrder) -> None:
    whole = await walked(EsimFilter(), Sorting(sort, order), 60)

    assert len(whole) == ESIMS
    assert whole == listed(EsimFilter(), Sorting(sort, order))


async def test_a_list_is_by_id_and_has_fifty_on_a_page_unless_told() -> None:
    page = await QUERIES.esims(fleet())

    assert list(page.esims) == listed(EsimFilter(), Sorting())[:50]


async def test_a_page_looks_at_little_more_than_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    looked_at: list[bytes] = []
    between = Blocks.between

    def watched(blocks: Blocks[Any, Any], start: bytes, end: bytes) -> Any:
        looked_at.append(start)
        return between(blocks, start, end)

    monkeypatch.setattr(Blocks, "between", watched)
    first = await QUERIES.esims(fleet(), limit=20)
    assert first.next
    await QUERIES.esims(fleet(), after=first.next, limit=20)

    assert len(looked_at) <= 8


@pytest.mark.parametrize(
    "cursor",
    ["x", "AAAA", "bnVsbA==", "e30=", "WzEsMiwzLDRd", "\N{SNOWMAN}", "W10=", BEYOND_FLOATS],
)
async def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(UnknownCursor, match="no such page"):
        await QUERIES.esims(fleet(), after=cursor)


async def test_the_cursor_of_another_list_is_refused() -> None:
    cursor = (await QUERIES.esims(fleet(), limit=1)).next

    with pytest.raises(UnknownCursor, match="another way"):
        await QUERIES.esims(fleet(), None, Sorting(SortKey.LAST_EVENT), after=cursor)


@pytest.mark.parametrize("sort", SortKey)
async def test_a_list_of_a_fleet_that_changes_holds_all_that_stays_once(
    sort: SortKey, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scan_turn, "WORK_BEFORE_REST", 0)
    running = filled()
    staying = {esim.key for esim in running.fleet.esims} | {e.key for e in running.fleet.over_cap}
    chance = random.Random(1)
    query = asyncio.create_task(
        QUERIES.esims(running.fleet, None, Sorting(sort, SortOrder.DESCENDING), limit=2000)
    )
    while not query.done():
        await asyncio.sleep(0)
        if len(staying) <= ESIMS / 3:
            continue  # a busy machine takes longer
        running.take(usage(f"{chance.randrange(30):03}-new-{chance.random()}"))
        leaving = chance.choice(sorted(staying))
        staying.discard(leaving)
        draft = Draft(running.fleet, running.now)
        draft.remove(leaving)
        running.publish(draft)
    keys: list[EsimKey] = [(esim.vendor, esim.esim_id) for esim in (await query).esims]

    assert (
        len(running.fleet.esims) + len(running.fleet.over_cap) > len(staying) + 3
    )  # it did change
    assert staying <= set(keys)
    assert len(keys) == len(set(keys))


async def test_an_esim_that_is_topped_up_after_it_was_read_is_listed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(scan_turn, "WORK_BEFORE_REST", 0)
    running = RunningFleet()
    running.take(*[usage(f"e{number}", time=number, used=100) for number in range(5)])
    query = asyncio.create_task(
        QUERIES.esims(running.fleet, None, Sorting(SortKey.OUT_OF_DATA_SINCE))
    )
    await asyncio.sleep(0)  # the first one is read
    running.take(usage("e0", time=9, snapshot=Snapshot(False, 200, 150)))

    assert [esim.esim_id for esim in (await query).esims] == ["e0", "e1", "e2", "e3", "e4"]


async def test_long_questions_take_turns_and_short_ones_wait_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = FleetQueries(InfoLabels())
    monkeypatch.setattr(scan_turn, "WORK_BEFORE_REST", 60)  # short even on a busy machine
    async with asked._turn:
        assert (await asked.esims(fleet())).esims
        monkeypatch.setattr(scan_turn, "WORK_BEFORE_REST", 0)
        waiting: list[asyncio.Task[Any]] = [
            asyncio.create_task(asked.esims(fleet(), None, Sorting(SortKey.LAST_EVENT))),
            asyncio.create_task(asked.search(fleet(), "nothing")),
        ]
        await asyncio.wait(waiting, timeout=0.01)
        assert not any(task.done() for task in waiting)
        waiting.pop().cancel()
    assert (await waiting[0]).esims
    assert not asked._turn.locked()


# Search


def searchable() -> RunningFleet:
    running = RunningFleet()
    running.take(
        usage("one", reference_id="ref-1", iccid="8901"),
        usage("two", reference_id="one", iccid="8902"),
        usage("one", vendor="other-vendor", reference_id="8901"),
        usage("four", reference_id="ref"),
    )
    return running


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("ref-1", {("roamify", "one")}),
        ("8902", {("roamify", "two")}),
        ("four", {("roamify", "four")}),
        ("8901", {("roamify", "one"), ("other-vendor", "one")}),
        ("one", {("roamify", "one"), ("other-vendor", "one"), ("roamify", "two")}),
        ("re", set()),
        ("890", set()),
        ("p1", set()),
        ("", set()),
    ],
)
async def test_search_finds_what_is_exactly_the_id_reference_or_iccid(
    text: str, found: set[EsimKey]
) -> None:
    esims = await QUERIES.search(searchable().fleet, text)

    assert {(esim.vendor, esim.esim_id) for esim in esims} == found
    assert len(esims) == len(found)


async def test_search_returns_as_many_as_are_asked_for() -> None:
    running = RunningFleet()
    running.take(*[usage(f"e{number}", reference_id="same") for number in range(200)])

    assert len(await QUERIES.search(running.fleet, "same")) == 20
    assert len(await QUERIES.search(running.fleet, "same", 300)) == 200


async def test_an_esim_whose_counters_outgrew_64_bits_is_found() -> None:
    running = RunningFleet()
    empty = Snapshot(data_allowed=MAX_AMOUNT, data_remaining=0)
    full = Snapshot(data_allowed=MAX_AMOUNT, data_remaining=MAX_AMOUNT)
    for time in range(6):
        running.take(usage("big", time, snapshot=full if time % 2 else empty, reference_id="r"))

    assert [esim.esim_id for esim in await QUERIES.search(running.fleet, "r")] == ["big"]
    detail = QUERIES.esim(running.fleet, ("roamify", "big"))
    assert detail
    assert detail.allowances[0].data
    assert detail.allowances[0].data.consumed == 3 * MAX_AMOUNT


# One eSIM


def test_one_esim_in_full() -> None:
    running = RunningFleet()
    amounts = Snapshot(
        data_allowed=100,
        data_remaining=25,
        sms_allowed=10,
        sms_remaining=12,
        start=START,
        end=START + 60,
        locations=(("France", 75),),
    )
    running.take(
        usage(time=0, used=10, status=Status.ACTIVATED, iccid="8901", reference_id="ref"),
        usage(time=5, used=40, package_name="Package"),
    )
    running.now += 7
    running.take(usage(time=9, snapshot=amounts))
    detail = QUERIES.esim(running.fleet, ("roamify", "e"))

    assert detail
    assert detail.esim == EsimItem(
        vendor="roamify",
        esim_id="e",
        reference_id="ref",
        status=Status.ACTIVATED,
        over_limit=False,
        packages=["p1"],
        data_used_share=0.75,
        out_of_data=False,
        out_of_data_since=None,
        out_of_data_package=None,
        about_to_run_out=False,
        last_event=START + 9,
        received=ARRIVAL + 7,
    )
    assert detail.status_time == START
    assert detail.info == {"reference_id": "ref"}
    assert detail.expires == ARRIVAL + 7 + 30 * 86400
    (allowance,) = detail.allowances
    assert (allowance.package_id, allowance.package_name) == ("p1", "Package")
    assert (allowance.start, allowance.end) == (START, START + 60)
    assert allowance.locations == {"France": 75}
    assert allowance.expires == detail.expires
    history = [UsedAt(START, 10), UsedAt(START + 5, 40), UsedAt(START + 9, 75)]
    assert allowance.data == ResourceData(100, 25, 75, 0.75, history)
    assert allowance.sms
    assert allowance.sms.used_share == 0
    assert allowance.voice is None


def test_the_history_begins_with_the_anchor_once_there_is_one() -> None:
    running = RunningFleet()
    for time in range(20):
        running.take(usage(time=time, used=time))
    detail = QUERIES.esim(running.fleet, ("roamify", "e"))

    assert detail
    assert detail.allowances[0].data
    assert [sample.used for sample in detail.allowances[0].data.history] == list(range(3, 20))


def test_an_esim_without_status_limit_or_name_says_so() -> None:
    running = RunningFleet()
    running.take(usage(snapshot=Snapshot(data_unlimited=True, locations=(("France", 5),))))
    detail = QUERIES.esim(running.fleet, ("roamify", "e"))

    assert detail
    assert detail.status_time is None
    assert detail.esim.data_used_share is None
    (allowance,) = detail.allowances
    assert allowance.data_unlimited
    assert allowance.package_name is None
    assert allowance.data
    assert (allowance.data.allowed, allowance.data.consumed) == (None, 5)
    assert allowance.data.used_share is None


def test_an_amount_without_a_counter_is_told() -> None:
    running = RunningFleet()
    running.take(usage(snapshot=Snapshot(data_allowed=5)))
    detail = QUERIES.esim(running.fleet, ("roamify", "e"))

    assert detail
    assert detail.allowances[0].data == ResourceData(5, None, 0, None, [])


def test_there_is_no_esim_of_another_vendor() -> None:
    running = searchable()

    assert QUERIES.esim(running.fleet, ("other-vendor", "four")) is None
    assert QUERIES.vendors_of(running.fleet, "four") == ["roamify"]
    assert QUERIES.vendors_of(running.fleet, "one") == ["other-vendor", "roamify"]
    assert QUERIES.vendors_of(running.fleet, "five") == []


async def test_an_iccid_is_nowhere_unless_a_label_shows_it() -> None:
    running = searchable()
    key = ("roamify", "one")
    hashed = FleetQueries(InfoLabels(("iccid_hash",), b"key")).esim(running.fleet, key)
    shown = FleetQueries(InfoLabels(("iccid",))).esim(running.fleet, key)

    assert "8901" not in repr(QUERIES.esim(running.fleet, key))
    assert "8901" not in repr(hashed)
    assert hashed
    assert len(hashed.info["iccid_hash"]) == 32
    assert shown
    assert shown.info == {"iccid": "8901"}
    assert "8902" not in repr(await QUERIES.search(running.fleet, "8902"))
    assert "8902" not in repr(await QUERIES.esims(running.fleet))


# Packages


async def test_packages_are_summed_as_in_the_metrics() -> None:
    running = RunningFleet()
    running.take(
        usage("a", used=80, package_name="First", status=Status.ACTIVATED),
        usage("b", used=100),
        usage("c", package_id="p0", snapshot=Snapshot(data_unlimited=True)),
    )
    p0, p1 = await QUERIES.packages(running.fleet)

    assert (p0.package_id, p0.data_allowed, p0.data_used_share) == ("p0", None, None)
    assert (p1.package_id, p1.package_name) == ("p1", "First")
    assert (p1.data_allowed, p1.data_remaining, p1.data_consumed) == (200, 20, 180)
    assert p1.data_used_share == 0.9
    assert p1.esims[Status.ACTIVATED] == 1
    assert (p1.over_percent["data"][75], p1.over_percent["data"][90]) == (2, 1)
    assert (p0.out_of_data, p1.out_of_data) == (0, 1)


async def test_every_count_of_a_package_is_the_length_of_a_list() -> None:
    for package in await QUERIES.packages(fleet()):
        of = EsimFilter(vendor=package.vendor, package_id=package.package_id)
        live = replace(of, terminal=False)
        counts = [
            (of, sum(package.esims.values())),
            (replace(of, out_of_data=True), package.out_of_data),
            *(
                (replace(live, min_data_used_share=percent / 100), number)
                for percent, number in package.over_percent["data"].items()
            ),
            *(
                (replace(live, min_sms_used_share=percent / 100), number)
                for percent, number in package.over_percent["sms"].items()
            ),
        ]
        assert min(number for _, number in counts) > 0
        for wanted, number in counts:
            assert len((await QUERIES.esims(fleet(), wanted, limit=ESIMS)).esims) == number


async def test_a_summary_is_of_its_moment() -> None:
    running = RunningFleet()
    running.take(usage(status=Status.NEW))
    before = await QUERIES.packages(running.fleet)
    running.take(usage(time=1, used=50, status=Status.ACTIVATED))

    assert before[0].esims[Status.NEW] == 1
    assert before[0].over_percent["data"][50] == 0
