"""Timeouts of the HTTP server that no setting changes, in seconds."""

from __future__ import annotations

RETRY_AFTER = 5
"""Value of ``Retry-After`` in the answer to a request that the exporter cannot serve now."""

REQUEST_HEAD_TIMEOUT = 30.0
"""How long a connection may wait for the complete head of its first or its next request.
A client that sends nothing and a client that sends slowly have the same time."""

TLS_HANDSHAKE_TIMEOUT = 10.0
"""How long a client may take for the TLS handshake."""

CLOSE_TIMEOUT = 10.0
"""How long a closing connection may take to send its last bytes and to end TLS."""

STOP_TIMEOUT = 5.0
"""How long a stop waits for requests in flight."""
