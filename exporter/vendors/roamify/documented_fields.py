"""The fields that Roamify documents, to notice those that it adds or renames."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.vendors.unknown_fields import Shape, unknown_fields

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from exporter.model.events import Snapshot

_PAIRS = (
    ("allowed_data", "remaining_data"),
    ("allowed_sms", "remaining_sms"),
    ("allowed_voice", "remaining_voice"),
)

_STATUS: Shape = dict.fromkeys(
    ("timestamp", "esim_id", "iccid", "reference_id", "start", "end", "status")
)

_USAGE: Shape = {
    **_STATUS,
    **dict.fromkeys(("package_id", "package_name", "data_units", "sms_units", "voice_units")),
    "usage_data": dict.fromkeys(("isUnlimited", *(name for pair in _PAIRS for name in pair))),
    "usage_list": dict.fromkeys(("date", "data_used", "location")),
}

_PARTNER: Shape = dict.fromkeys(
    ("timestamp", "balance", "currency", "threshold", "threshold_percentage")
)

_PAYLOADS = {
    "usage": _USAGE,
    "status": _STATUS,
    "low_balance": _PARTNER,
    "insufficient_balance": _PARTNER,
    "top_up": _PARTNER,
}
"""By our name of the event type. Other events are only counted, so their fields do not matter."""

_TOP: Shape = dict.fromkeys(("event_category", "event_type", "event_id", "data"))

_NESTED: dict[str, Shape] = {name: {**_TOP, "data": shape} for name, shape in _PAYLOADS.items()}

_FLAT: dict[str, Shape] = {name: {**_TOP, **shape} for name, shape in _PAYLOADS.items()}


def undocumented_fields(document: Mapping[str, Any], event_type: str) -> set[str]:
    """Return the paths of fields that are not documented, without their values."""
    shapes = _FLAT if document.get("data") is None else _NESTED
    shape = shapes.get(event_type)
    return set() if shape is None else set(unknown_fields(document, shape))


def missing_halves(snapshot: Snapshot) -> Iterator[str]:
    """Return the names of amounts that are missing although the other one of their pair is not."""
    amounts = (
        (snapshot.data_allowed, snapshot.data_remaining),
        (snapshot.sms_allowed, snapshot.sms_remaining),
        (snapshot.voice_allowed, snapshot.voice_remaining),
    )
    for names, pair in zip(_PAIRS, amounts, strict=True):
        if pair.count(None) == 1:
            yield names[pair.index(None)]
