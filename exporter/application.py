"""Quart applications: what all endpoints have in common, errors and counting."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic_core import to_json
from quart import Quart, Response, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import HTTPException, ServiceUnavailable, Unauthorized

from exporter.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Iterable

    from quart import Blueprint

    from exporter.basicauth import BasicAuth
    from exporter.selfmetrics import SelfMetrics

_OPEN = frozenset({"health", "webhook"})
"""Parts without a password: probes have none, and a delivery is signed."""

_CHALLENGE = WWWAuthenticate("basic", {"realm": "esim-exporter", "charset": "UTF-8"})

_KEPT_HEADERS = frozenset({"Allow", "Retry-After", "WWW-Authenticate"})

RETRY_AFTER = 5
"""Seconds after which a request that was refused for overload is worth another try."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def application(
    name: str,
    blueprints: Iterable[Blueprint],
    metrics: SelfMetrics,
    *,
    json_errors: bool,
    auth: BasicAuth | None = None,
) -> Quart:
    """Return an application of these endpoints, whose requests are counted.

    All but health and the webhook, what does not exist included, is for ``auth``'s users only.
    Errors are answered in JSON as the webhook's are, or in plain text for people.
    """
    app = Quart(name, static_folder=None)
    app.config["BODY_TIMEOUT"] = None  # those who read a body bound it themselves
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    async def authenticate() -> None:
        assert auth
        if request.blueprint and request.blueprint.partition("_")[0] in _OPEN:
            return
        try:
            admitted = await auth.admits(request.headers.get("Authorization"))
        except Overloaded as error:
            raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from None
        if not admitted:
            raise Unauthorized(www_authenticate=_CHALLENGE)

    async def explain(error: HTTPException) -> Response:
        code, text = error.code or 500, error.name
        headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
        if not json_errors:
            headers["Content-Type"] = "text/plain; charset=utf-8"
            return Response(f"{text}\n", code, headers)
        headers["Content-Type"] = "application/json"
        body = to_json({"code": code, "status": "error", "error": text}) + b"\n"
        return Response(body, code, headers)

    async def count(response: Response) -> Response:
        handler = request.url_rule.rule if request.url_rule else "other"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(handler, method, str(response.status_code)).inc()
        return response

    app.register_error_handler(HTTPException, explain)
    if auth:
        app.before_request(authenticate)
    app.after_request(count)
    return app
