"""The head of a request, read as RFC 9110 and RFC 9112 say, before an application sees it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from exporter.http.whole_request import Headers

_ABSOLUTE = re.compile(rb"(?i:https?)://([^/?#]+)(/?)(.*)")
"""The form of a target with scheme and host (RFC 9112, 3.2.2)."""

_ONE_LIST = (b"accept", b"accept-encoding")
"""Fields that we read and whose lines together are one list (RFC 9110, 5.3)."""


class RequestHead(NamedTuple):
    """What an application gets of the head of a request."""

    target: bytes
    """Path and query. It begins with a slash."""
    headers: Headers
    is_last: bool
    """Whether the connection must end after the answer."""


def read_head(method: bytes, target: bytes, headers: Headers) -> RequestHead | None:
    """Return the head for the application, or ``None`` if it cannot be answered but with 400.

    - A method is case-sensitive, and none that we know has lower-case letters.
    - A target without a path cannot be asked of us. The host of an absolute one takes the place
      of the field ``Host``.
    - A wish to upgrade is ignored (RFC 9110, 7.8): there are no websockets, and no HTTP/2.
    - A request with both a length and a transfer coding can be an attempt to smuggle another one.
      The coding counts, and the connection ends (RFC 9112, 6.1).
    """
    found = _ABSOLUTE.fullmatch(target)
    if found:
        host, _, rest = found.groups()
        target = b"/" + rest
        headers = [(b"host", host), *_without(headers, b"host")]
    if not target.startswith(b"/") or method != method.upper():
        return None
    for name in _ONE_LIST:
        headers = _joined(headers, name)
    names = {name for name, _ in headers}
    is_last = names >= {b"content-length", b"transfer-encoding"}
    return RequestHead(target, _without(headers, b"upgrade"), is_last)


def _joined(headers: Headers, name: bytes) -> Headers:
    values = [value for each, value in headers if each == name]
    if len(values) < 2:  # noqa: PLR2004  # there is nothing to join
        return headers
    return [*_without(headers, name), (name, b", ".join(values))]


def _without(headers: Headers, name: bytes) -> Headers:
    return [field for field in headers if field[0] != name]
