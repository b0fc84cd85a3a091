"""How many connections a listener holds, and what all servers hold them to."""

from __future__ import annotations

from typing import Protocol

KEEP_ALIVE = 30.0
"""Seconds a connection may wait: from its start, or from its last answer, to the end of the
head of a request. Whoever sends nothing and whoever sends slowly have the same time."""

MAX_HEAD = 16 * 1024
"""Bytes of the head of a request that are waited for; above it the answer is 431."""

FAREWELL = 10.0
"""Seconds for what was written to be taken, and for a client of TLS to agree on the end."""

GRACE = 5.0
"""Seconds that requests in flight get to finish after the stop."""

BACKLOG = 1024
"""Connections the kernel holds until they are accepted: the vendor sends in bursts."""

REFUSAL = (
    b"HTTP/1.1 503 Service Unavailable\r\n"
    b"Retry-After: 5\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
)


class LimitedConnection(Protocol):
    """A connection of any server."""

    def give_way(self) -> None:
        """End at once."""

    def leave_off(self) -> None:
        """End, having nothing to do."""


class ConnectionLimit:
    """Holds the connections of a listener to a number.

    When there are as many already, the one that has waited longest for the head of a request
    gives way to the new one: senders that take their time keep nobody out. Where all are being
    answered, the new one is refused.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.refused = 0
        self.displaced = 0
        self._held: set[LimitedConnection] = set()
        self._waiting: dict[LimitedConnection, None] = {}
        """Those without a request, in the order in which they began to wait."""

    @property
    def held(self) -> int:
        """Return how many connections there are."""
        return len(self._held)

    def admit(self, connection: LimitedConnection) -> bool:
        """Take a new connection, or return that there is no place."""
        if len(self._held) >= self.most:
            if not self._waiting:
                self.refused += 1
                return False
            self.displaced += 1
            oldest = next(iter(self._waiting))
            self.leave(oldest)
            oldest.give_way()
        self._held.add(connection)
        self._waiting[connection] = None
        return True

    def waits(self, connection: LimitedConnection, *, idle: bool) -> None:
        """Note that a connection got a request, or was answered and waits for the next."""
        self._waiting.pop(connection, None)
        if idle and connection in self._held:
            self._waiting[connection] = None

    def send_home(self) -> None:
        """End the connections that wait for a request: there will be no answer any more."""
        for connection in list(self._waiting):
            connection.leave_off()

    def leave(self, connection: LimitedConnection) -> None:
        """Forget a connection."""
        self._held.discard(connection)
        self._waiting.pop(connection, None)
