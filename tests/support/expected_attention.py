"""The series of the group ``attention`` that the contract promises, computed in a slow way.

Written from the contract's table, not from the code of the exporter.
"""

from __future__ import annotations

from fractions import Fraction
from math import nextafter
from typing import TYPE_CHECKING, Any

from running_fleet import Series, series

if TYPE_CHECKING:
    from collections.abc import Mapping

    from expected_samples import Card, SlowCounter, Use

TERMINAL = ("DELETED", "REVOKED", "EXPIRED")
BANDS = (Fraction(3, 4), Fraction(9, 10), Fraction(1))


def attention_samples(
    cards: Mapping[tuple[str, str], Card], least: Fraction = BANDS[0], cap: int = 0
) -> dict[Series, float]:
    """Return all series of the group. Above the cap, the longest waiting leave first."""
    waiting: list[tuple[tuple[int, str, str], dict[Series, float]]] = []
    for (vendor, esim_id), card in cards.items():
        found = _of_card({"vendor": vendor, "esim_id": esim_id}, card, least)
        if found:
            since, samples = found
            waiting.append(((since, vendor, esim_id), samples))
    waiting.sort()
    shown: dict[Series, float] = {}
    for _, samples in waiting[-cap:] if cap else waiting:
        shown |= samples
    return shown


def last_to_run_out(card: Card) -> tuple[int, str] | None:
    """Return (since, package) of an eSIM without data, ``None`` if it has some or is terminal."""
    if card.status in TERMINAL:
        return None
    empty: list[tuple[int, str]] = []
    for package, use in card.uses.items():
        snapshot = use.newest.snapshot
        if snapshot.data_unlimited:
            return None
        if snapshot.data_allowed is None and snapshot.data_remaining is None:
            continue
        if snapshot.data_allowed == 0 and not snapshot.data_remaining:
            continue
        if snapshot.data_remaining != 0:
            return None
        since = use.newest.time
        if snapshot.data_allowed:
            since = _since(use, "data", snapshot.data_allowed, Fraction(1))
        empty.append((since, package))
    return max(empty, default=None)


def _of_card(
    labels: dict[str, str], card: Card, least: Fraction
) -> tuple[int, dict[Series, float]] | None:
    if card.status in TERMINAL:
        return None
    shown: dict[Series, float] = {}
    times: list[int] = []
    for package, use in card.uses.items():
        for resource in ("data", "sms", "voice"):
            share = _share(use.newest.snapshot, resource)
            if share is None or share < least:
                continue
            of = labels | {"package_id": package, "resource": resource}
            band = max((band for band in BANDS if band <= share), default=least)
            allowed = getattr(use.newest.snapshot, f"{resource}_allowed")
            since = _since(use, resource, allowed, band)
            ratio = 1.0 if share == 1 else min(float(share), nextafter(1, 0))
            shown[series("esim_attention_used_ratio", **of)] = ratio
            shown[series("esim_attention_since_timestamp_seconds", **of)] = since
            times.append(since)
    if last := last_to_run_out(card):
        of = labels | {"package_id": last[1]}
        shown[series("esim_attention_out_of_data", **of)] = 1
        shown[series("esim_attention_out_of_data_since_timestamp_seconds", **of)] = last[0]
        times.append(last[0])
    if not times:
        return None
    newest = max(use.newest.time for use in card.uses.values())
    shown[series("esim_attention_last_event_timestamp_seconds", **labels)] = newest
    reference = max(card.references)[1]
    shown[series("esim_attention_info", **labels, reference_id=reference)] = 1
    return max(times), shown


def _share(snapshot: Any, resource: str) -> Fraction | None:
    allowed = getattr(snapshot, f"{resource}_allowed")
    remaining = getattr(snapshot, f"{resource}_remaining")
    if not allowed or remaining is None:
        return None
    return Fraction(max(0, allowed - remaining), allowed)


def _since(use: Use, resource: str, allowed: int, band: Fraction) -> int:
    """Return the time of the first report of the last unbroken run at or above the band."""
    counter: SlowCounter | None = use.counters.get(resource)
    reports = sorted([counter.anchor, *counter.samples]) if counter else []
    since = use.newest.time
    for time, used in reversed(reports):
        if (time, used) == (0, 0) or Fraction(used, allowed) < band:
            break
        since = time
    return since
