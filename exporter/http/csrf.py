"""Whether a request that changes something comes from a page of another site.

A browser sends the password it knows along with whatever any page asks of it, so that a page
elsewhere could delete an eSIM with its reader's rights. Browsers say where a request comes
from (the Fetch Metadata and Fetch standards); other clients do not, and cannot be tricked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from werkzeug.datastructures import Headers

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing."""

_OURS = frozenset({"same-origin", "none"})
"""``none``: the user asked for it, not a page."""

_DEFAULT_PORTS = {"http": ":80", "https": ":443"}


def from_another_site(headers: Headers, trusted: str = "") -> bool:
    """Return whether a page of another origin is behind a request.

    ``trusted`` is the origin that a proxy serves us under, if that is known; it may rewrite the
    Host header, which is otherwise what an origin is compared with. Browsers send
    ``Sec-Fetch-Site`` over TLS and to the same machine only, ``Origin`` everywhere.
    """
    site, origin = headers.get("Sec-Fetch-Site"), headers.get("Origin")
    if trusted and origin == trusted:
        return False
    if site is not None:
        return site not in _OURS
    return origin is not None and origin.partition("://")[2] != headers.get("Host")


def origin_of(url: str) -> str:
    """Return the origin of a URL as browsers write it, a usual port left out; empty for none."""
    parts = urlsplit(url.lower())
    host = parts.netloc.removesuffix(_DEFAULT_PORTS.get(parts.scheme, ""))
    return f"{parts.scheme}://{host}" if host else ""
