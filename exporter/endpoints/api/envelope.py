"""The envelope of every answer of the API: ``status``, then ``data`` or an error.

The form is that of the Prometheus project's HTTP API.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec
from quart import Response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from werkzeug.exceptions import HTTPException

ERROR_TYPES = {
    400: "bad_data",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    422: "unprocessable",
    503: "unavailable",
}
"""``errorType`` by HTTP status; ``bad_data``, ``not_found``, ``unavailable`` as in Prometheus."""

_OTHER = "internal"


def success(data: object) -> Response:
    """Return an answer with status 200 and data."""
    return _answer(200, {"status": "success", "data": data}, {})


def failure(
    code: int, error: str, headers: Mapping[str, str] | None = None, data: object = None
) -> Response:
    """Return an error. ``data``, if there is any, tells programs more about it."""
    document: dict[str, Any] = {"status": "error", "errorType": ERROR_TYPES.get(code, _OTHER)}
    document["error"] = error
    if data is not None:
        document["data"] = data
    return _answer(code, document, headers or {})


def explained(error: HTTPException, headers: Mapping[str, str]) -> Response:
    """Return the answer to an HTTP error that was raised below the API's path."""
    specific = error.description if error.description != type(error).description else None
    return failure(error.code or 500, specific or error.name.lower(), headers)


def _answer(code: int, document: object, headers: Mapping[str, str]) -> Response:
    sent = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers}
    body = msgspec.json.encode(document) + b"\n"
    return Response(body, code, sent, content_type="application/json")
