"""The status of an eSIM."""

from __future__ import annotations

from exporter.model.events import Status

_STATUSES = {status.casefold(): status for status in Status} | {"active": Status.ACTIVATED}


def known_status(spelling: str) -> Status:
    """Return the status of a spelling in any case, ``OTHER`` if it is not known."""
    return _STATUSES.get(spelling.casefold(), Status.OTHER)
