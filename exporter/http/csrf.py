"""Protection against requests that a page of another site sends (CSRF, DNS rebinding).

A browser adds the password that it knows to every request, also to one from a page of another
site. Such a page could delete an eSIM with the rights of its reader. Browsers say where a request
comes from (Fetch Metadata and Fetch standards). Other clients do not, and cannot be tricked.

The owner of another site can also let the name of the site lead to this machine (DNS rebinding).
Then its page is of the same origin for the browser. Only the name in ``Host`` tells.
"""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Collection

    from werkzeug.datastructures import Headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing."""

_ALLOWED_SITES = frozenset({"same-origin", "none"})
"""``none`` means that the user sent the request, for example from a bookmark."""

_HOST = re.compile(r"(?:\[([^\[\]]+)\]|([^:\[\]]+))(?::[0-9]*)?")
"""A host of a URL, and perhaps a port. IPv6 addresses are in brackets."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def is_from_another_site(headers: Headers, trusted: str = "") -> bool:
    """Return whether a page of another origin sent a request.

    ``trusted`` is the origin under which a proxy serves the exporter, if it is known. Without it
    the origin must match the ``Host`` header, which a proxy may change. Browsers send
    ``Sec-Fetch-Site`` over TLS and to the same machine only, and ``Origin`` everywhere.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if trusted and origin == trusted:
        return False
    if site is not None:
        return site not in _ALLOWED_SITES
    return origin is not None and origin.partition("://")[2] != headers.get("Host")


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it: without the default port of its scheme.

    It is empty if the URL has no host.
    """
    parts = urlsplit(url.lower())
    host = parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    return f"{parts.scheme}://{host}" if host else ""


def is_own_host(host: str, names: Collection[str]) -> bool:
    """Return whether a ``Host`` header can be true for this machine.

    That is any IP address, ``localhost``, or one of ``names`` (in lower case). Nobody can let an
    address lead to another machine, so a browser that shows an address asked that address.
    """
    found = _HOST.fullmatch(host)
    if not found:
        return False
    name = (found[1] or found[2]).lower().removesuffix(".")
    if name == "localhost" or name in names:
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True
