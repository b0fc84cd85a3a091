"""The entry that every vendor module adds to the registry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.model.events import Event


DEFAULT_UNIT_BASE: Final = 1024
"""Bytes in a vendor's kB. A "1 GB" package of Roamify allows 1024 MB."""


class Parse(Protocol):
    """Translates the body of a delivery to an event."""

    def __call__(
        self,
        body: bytes,
        now: float,
        unit_base: int = DEFAULT_UNIT_BASE,
        unknown: Callable[[str], None] | None = None,
    ) -> Event:
        """Return the event; ``now`` is the present time in unix seconds.

        ``unit_base`` says whether the vendor's MB is 1024 or 1000 kB. ``unknown`` gets the name of
        each field that the vendor does not document, and of each missing half of a pair of
        amounts, but no value. Raises ``EventError``.
        """


@dataclass(frozen=True, slots=True)
class Vendor:
    """One vendor. All of its functions are pure."""

    name: str
    """Label ``vendor`` of all series."""
    signature_header: str
    event_types: tuple[str, ...]
    """Every value of the label ``event_type``, sorted."""
    verify: Callable[[bytes, str | None, Sequence[bytes]], int | None]
    """Takes body, signature and secrets; returns the index of the secret that signed."""
    well_formed: Callable[[str], bool]
    """Takes a signature; returns whether it has the form of one, be it right or wrong."""
    parse: Parse
    sign: Callable[[bytes, bytes], str]
    """Takes body and secret; returns the signature. Only the simulator and tests sign."""
    report_interval: int | None
    """Seconds between two usage events of an activated eSIM; ``None`` if there is no fixed
    interval."""

    @property
    def webhook_path(self) -> str:
        """Return the path to which the vendor sends its deliveries."""
        return f"/webhooks/{self.name}"
