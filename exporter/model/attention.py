"""What needs somebody: allowances that are used up or nearly, and eSIMs without any data left.

Everything here is derived from a record, so it depends on the order of events no more than the
record does. Nothing is stored for it.
"""

from __future__ import annotations

from bisect import bisect_right
from fractions import Fraction
from math import nextafter
from typing import TYPE_CHECKING, NamedTuple

from exporter.model.events import TERMINAL, USED_UP

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.model.consumption import Consumption
    from exporter.model.records import Allowance, Esim

BANDS = (Fraction(75, 100), Fraction(90, 100), Fraction(1))
"""The used shares from which on an allowance is in the next band."""

NEARLY_ALL = BANDS[1]
"""The used share of every package from which on an eSIM is about to run out of data."""

_PERCENT = tuple([int(band * 100) for band in BANDS])
"""The bands. Integers are faster than fractions, and as exact."""

_NEARLY, _OF_ALL = NEARLY_ALL.as_integer_ratio()

DEFAULT_LEAST = BANDS[0]
"""The least used share that needs attention, unless the operator chose another."""

_BELOW_ONE = nextafter(1.0, 0.0)


class UsedShare(NamedTuple):
    """An allowance of which much is used."""

    package_id: str
    resource: str
    """``data``, ``sms`` or ``voice``."""
    ratio: float
    """The used share, up to 1. It is 1 only if nothing is left."""
    since: int
    """Event time of the earliest kept report from which on, without a break, the used share was
    in the present band or above. All reports are judged by the present allowance."""


class OutOfData(NamedTuple):
    """An eSIM has data allowances, none of them unlimited, and nothing left in any."""

    package_id: str
    """The package that ran out last."""
    since: int
    """Event time of the earliest kept report from which on that package had nothing left."""


class Attention(NamedTuple):
    """Why an eSIM needs somebody, and what its series say beside that.

    It does not hold the eSIM, so that it can be kept for as long as the eSIM needs somebody.
    """

    vendor: str
    esim_id: str
    reference_id: str
    iccid: str
    last_event: int
    """Event time of the eSIM's newest usage event."""
    since: int
    """Event time of the newest reason."""
    shares: tuple[UsedShare, ...]
    """Sorted by package and resource."""
    out_of_data: OutOfData | None
    about_to_run_out: int | None
    """As :func:`about_to_run_out`."""


def attention_of(esim: Esim, least: Fraction) -> Attention | None:
    """Return why an eSIM needs somebody, ``None`` if it does not, or if it is terminal.

    ``least`` is the least used share of an allowance that counts; greater than 0, at most 1.
    """
    found = attentions((esim,), least)
    return found[0] if found else None


def attentions(esims: Iterable[Esim], least: Fraction) -> list[Attention]:
    """Return those of the eSIMs that need somebody, in the same order.

    The conditions are written out for each resource, as this runs for every eSIM at a start and
    for every event.
    """
    wanted, parts = least.as_integer_ratio()
    left = parts - wanted
    found = []
    for esim in esims:
        for allowance in esim.allowances:
            _, data, data_left, sms, sms_left, voice, voice_left, _, _, _ = allowance.snapshot
            if (
                (data_left is not None and data_left * parts <= (data or 0) * left)
                or (sms and sms_left is not None and sms_left * parts <= sms * left)
                or (voice and voice_left is not None and voice_left * parts <= voice * left)
            ):
                break
        else:
            continue
        if esim.status not in TERMINAL and (attention := _attention(esim, least)):
            found.append(attention)
    return found


