"""Addresses to listen on, written ``host:port`` as in the Prometheus project."""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv6Address
from typing import Self

WEB_PORT = 10877
"""Default port of the internal listener."""

WEBHOOK_PORT = 10878
"""Default port of the public listener."""

_MAX_PORT = 65535

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """The address that a listener binds."""

    host: str
    """A name or an IP address (IPv6 without brackets). Empty for all interfaces, IPv4 and IPv6."""
    port: int
    """0 lets the system choose a free port."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``:10877``, ``127.0.0.1:10877``, ``[::1]:10877`` or ``localhost:0``.

        Raises ``ValueError`` for any other text. It does not resolve names.
        """
        match = _ADDRESS.fullmatch(text)
        if match is None or int(match["port"]) > _MAX_PORT or not _is_ipv6(match["ipv6"]):
            raise ValueError(
                f"not an address: {text!r} (write it like :{WEB_PORT}, "
                f"127.0.0.1:{WEB_PORT} or [::1]:{WEB_PORT})"
            )
        return cls(host=match["ipv6"] or match["host"] or "", port=int(match["port"]))

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


def _is_ipv6(text: str | None) -> bool:
    """Return whether the part in brackets is an IPv6 address, or missing."""
    if text is None:
        return True
    try:
        IPv6Address(text)
    except AddressValueError:
        return False
    return True
