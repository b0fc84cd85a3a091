"""Answers of the API held against its document."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import schemathesis

from exporter.endpoints.api.endpoint_table import ENDPOINTS, ROOT
from exporter.endpoints.api.openapi import document

if TYPE_CHECKING:
    import httpx
    from running import Serving

SCHEMA = schemathesis.openapi.from_dict(document())

_ENDPOINTS = {(e.method, re.sub(r"\{\w+\}", "[^/]+", e.path)): e for e in ENDPOINTS}


def ask(server: Serving, path: str, method: str = "GET", code: int = 200, **options: Any) -> Any:
    """Return the data of an answer, or the error, that is as the document says."""
    response = server.client.request(method, f"{server.internal}{ROOT}{path}", **options)
    check(method, path, response)
    assert response.status_code == code, response.text
    answer = response.json()
    return answer["data"] if code == 200 else answer


def check(method: str, path: str, response: httpx.Response) -> None:
    """Fail where an answer is none that the document has for the request."""
    (endpoint,) = (
        endpoint
        for (its_method, pattern), endpoint in _ENDPOINTS.items()
        if its_method == method and re.fullmatch(pattern, path.partition("?")[0])
    )
    SCHEMA[ROOT + endpoint.path][method].validate_response(response)