def out_of_data(esim: Esim) -> OutOfData | None:
    """Return since when an eSIM has no data left, ``None`` if it has some or is terminal.

    An allowance of 0 bytes is none: a package for voice may be reported with it. If only half of
    an allowance was reported, a remaining amount of 0 counts as used up. Without a remaining
    amount, there may be data left.

    What is left of a package that ended before the last one ran out cannot be used. Only the ends
    of vendors that tell the period apart count: those of others may be of the reporting window.
    """
    last: tuple[int, str] | None = None
    usable_until = used_up = 0
    for allowance in esim.allowances:
        unlimited, allowed, remaining, _, _, _, _, _, end, _ = allowance.snapshot
        if unlimited or remaining or (remaining is None and allowed):
            if not allowance.parts or not end or end < 0:
                return None
            usable_until = max(usable_until, end)
            continue
        if remaining is None or allowed == 0:
            continue
        since = _told(allowance, "data")
        if allowed:
            since = _since(allowance.data, allowed, since)
            used_up = max(used_up, since)
        last = max(last or (since, ""), (since, allowance.package_id))
    if last is None or esim.status in TERMINAL or (usable_until and usable_until >= used_up):
        return None
    return OutOfData(last[1], last[0])


def about_to_run_out(esim: Esim) -> int | None:
    """Return since when :data:`NEARLY_ALL` of the data is used in every package of an eSIM.

    The time is an event time. It is ``None`` if a package has more data left or may have it, and
    also if the eSIM is out of data or terminal. Amounts count as in :func:`out_of_data`.
    """
    since: int | None = None
    any_left = False
    for allowance in esim.allowances:
        unlimited, allowed, remaining, _, _, _, _, _, _, _ = allowance.snapshot
        if unlimited or (remaining is None and allowed):
            return None
        if remaining:
            # Integers, which are faster: a list asks this of many eSIMs.
            if not allowed or (allowed - remaining) * _OF_ALL < allowed * _NEARLY:
                return None
            any_left = True
        elif remaining is None or allowed == 0:
            continue
        at = _told(allowance, "data")
        if allowed:
            at = _since(allowance.data, -(-allowed * _NEARLY // _OF_ALL), at)
        since = at if since is None else max(since, at)
    return since if any_left and esim.status not in TERMINAL else None


def _attention(esim: Esim, least: Fraction) -> Attention | None:
    shares = _used_shares(esim, least)
    out = out_of_data(esim)
    if not shares and not out:
        return None
    times = [share.since for share in shares]
    if out:
        times.append(out.since)
    return Attention(
        esim.vendor,
        esim.esim_id,
        esim.reference_id,
        esim.iccid,
        max([allowance.time for allowance in esim.allowances]),
        max(times),
        shares,
        out,
        None if out else about_to_run_out(esim),
    )


def _used_shares(esim: Esim, least: Fraction) -> tuple[UsedShare, ...]:
    wanted, parts = least.as_integer_ratio()
    shares = []
    for allowance in esim.allowances:
        _, data, data_left, sms, sms_left, voice, voice_left, _, _, _ = allowance.snapshot
        for resource, allowed, remaining, counter in (
            ("data", data, data_left, allowance.data),
            ("sms", sms, sms_left, allowance.sms),
            ("voice", voice, voice_left, allowance.voice),
        ):
            if not allowed or remaining is None:
                continue
            used = allowed - remaining
            if used * parts < allowed * wanted:
                continue
            ratio = min(used / allowed, _BELOW_ONE) if remaining else 1.0
            if band := bisect_right(_PERCENT, used * 100 // allowed):
                limit = -(-allowed * _PERCENT[band - 1] // 100)
            else:
                limit = -(-allowed * wanted // parts)
            since = _since(counter, limit, _told(allowance, resource))
            shares.append(UsedShare(allowance.package_id, resource, ratio, since))
    return tuple(shares)


def _told(allowance: Allowance, resource: str) -> int:
    """Return the time of the newest event about a resource; events about others do not count."""
    if not allowance.parts:
        return allowance.time
    names = {resource, USED_UP} if resource == "data" else {resource}
    return max([part.time for part in allowance.parts if part.name in names])


def _since(counter: Consumption | None, limit: int, newest: int) -> int:
    """Return the time from which on ``limit`` or more of the allowance was used.

    ``newest`` is the time of the newest report, which is known to be one.
    """
    return counter.at_least_since(limit, newest) if counter else newest
