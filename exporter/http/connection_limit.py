"""How many connections a listener may have open, and which one is closed for a new one."""

from __future__ import annotations

from time import monotonic
from typing import TYPE_CHECKING, NamedTuple, Protocol

from exporter.http.timeouts import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Callable

NO_ROOM = (
    "HTTP/1.1 503 Service Unavailable\r\n"
    f"Retry-After: {RETRY_AFTER}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
).encode()
"""The answer to a connection that is refused. There is none before a TLS handshake."""

PATIENCE = 1.0
"""Seconds that a client may hold up its connection before it counts as slow."""


class ConnectionBounds(NamedTuple):
    """How many connections a listener keeps, and for how long."""

    max_open: int
    idle_timeout: float
    """Seconds for which a connection may wait for a request."""

    def widened(self, other: ConnectionBounds) -> ConnectionBounds:
        """Return the greater value of each bound."""
        return ConnectionBounds(
            max(self.max_open, other.max_open), max(self.idle_timeout, other.idle_timeout)
        )


class LimitedConnection(Protocol):
    """A connection as its limit sees it."""

    def abort(self) -> None:
        """Close at once. Bytes that were not sent yet are lost."""


class ConnectionLimit:
    """Keeps the number of open connections of a listener at or below ``max_open``.

    A connection is in one of three states:

    - *Held up*: the client has to do something. A new connection has to do its TLS handshake and
      send its first request. Later, the rest of a request, the reading of an answer, or the end
      of the connection may be missing.
    - *Idle*: the client was answered and may send another request.
    - *Answered*: a request is complete, and its answer is made or written.

    When the listener is full, a new connection displaces another one: the one that was held up
    for longest if that is more than ``PATIENCE``, else the one that is held up or idle for
    longest. So slow senders keep nobody out, and idle connections of good clients outlive them.
    The new connection is refused only if all others are answered at this moment.
    """

    def __init__(self, max_open: int, clock: Callable[[], float] = monotonic) -> None:
        """``clock`` gives seconds and never goes back."""
        self.max_open = max_open
        self.refused = 0
        self.displaced = 0
        self._clock = clock
        self._open: set[LimitedConnection] = set()
        self._held_up: dict[LimitedConnection, float] = {}
        """The connections and when each began to be held up, the earliest first."""
        self._idle: dict[LimitedConnection, float] = {}
        """The connections and when each began to be idle, the earliest first."""

    @property
    def open(self) -> int:
        """Return the number of open connections."""
        return len(self._open)

    @property
    def answered(self) -> int:
        """Return the number of connections whose request is complete and not answered yet."""
        return len(self._open) - len(self._held_up) - len(self._idle)

    def admit(self, connection: LimitedConnection) -> bool:
        """Add a new connection, or refuse it and return ``False``."""
        if len(self._open) >= self.max_open and not self.displace():
            self.refused += 1
            return False
        self._open.add(connection)
        self._held_up[connection] = self._clock()
        return True

    def displace(self) -> bool:
        """Close the connection that gives way first. Return ``False`` if there is none."""
        connection = self._first_to_give_way()
        if connection is None:
            return False
        self.displaced += 1
        self.remove(connection)
        connection.abort()
        return True

    def mark_held_up(self, connection: LimitedConnection) -> None:
        """Note that the client of a connection has to do something."""
        self._idle.pop(connection, None)
        if connection in self._open:
            self._held_up.setdefault(connection, self._clock())

    def mark_answered(self, connection: LimitedConnection) -> None:
        """Note that a complete request was received."""
        self._idle.pop(connection, None)
        self._held_up.pop(connection, None)

    def mark_idle(self, connection: LimitedConnection) -> None:
        """Note that an answer is written and that the client may send its next request."""
        self._held_up.pop(connection, None)
        if connection in self._open:
            self._idle[connection] = self._clock()

    def remove(self, connection: LimitedConnection) -> None:
        """Forget a connection that is closed."""
        self._open.discard(connection)
        self.mark_answered(connection)

    def _first_to_give_way(self) -> LimitedConnection | None:
        held_up, idle = next(iter(self._held_up), None), next(iter(self._idle), None)
        if held_up is None or idle is None:
            return held_up or idle
        since = self._held_up[held_up]
        slow = self._clock() - since > PATIENCE
        return held_up if slow or since <= self._idle[idle] else idle
