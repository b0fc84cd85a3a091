"""Parts: what is known of an allowance whose vendor does not tell all of it in each event.

Such an event speaks of some parts: data, SMS, voice or the period. Or it tells in words, without
amounts, that all data is used up, which is a part too. Each part is merged alone, and the snapshot
of the allowance is put together from its parts.

An event with a time of its own replaces what an older one said of the same part. An event without
one names an assignment, within which amounts only fall: there, less remaining is newer. The
present assignment of a part is the greatest. Its amounts are shown, and the amounts used in all
assignments add up to the counter. So neither depends on the order of events, as long as at most
:data:`ASSIGNMENTS_KEPT` newer assignments of a part are known when an event arrives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.model.consumption import in_present_assignment
from exporter.model.events import EVERYTHING, USED_UP, Snapshot
from exporter.model.records import RESOURCES, Allowance, Part

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.model.consumption import Consumption
    from exporter.model.events import Assignment, UsageEvent
    from exporter.model.records import Esim, Locations

ASSIGNMENTS_KEPT = 32
"""Assignments of a part that are kept. With one more, what was used in the least of them becomes
part of the counter's base, and events about it or lesser ones come too late."""

PERIOD = "period"


def said(event: UsageEvent) -> list[Part]:
    """Return what an event says, part by part."""
    return _split(event.snapshot, event.time, event.parts, event.assignment)


def known_parts(allowance: Allowance) -> tuple[Part, ...]:
    """Return the parts of an allowance, also of one whose events told everything."""
    if allowance.parts or allowance.time < 0:  # before its first event
        return allowance.parts
    return tuple(_split(allowance.snapshot, allowance.time, EVERYTHING, None))


def assemble(parts: Iterable[Part], status_time: int = 0) -> Snapshot:
    """Return the snapshot that the present assignments of all parts make.

    ``status_time`` is when the eSIM got its status. It ends what was told in words before.
    """
    present = {part.name: part for part in sorted(parts, key=_assignment)}
    values: dict[str, Any] = {}
    used_up, data = present.pop(USED_UP, None), present.get("data")
    if data and used_up and not data.unlimited and used_up.time >= max(data.time, status_time):
        present["data"] = data._replace(second=0)
    elif used_up and not data and used_up.time >= status_time:
        values["data_remaining"] = 0
    for name, part in present.items():
        if name == PERIOD:
            values |= {"start": part.first, "end": part.second}
        else:
            values |= {f"{name}_allowed": part.first, f"{name}_remaining": part.second}
        if name == "data":
            values |= {"data_unlimited": part.unlimited, "locations": part.locations}
    return Snapshot(**values)


def settled(esim: Esim) -> Esim:
    """Return an eSIM in which a newer status has ended what was told in words before.

    It is the same object if nothing changed.
    """
    for allowance in esim.allowances:
        if allowance.parts and any(part.name == USED_UP for part in allowance.parts):
            snapshot = assemble(allowance.parts, esim.status_time)
            if snapshot != allowance.snapshot:
                after = allowance._replace(snapshot=snapshot)
                allowances = tuple(after if a is allowance else a for a in esim.allowances)
                return settled(esim._replace(allowances=allowances))
    return esim


def merge_timed(known: tuple[Part, ...], event: UsageEvent) -> tuple[Part, ...]:
    """Return the parts after an event with a time of its own; the same object if nothing changed.

    The newer one of a part wins, and on a tie the greater one.
    """
    parts = {part.name: part for part in known}
    for part in said(event):
        before = parts.get(part.name)
        if before is None or (part.time, _order(part)) > (before.time, _order(before)):
            parts[part.name] = part
    return _sorted(known, parts.values())


def merge_assigned(
    before: Allowance, event: UsageEvent, received: int, peaks: Locations
) -> Allowance:
    """Return the allowance after an event that names an assignment, and has no time of its own.

    It is the same object if nothing changed. ``event.time`` is when the event was received first,
    and ``peaks`` are those after the event.
    """
    parts = {_identity(part): part for part in before.parts}
    folded = dict.fromkeys((*RESOURCES, PERIOD), 0)
    for part in said(event):
        known = parts.get(_identity(part))
        if known:
            parts[_identity(part)] = _within(known, part)
            continue
        others = sorted((p for p in parts.values() if p.name == part.name), key=_assignment)
        if len(others) >= ASSIGNMENTS_KEPT:
            if _assignment(part) < _assignment(others[0]):
                continue
            folded[part.name] += parts.pop(_identity(others[0])).consumed
        carried = 0 if others else _carried(_counters(before).get(part.name), part)
        parts[_identity(part)] = part._replace(used=_used(part), carried=carried)
    after = _sorted(before.parts, parts.values())
    if after is before.parts and peaks is before.peaks:
        return before
    changed = before._replace(
        time=max(event.time, before.time),
        snapshot=assemble(after),
        received=max(received, before.received),
        peaks=peaks,
        parts=after,
    )
    counters = _counters(before)
    for name in event.parts.intersection(RESOURCES):
        counters[name] = _advanced(name, before, changed, time=event.time, folded=folded[name])
    return changed._replace(data=counters["data"], sms=counters["sms"], voice=counters["voice"])


