"""What fails unexpectedly while a listener answers. Each failure is a fault of the program."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from exporter.logs import Throttle, fields_of_error

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Failures:
    """Counts the failures of a listener and logs them, at most a few per minute from one place.

    Strangers can repeat a request that fails, so the log must not grow with it.
    """

    def __init__(self, count: Callable[[], None]) -> None:
        """``count`` is called for each failure."""
        self._count = count
        self._throttle = Throttle()

    def note(self, error: BaseException) -> None:
        """Count a failure and log where it happened, without the message of the error."""
        self._count()
        facts = fields_of_error(error)["fields"]
        assert isinstance(facts, dict)
        held_back = self._throttle.admit(f"{facts['error']} {facts['at']}")
        if held_back is None:
            return
        if held_back:
            facts["not_logged"] = held_back
        log.error("a request failed unexpectedly; please report it", extra={"fields": facts})
