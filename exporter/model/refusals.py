"""Why a delivery is refused: one table for answers, metrics and the list of recent deliveries."""

from __future__ import annotations

from typing import NamedTuple


class Refusal(NamedTuple):
    """What belongs to one reason."""

    code: int
    """HTTP status of the answer."""
    verified: bool
    """Whether the sender is known: the signature was checked, and is right."""


REFUSALS = {
    "encoding": Refusal(415, verified=False),
    "invalid": Refusal(422, verified=True),
    "malformed": Refusal(400, verified=True),
    "overload": Refusal(503, verified=True),
    "signature": Refusal(401, verified=False),
    "storage": Refusal(503, verified=True),
    "timeout": Refusal(408, verified=False),
    "too_large": Refusal(413, verified=False),
    "unsigned": Refusal(401, verified=False),
}
"""By the label ``reason`` of ``webhook_rejected_total``."""
