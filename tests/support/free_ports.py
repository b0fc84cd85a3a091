"""Ports for servers that are told their port, and that start later or again."""

from __future__ import annotations

import secrets
import socket
from contextlib import suppress

_PORTS = range(20_000, 32_000)
"""Linux gives none of these to a client, or to a server that asks for any port. So nobody takes
the port of a server before it starts, or while it is down for a moment."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nobody uses."""
    while True:
        port = secrets.choice(_PORTS)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
