"""The entry that every vendor package adds to the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from exporter.model.events import Event
    from exporter.vendors.authentication import Authentication
    from exporter.vendors.simulation import Habits

DEFAULT_UNIT_BASE: Final = 1024
"""Bytes in a vendor's kB. A "1 GB" package of Roamify allows 1024 MB."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the operator decides about how a vendor's deliveries are read."""

    unit_base: int = DEFAULT_UNIT_BASE
    """Bytes in the vendor's kB, 1024 or 1000."""
    esim_id_of: Callable[[str], str] = str
    """Takes an ICCID and returns the ``esim_id``, for a vendor that names eSIMs by ICCID."""


DEFAULT_READING: Final = Reading()


class Parse(Protocol):
    """Translates the body of a delivery to an event."""

    def __call__(
        self,
        body: bytes,
        now: float,
        reading: Reading = DEFAULT_READING,
        unknown: Callable[[str], None] | None = None,
    ) -> Event:
        """Return the event; ``now`` is the present time in unix seconds.

        For a vendor whose events have no time of their own, ``now`` is the time of receipt and
        becomes the time of the event. ``unknown`` gets the name of each field that the vendor does
        not document, and of each missing half of a pair of amounts, but no value. Raises
        ``EventError``.
        """


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor: its facts, its way to authenticate, and its wire format. All of it is pure."""

    name: str
    """Label ``vendor`` of all series, and part of the webhook's path."""
    title: str
    """The name that people read."""
    event_types: tuple[str, ...]
    """Every value of the label ``event_type``, sorted."""
    authentication: Authentication
    parse: Parse
    has_event_time: bool = True
    """Whether events carry a time of their own. Without one, the time of receipt counts."""
    report_interval: int | None = None
    """Seconds between two usage events of an activated eSIM; ``None`` if the vendor reports at
    thresholds only."""
    names_units: bool = False
    """Whether amounts come in kB, MB or GB, whose size the operator may choose."""
    named_by_iccid: bool = False
    """Whether the ICCID is all that identifies an eSIM."""
    secret_note: str = ""
    """What an operator must know about the secrets; one or two sentences for the help page."""
    habits: Callable[[], Habits] | None = None
    """Imports and returns the vendor's habits; ``None`` if it cannot be simulated."""

    @property
    def webhook_path(self) -> str:
        """Return the path to which the vendor sends its deliveries, without a token."""
        return f"/webhooks/{self.name}"
