"""Answers of the API, in the form of the Prometheus project's."""

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
"""By status; the first, the fourth and the last are Prometheus' own."""

_OTHER = "internal"


def success(data: object) -> Response:
    """Return an answer that holds data."""
    return _answer(200, {"status": "success", "data": data}, {})


def failure(
    code: int, error: str, headers: Mapping[str, str] | None = None, data: object = None
) -> Response:
    """Return an error, with what else there is to say of it as data."""
    document: dict[str, Any] = {"status": "error", "errorType": ERROR_TYPES.get(code, _OTHER)}
    document["error"] = error
    if data is not None:
        document["data"] = data
    return _answer(code, document, headers or {})


def explained(error: HTTPException, headers: Mapping[str, str]) -> Response:
    """Return what an error below the API's path is answered with."""
    told = error.description if error.description != type(error).description else None
    return failure(error.code or 500, told or error.name.lower(), headers)


def _answer(code: int, document: object, headers: Mapping[str, str]) -> Response:
    sent = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers}
    body = msgspec.json.encode(document) + b"\n"
    return Response(body, code, sent, content_type="application/json")
