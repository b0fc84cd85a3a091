"""The loaded state, or the answer while it is still being loaded."""

from __future__ import annotations

from typing import TYPE_CHECKING

from werkzeug.exceptions import ServiceUnavailable

from exporter.http.timeouts import RETRY_AFTER

if TYPE_CHECKING:
    from exporter.ingest.commit import CommittedState
    from exporter.ingest.intake import Intake


def loaded_state(intake: Intake) -> CommittedState:
    """Return the state. Raises the HTTP error 503 until it is loaded."""
    if intake.state is None:
        text = "The state is still being loaded. Try again in a moment."
        raise ServiceUnavailable(text, retry_after=RETRY_AFTER)
    return intake.state