def tells_nothing_new(allowance: Allowance, event: UsageEvent) -> bool:
    """Return whether an allowance knows exactly what an event says."""
    if event.assignment:
        known = {_identity(p): p for p in allowance.parts}
        return all(
            (before := known.get(_identity(part))) and _order(part) == _order(before)
            for part in said(event)
        )
    if event.parts is EVERYTHING and not allowance.parts:
        return (event.time, event.snapshot) == (allowance.time, allowance.snapshot)
    return set(said(event)) <= set(known_parts(allowance))


def _split(
    s: Snapshot, time: int, names: Iterable[str], assignment: Assignment | None
) -> list[Part]:
    start, assigned = assignment or (0, "")
    values = {
        "data": (s.data_unlimited, s.data_allowed, s.data_remaining, s.locations),
        "sms": (False, s.sms_allowed, s.sms_remaining, None),
        "voice": (False, s.voice_allowed, s.voice_remaining, None),
        PERIOD: (False, s.start, s.end, None),
        USED_UP: (False, None, None, None),
    }
    return [Part(name, start, assigned, time, *values[name]) for name in sorted(names)]


def _within(known: Part, part: Part) -> Part:
    """Return what is known of an assignment after another event about it."""
    newer = part if _assigned_order(part) > _assigned_order(known) else known
    amounts = [used for used in (_used(part), known.used) if used is not None]
    return newer._replace(
        start=max(part.start, known.start),
        used=max(amounts, default=None),
        carried=known.carried,
    )


def _carried(counter: Consumption | None, part: Part) -> int:
    """Return how much of an assignment was counted before the allowance expired.

    ``counter`` is that of the allowance before the first event after its expiry. An assignment that
    started later than what was known then is another one, of which nothing was counted.
    """
    if counter is None or not counter.history or part.start > counter.history[-1][0]:
        return 0
    return counter.last_used


def _advanced(
    name: str, before: Allowance, after: Allowance, *, time: int, folded: int
) -> Consumption | None:
    """Return the counter of a resource after its parts have changed."""
    counter = _counters(before)[name]
    was, now = _present(before.parts, name), _present(after.parts, name)
    known = any(part.name == name and part.used is not None for part in after.parts)
    if now is None or not (counter or known):
        return counter
    base = (counter.base if counter else 0) + folded
    total = base + _consumed(after.parts, name)
    same = was is not None and _identity(was) == _identity(now)
    return in_present_assignment(
        counter if same else None,
        time,
        now.used or 0,
        base=base,
        total=total,
    )


def _present(parts: tuple[Part, ...], name: str) -> Part | None:
    return max((p for p in parts if p.name == name), key=_assignment, default=None)


def _consumed(parts: Iterable[Part], name: str) -> int:
    """Return what was consumed of a resource in the assignments that are kept.

    An assignment without a name is the same as the one with a name and the same start: its vendor
    does not name it in all events.
    """
    named: dict[int, int] = {}
    unnamed: dict[int, int] = {}
    for part in parts:
        if part.name == name:
            sums = named if part.assignment else unnamed
            sums[part.start] = sums.get(part.start, 0) + part.consumed
    surplus = [max(0, used - named.get(start, 0)) for start, used in unnamed.items()]
    return sum(named.values()) + sum(surplus)


def _counters(allowance: Allowance) -> dict[str, Consumption | None]:
    return {"data": allowance.data, "sms": allowance.sms, "voice": allowance.voice}


def _used(part: Part) -> int | None:
    if part.name == PERIOD or part.unlimited or part.first is None or part.second is None:
        return None
    return max(0, part.first - part.second)


def _identity(part: Part) -> tuple[str, str, int]:
    """Return what identifies a part: the name of its assignment, or else the start of that."""
    return part.name, part.assignment, 0 if part.assignment else part.start


def _assignment(part: Part) -> tuple[int, str]:
    return part.start, part.assignment


def _order(part: Part) -> tuple[Any, ...]:
    """Return a sort key of what was said. What is absent comes first."""
    values = (part.first, part.second, part.locations)
    return (part.unlimited, *((v is not None, v if v is not None else 0) for v in values))


def _assigned_order(part: Part) -> tuple[Any, ...]:
    """Return a sort key within an assignment: less remaining is newer."""
    if part.name == PERIOD:
        return _order(part)
    return (part.second is not None, -(part.second or 0), *_order(part))


def _sorted(known: tuple[Part, ...], parts: Iterable[Part]) -> tuple[Part, ...]:
    after = tuple(sorted(parts, key=lambda part: (part.name, *_assignment(part))))
    return known if after == known else after
