"""One module a vendor: its signature, and its wire format translated to events."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from exporter.model.events import Event


@dataclass(frozen=True, slots=True)
class Vendor:
    """What the rest of the exporter knows of a vendor. All of it is pure."""

    name: str
    signature_header: str
    event_types: tuple[str, ...]
    """Every ``event_type`` label there is, sorted."""
    verify: Callable[[bytes, str | None, Sequence[bytes]], int | None]
    """Takes body, signature and secrets; returns the place of the secret that signed."""
    parse: Callable[[bytes, float], Event]
    """Takes body and time (unix seconds); raises ``EventError``."""
