"""What the connections of one listener are held to, on either HTTP server."""

from __future__ import annotations

from time import time
from typing import TYPE_CHECKING
from wsgiref.handlers import format_date_time

from exporter.tls import LiveContext

if TYPE_CHECKING:
    import ssl

    from exporter.gate import Gate
    from exporter.protection import Guard


class Terms:
    """The protection in force, which may be another one for each connection, and the gate."""

    def __init__(self, guard: Guard, gate: Gate) -> None:
        self.gate = gate
        self._guard = guard
        self._date = (0, b"")
        self.live = LiveContext(self._context, gate.most) if guard.protection.tls else None
        """What a listener with TLS takes for its context, for as long as it serves."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what is added to every answer."""
        now = int(time())
        if self._date[0] != now:
            self._date = (now, format_date_time(now).encode())
        return [(b"date", self._date[1]), *self._guard.protection.headers]

    def admits(self, connection: ssl.SSLObject) -> bool:
        """Return whether the client is one of those that the listener is for.

        To be asked once of each connection, when it has agreed on TLS; without TLS all are.
        """
        tls = self._guard.protection.tls
        if not self.live or not tls:
            return True
        self.live.agreed(connection)
        return tls.admits(connection)

    def _context(self) -> ssl.SSLContext:
        tls = self._guard.protection.tls
        assert tls, "TLS is turned on and off by a restart only"
        return tls.context
