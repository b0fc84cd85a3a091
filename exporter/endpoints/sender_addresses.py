"""The addresses that a vendor may send from, and the proxies that tell them.

A proxy adds the address of its client at the end of X-Forwarded-For. So the sender is the last
address that is no trusted proxy: the connection's own, or one before it in the header. What
anybody else wrote into the header stands before that address and does not count. Some proxies add
the port too.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

Network = IPv4Network | IPv6Network

_HOP = re.compile(r"(?P<ipv4>[0-9.]+)(?::[0-9]+)?|\[(?P<ipv6>[^]]+)\](?::[0-9]+)?")
"""An address with its port, or an IPv6 address in brackets."""


@dataclass(frozen=True, slots=True)
class SenderAddresses:
    """Which addresses may send."""

    allowed: Sequence[Network]
    proxies: Sequence[Network] = ()
    """Proxies that are trusted to name the address of their client."""

    def allow(self, client: str | None, headers: Sequence[tuple[bytes, bytes]]) -> bool:
        """Return whether a sender is allowed. ``client`` is the address of the connection.

        ``headers`` have names in lower case. Several X-Forwarded-For count as one.
        """
        values = [value.decode("latin-1") for name, value in headers if name == b"x-forwarded-for"]
        hops = [hop.strip() for value in values for hop in value.split(",")]
        for hop in (client or "", *reversed(hops)):
            address = _address(hop)
            if address is None:
                return False
            if not _within(address, self.proxies):
                return _within(address, self.allowed)
        return False


def _within(address: IPv4Address | IPv6Address, networks: Sequence[Network]) -> bool:
    return any(address in network for network in networks)


def _address(text: str) -> IPv4Address | IPv6Address | None:
    """Return an address without its port; an IPv4 address that is written as IPv6 becomes IPv4."""
    hop = _HOP.fullmatch(text)
    bare = (hop["ipv4"] or hop["ipv6"]) if hop else text
    try:
        address = ip_address(bare.partition("%")[0])
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address
