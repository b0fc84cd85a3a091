"""The worst events that vendors send: ties, gaps, flapping, top-ups, corrections.

The pools are small on purpose, so that events meet in the same second, eSIM and package.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import strategies as st

from exporter.model.events import (
    EVERYTHING,
    USED_UP,
    Assignment,
    Event,
    OtherEvent,
    PartnerEvent,
    Snapshot,
    Status,
    StatusEvent,
    UsageEvent,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

VENDORS = ("other-vendor", "roamify")
START = 1_700_000_000
"""Event time of the earliest event, unix seconds."""

SECONDS = 9
"""Seconds over which the events of a set are spread."""

MB = 1024 * 1024

times = st.integers(START, START + SECONDS)
vendors = st.sampled_from(VENDORS)
esim_ids = st.sampled_from(("e1", "e2", 'é"3\\\n'))
package_ids = st.sampled_from(("p1", "p 2"))
texts = st.sampled_from((None, None, "", "A", "B"))
statuses = st.sampled_from(tuple(Status))
locations = st.none() | st.dictionaries(
    st.sampled_from(("Åland Islands", "France", "Türkiye")), st.sampled_from((0, 7, 20, 300))
).map(lambda used: tuple(sorted(used.items())))


def amounts(*of: int) -> st.SearchStrategy[int | None]:
    return st.sampled_from((None, *of))


@st.composite
def snapshots(draw: st.DrawFn) -> Snapshot:
    unlimited = draw(st.sampled_from((False, False, False, True)))
    limited = draw(st.sampled_from((True, True, True, False))) and not unlimited
    return Snapshot(
        data_unlimited=unlimited,
        data_allowed=draw(amounts(0, 100, 1000, 2**62)) if limited else None,
        data_remaining=draw(amounts(0, 1, 50, 75, 100, 990, 2000)) if limited else None,
        sms_allowed=draw(amounts(10, 20)),
        sms_remaining=draw(amounts(0, 2, 10)),
        voice_allowed=draw(amounts(600)),
        voice_remaining=draw(amounts(0, 60, 600)),
        start=draw(amounts(0, START)),
        end=draw(amounts(0, START + 3600)),
        locations=draw(locations),
    )


usage_events = st.builds(
    UsageEvent,
    vendor=vendors,
    time=times,
    esim_id=esim_ids,
    package_id=package_ids,
    snapshot=snapshots(),
    status=st.none() | statuses,
    reference_id=texts,
    iccid=texts,
    package_name=texts,
    reported=st.none(),
    parts=st.just(EVERYTHING),
    assignment=st.none(),
)


@st.composite
def partial_events(draw: st.DrawFn) -> UsageEvent:
    """An event about some parts of an allowance, made later than its amounts were taken."""
    event = draw(usage_events)
    parts = draw(st.sets(st.sampled_from(sorted({*EVERYTHING, USED_UP})), min_size=1))
    reported = draw(st.none() | st.integers(event.time, event.time + SECONDS))
    return event._replace(parts=frozenset(parts), reported=reported)


@st.composite
def assigned_events(draw: st.DrawFn) -> UsageEvent:
    """An event without a time of its own. Its ``time`` is for whoever receives it to set."""
    event = draw(usage_events)
    assignment = Assignment(draw(st.integers(0, 3)), draw(st.sampled_from(("", "a", "b"))))
    resource = draw(st.sampled_from(("data", "sms", "voice")))
    return event._replace(status=None, parts=frozenset((resource, "period")), assignment=assignment)


status_events = st.builds(
    StatusEvent,
    vendor=vendors,
    time=times,
    esim_id=esim_ids,
    status=statuses,
    reference_id=texts,
    iccid=texts,
)

partner_events = st.builds(
    PartnerEvent,
    vendor=vendors,
    event_type=st.sampled_from(("low_balance", "insufficient_balance", "top_up")),
    time=times,
    currency=st.sampled_from(("EUR", "USD")),
    balance=st.sampled_from((-1.5, 0.0, 10.25, 1e20)),
    threshold=st.sampled_from((None, None, -2.0, 0.0, 50.0)),
)

other_events = st.builds(OtherEvent, vendor=vendors, event_type=st.just("order"))

events: st.SearchStrategy[Event] = st.one_of(
    usage_events, usage_events, usage_events, status_events, partner_events, other_events
)

event_sets: st.SearchStrategy[list[Event]] = st.lists(events, max_size=16)
"""At most 16 events: no order of them is outside the window of any counter."""


@st.composite
def deliveries(draw: st.DrawFn, of: Sequence[Event]) -> list[list[Event]]:
    """Return batches that hold every event at least once, some twice, in any order."""
    again = draw(st.lists(st.sampled_from(of), max_size=8)) if of else []
    return draw(batches(draw(st.permutations([*of, *again]))))


@st.composite
def batches(draw: st.DrawFn, of: Sequence[Event]) -> list[list[Event]]:
    cut: list[list[Event]] = [[]]
    for event in of:
        if draw(st.booleans()):
            cut.append([])
        cut[-1].append(event)
    return cut


@st.composite
def windowed_orders(draw: st.DrawFn, of: Sequence[UsageEvent], window: int) -> list[UsageEvent]:
    """Return an order in which at most ``window`` newer events come before any event.

    ``of`` is in the order of time and used.
    """
    waiting = list(of)
    order: list[UsageEvent] = []
    overtaken = 0
    while waiting:
        at = draw(st.integers(0, len(waiting) - 1)) if overtaken < window else 0
        chosen = waiting.pop(at)
        order.append(chosen)
        if at == 0 and waiting:
            oldest = of.index(waiting[0])
            overtaken = sum(of.index(event) > oldest for event in order)
        elif at:
            overtaken += 1
    return order
