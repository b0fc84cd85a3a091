"""Timeouts of the HTTP server that no setting changes, in seconds."""

from __future__ import annotations

RETRY_AFTER = 5
"""Value of ``Retry-After`` in the answer to a request that the exporter cannot serve now."""

REQUEST_HEAD_TIMEOUT = 30.0
"""How long the head of a request may take, from its first byte on."""

TLS_HANDSHAKE_TIMEOUT = 10.0
"""How long a client may take for the TLS handshake."""

UNREAD_TIMEOUT = 60.0
"""How long a client may read nothing of an answer that waits for it."""

CLOSE_TIMEOUT = 10.0
"""How long a closing connection may take to send its last bytes and to end TLS."""

STOP_TIMEOUT = 5.0
"""How long a stop waits for requests in flight."""

ACCEPT_PAUSE = 1.0
"""How long no connection is accepted after the system has refused an open file for one."""
