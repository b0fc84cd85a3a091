"""How many connections a listener may have open, and which one is closed for a new one."""

from __future__ import annotations

from typing import Protocol

from exporter.http.timeouts import RETRY_AFTER

NO_ROOM = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    f"Retry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
).encode()
"""The answer to a connection that is refused."""


class LimitedConnection(Protocol):
    """A connection as its limit sees it."""

    def abort(self) -> None:
        """Close at once. Bytes that were not sent yet are lost."""

    def close(self) -> None:
        """Close when all written bytes have been sent."""


class ConnectionLimit:
    """Keeps the number of open connections of a listener at or below ``max_open``.

    A connection is waiting until it has received the complete head of a request; then it is busy
    until the answer is written. When the listener is full, a new connection displaces the one
    that has waited longest, so slow senders keep nobody out. When all are busy, the new
    connection is refused.
    """

    def __init__(self, max_open: int) -> None:
        self.max_open = max_open
        self.refused = 0
        self.displaced = 0
        self._open: set[LimitedConnection] = set()
        self._waiting: dict[LimitedConnection, None] = {}
        """In the order in which they began to wait."""

    @property
    def open(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    @property
    def busy(self) -> int:
        """Return the number of connections whose request is not answered yet."""
        return len(self._open) - len(self._waiting)

    def admit(self, connection: LimitedConnection) -> bool:
        """Add a new connection as a waiting one, or refuse it and return ``False``."""
        if len(self._open) >= self.max_open:
            if not self._waiting:
                self.refused += 1
                return False
            self.displaced += 1
            longest = next(iter(self._waiting))
            self.remove(longest)
            longest.abort()
        self._open.add(connection)
        self._waiting[connection] = None
        return True

    def mark_busy(self, connection: LimitedConnection) -> None:
        """Note that a connection has received the head of a request."""
        self._waiting.pop(connection, None)

    def mark_waiting(self, connection: LimitedConnection) -> None:
        """Note that a connection was answered and waits for its next request."""
        if connection in self._open:
            self._waiting[connection] = None

    def close_waiting(self) -> None:
        """Close all connections that wait for a request."""
        for connection in list(self._waiting):
            connection.close()

    def remove(self, connection: LimitedConnection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self._waiting.pop(connection, None)
