"""The fields that Roamify documents, to notice those that it adds or renames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.vendors.unknown_fields import Shape, unknown_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.model.events import Snapshot

_STATUS = frozenset({"timestamp", "esim_id", "iccid", "reference_id", "start", "end", "status"})

_PARTNER = frozenset({"timestamp", "balance", "currency", "threshold", "threshold_percentage"})

_USAGE = _STATUS | {
    *("package_id", "package_name", "data_units", "sms_units", "voice_units"),
    *("usage_data", "usage_list"),
}

_AMOUNTS = Shape(
    frozenset(
        {
            *("isUnlimited", "allowed_data", "remaining_data", "allowed_sms", "remaining_sms"),
            *("allowed_voice", "remaining_voice"),
        }
    )
)

_ROWS = Shape(frozenset({"date", "data_used", "location"}))

_PAYLOADS = {
    "usage": Shape(_USAGE, (("usage_data", _AMOUNTS), ("usage_list", _ROWS))),
    "status": Shape(_STATUS),
    "low_balance": Shape(_PARTNER),
    "insufficient_balance": Shape(_PARTNER),
    "top_up": Shape(_PARTNER),
}
"""By our name of the event type. Other events are only counted, so their fields do not matter."""

_TOP = frozenset({"event_category", "event_type", "event_id", "data"})

_NESTED = {name: Shape(_TOP, (("data", shape),)) for name, shape in _PAYLOADS.items()}

_FLAT = {name: Shape(_TOP | shape.names, shape.below) for name, shape in _PAYLOADS.items()}


def undocumented_fields(document: Mapping[str, Any], event_type: str) -> set[str]:
    """Return the paths of fields that are not documented, without their values."""
    shapes = _FLAT if document.get("data") is None else _NESTED
    shape = shapes.get(event_type)
    return unknown_fields(document, shape) if shape else set()


def missing_halves(snapshot: Snapshot) -> Iterator[str]:
    """Return the names of amounts that are missing although the other one of their pair is not."""
    for resource, allowed, remaining in (
        ("data", snapshot.data_allowed, snapshot.data_remaining),
        ("sms", snapshot.sms_allowed, snapshot.sms_remaining),
        ("voice", snapshot.voice_allowed, snapshot.voice_remaining),
    ):
        if (allowed is None) is not (remaining is None):
            yield f"{'allowed' if allowed is None else 'remaining'}_{resource}"
