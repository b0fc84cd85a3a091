"""The OpenAPI 3.1 document of the API, made from the table of endpoints and the schemas."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Literal

from pydantic import TypeAdapter
from pydantic_core import to_json

import exporter
from exporter.endpoints.api.endpoint_table import ENDPOINTS, ERROR_TYPES, ROOT
from exporter.http.csrf import SAFE_METHODS

if TYPE_CHECKING:
    from exporter.endpoints.api.endpoint_table import Endpoint
    from exporter.endpoints.api.parameter_kinds import Parameter

_ERRORS = {
    400: "A parameter is unknown or wrong; the error names it.",
    401: "The user or the password is wrong, where `--web.config.file` has users.",
    403: "`--web.enable-admin-api` is not set, or a page of another site asked.",
    404: "There is none.",
    421: "The `Host` is no name of this machine; see `--web.allowed-hosts`.",
    422: "",
    503: "The state is not loaded yet, or what was asked cannot be done now; try again.",
}

_ERROR = {
    "type": "object",
    "description": "Why a request was not answered.",
    "properties": {
        "status": {"const": "error"},
        "errorType": {"enum": [*ERROR_TYPES.values(), "internal"]},
        "error": {"type": "string", "description": "For people, in one line."},
        "data": {"description": "More of it, by program."},
    },
    "required": ["status", "errorType", "error"],
    "additionalProperties": False,
}


@cache
def document(prefix: str = "") -> dict[str, Any]:
    """Return the document as JSON values, for an API below ``prefix``."""
    adapters: list[tuple[str, Literal["serialization"], TypeAdapter[Any]]]
    adapters = [(e.name, "serialization", TypeAdapter(e.data)) for e in ENDPOINTS]
    references, schemas = TypeAdapter.json_schemas(
        adapters, ref_template="#/components/schemas/{model}"
    )
    paths: dict[str, Any] = {}
    for endpoint in ENDPOINTS:
        schema = references[endpoint.name, "serialization"]
        operations = paths.setdefault(ROOT + endpoint.path, {})
        operations[endpoint.method.lower()] = _operation(endpoint, schema)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "esim-exporter",
            "version": exporter.__version__,
            "description": "State of a fleet of travel eSIMs, and administration. Amounts are "
            "integers in base units (bytes, messages, seconds), times unix seconds in UTC.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"},
        },
        "servers": [{"url": prefix or "/"}],
        "security": [{}, {"password": []}],
        "paths": paths,
        "components": {
            "schemas": {"Error": _ERROR, **_tidy(schemas["$defs"])},
            "securitySchemes": {"password": {"type": "http", "scheme": "basic"}},
        },
    }


def document_text(prefix: str = "") -> bytes:
    """Return the document as it is served. ``docs/openapi.json`` is the one without a prefix."""
    return to_json(document(prefix), indent=2) + b"\n"


def _operation(endpoint: Endpoint, schema: object) -> dict[str, Any]:
    answers = {"200": _answer("Done." if endpoint.changes else "Found.", _success(schema))}
    for code in _codes(endpoint):
        reason = endpoint.refuses if code == 422 else _ERRORS[code]  # noqa: PLR2004  # the endpoint gives the reason
        answers[str(code)] = _answer(reason, {"$ref": "#/components/schemas/Error"})
    path = [
        {"name": n, "in": "path", "required": True, "description": d, "schema": {"type": "string"}}
        for n, d in endpoint.path_parameters.items()
    ]
    return {
        "operationId": endpoint.name,
        "summary": endpoint.summary,
        "tags": ["admin" if endpoint.admin else "read"],
        "parameters": [*path, *map(_query, endpoint.parameters)],
        "responses": answers,
    }


def _codes(endpoint: Endpoint) -> list[int]:
    """Return the errors that an endpoint can answer.

    All can answer 400, because a request with an unknown parameter is wrong.
    """
    when = {
        403: endpoint.admin,
        404: bool(endpoint.path_parameters),
        421: endpoint.method not in SAFE_METHODS,
        422: bool(endpoint.refuses),
    }
    return [code for code in _ERRORS if when.get(code, True)]


def _query(parameter: Parameter) -> dict[str, Any]:
    return {
        "name": parameter.name,
        "in": "query",
        "description": parameter.description,
        "schema": parameter.schema,
    }


def _success(schema: object) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"status": {"const": "success"}, "data": schema},
        "required": ["status", "data"],
        "additionalProperties": False,
    }


def _answer(description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _tidy(node: Any) -> Any:
    """Return a schema without its titles, which only repeat names."""
    if isinstance(node, list):
        return [_tidy(child) for child in node]
    if isinstance(node, dict):
        return {
            key: _tidy(child)
            for key, child in node.items()
            if key != "title" or not isinstance(child, str)
        }
    return node
