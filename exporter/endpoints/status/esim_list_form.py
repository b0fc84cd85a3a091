"""The form above the list of eSIMs: its choices, and what the list then holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from werkzeug.exceptions import BadRequest

from exporter.endpoints.query_parameters import check_names
from exporter.model.records import RESOURCES, STATUSES
from exporter.query.list_options import EsimFilter, Sorting, SortKey, SortOrder

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.datastructures import MultiDict

    Conditions = Mapping[str, Any]
    """Fields of :class:`EsimFilter` with their values."""


T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Choice:
    """One line of a list of choices."""

    label: str
    conditions: Conditions


NOT_TERMINAL = "not-terminal"
"""The choice of all statuses that do not end an eSIM."""

_ANY = Choice("any", {})
_PERCENT = (75, 90, 100)
_RESOURCES = {"data": "data", "sms": "SMS", "voice": "voice"}

CHOICES: Mapping[str, Mapping[str, Choice]] = {
    "status": {
        "": _ANY,
        NOT_TERMINAL: Choice("not terminal", {"terminal": False}),
        **{status.value: Choice(status.value, {"status": status}) for status in STATUSES},
    },
    "out_of_data": {
        "": _ANY,
        "true": Choice("yes", {"out_of_data": True}),
        "soon": Choice("soon", {"about_to_run_out": True}),
        "false": Choice("no", {"out_of_data": False}),
    },
    "used": {
        "": _ANY,
        **{
            f"{resource}-{percent}": Choice(
                f"{_RESOURCES[resource]} {percent} %",
                {f"min_{resource}_used_share": percent / 100},
            )
            for resource in RESOURCES
            for percent in _PERCENT
        },
    },
    "over_limit": {
        "": _ANY,
        "false": Choice("yes", {"over_limit": False}),
        "true": Choice("no (over the limit)", {"over_limit": True}),
    },
}
"""The choices of each list, by the value in the address."""

_TEXTS = ("vendor", "prefix", "reference_id", "package_id")
"""Fields for text, named as the fields of :class:`EsimFilter`."""

_OTHERS = ("after", "done")
"""What an address may have beside the fields of the form."""

SORTS = {
    "esim_id": ("eSIM id", Sorting()),
    "out_of_data_since": (
        "out of data, newest first",
        Sorting(SortKey.OUT_OF_DATA_SINCE, SortOrder.DESCENDING),
    ),
    "data_used_share": (
        "data used, most first",
        Sorting(SortKey.DATA_USED_SHARE, SortOrder.DESCENDING),
    ),
    "newest": ("last event, newest first", Sorting(SortKey.LAST_EVENT, SortOrder.DESCENDING)),
    "last_event": ("last event, oldest first", Sorting(SortKey.LAST_EVENT)),
}
"""Label and order by the value in the address."""


@dataclass(frozen=True, slots=True)
class EsimListForm:
    """What a person asked for."""

    asked: Mapping[str, str]
    """Every field of the form with its value as text; empty if it is no condition."""
    conditions: EsimFilter
    sorting: Sorting

    @classmethod
    def read(cls, given: MultiDict[str, str]) -> EsimListForm:
        """Read the parameters of an address. Raises the HTTP error 400."""
        check_names(given, (*_TEXTS, *CHOICES, "sort", *_OTHERS))
        asked = {name: given.get(name, "") for name in (*_TEXTS, *CHOICES)}
        newest_first = asked["out_of_data"] == "true"
        asked["sort"] = given.get("sort", "out_of_data_since" if newest_first else "esim_id")
        conditions: dict[str, Any] = {name: asked[name] for name in _TEXTS if asked[name]}
        for name, choices in CHOICES.items():
            conditions |= chosen(name, asked[name], choices).conditions
        _, sorting = chosen("sort", asked["sort"], SORTS)
        return cls(asked, EsimFilter(**conditions), sorting)


def chosen(name: str, value: str, among: Mapping[str, T]) -> T:
    """Return what a parameter chooses. Raises the HTTP error 400."""
    if value not in among:
        raise BadRequest(f"{name} must be one of: {', '.join(filter(None, among))}")
    return among[value]
