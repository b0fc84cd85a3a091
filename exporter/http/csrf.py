"""Protection against requests that a page of another site sends (CSRF).

A browser adds the password that it knows to every request, also to one from a page of another
site. Such a page could delete an eSIM with the rights of its reader. Browsers say where a request
comes from (Fetch Metadata and Fetch standards). Other clients do not, and cannot be tricked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""HTTP methods that change nothing."""

_ALLOWED_SITES = frozenset({"same-origin", "none"})
"""``none`` means that the user sent the request, for example from a bookmark."""

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
