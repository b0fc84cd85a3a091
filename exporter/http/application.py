"""Quart applications: what all endpoints have in common, errors and counting."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from pydantic_core import to_json
from quart import Quart, Response, request
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import Forbidden, HTTPException, ServiceUnavailable, Unauthorized
from werkzeug.routing import BaseConverter

from exporter.endpoints.api.envelope import explained
from exporter.errors import Overloaded
from exporter.http.csrf import SAFE, from_another_site

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from quart import Blueprint

    from exporter.http.basic_auth import BasicAuth
    from exporter.selfmetrics import SelfMetrics

_OPEN = frozenset({"health", "webhook"})
"""Parts without a password: probes have none, and a delivery is signed."""

_CHALLENGE = WWWAuthenticate("basic", {"realm": "esim-exporter", "charset": "UTF-8"})

_KEPT_HEADERS = frozenset({"Allow", "Retry-After", "WWW-Authenticate"})

RETRY_AFTER = 5
"""Seconds after which a request that was refused for overload is worth another try."""

_ELSEWHERE = (
    "A page of another site asked for this. If it was ours behind a proxy that names another host, "
    "set --web.external-url."
)

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


def application(
    name: str,
    blueprints: Iterable[Blueprint],
    metrics: SelfMetrics,
    *,
    json_errors: bool,
    auth: BasicAuth | None = None,
    error_page: Callable[[HTTPException], Awaitable[Response]] | None = None,
    api: str | None = None,
    origin: str = "",
) -> Quart:
    """Return an application of these endpoints, whose requests are counted.

    All but health and the webhook, what does not exist included, is for ``auth``'s users only.
    Errors are answered in JSON as the webhook's are, or in plain text; a browser gets
    ``error_page`` where there is one, and what asks below the path ``api`` the API's form. Pages
    of another site than ours, or than ``origin`` in front of us, can change nothing.
    """
    app = Quart(name, static_folder=None)
    app.config["BODY_TIMEOUT"] = None  # those who read a body bound it themselves
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["identifier"] = _Identifier
    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    async def explain(error: HTTPException) -> Response:
        headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
        if api and request.path.startswith(api):
            return explained(error, headers)
        if error_page and not isinstance(error, Unauthorized) and _wants_page():
            page = await error_page(error)
            page.headers.update(headers)
            return page
        return _line(error, headers, json=json_errors)

    async def count(response: Response) -> Response:
        handler = request.url_rule.rule if request.url_rule else "other"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(handler, method, str(response.status_code)).inc()
        return response

    app.register_error_handler(HTTPException, explain)
    if auth:
        app.before_request(partial(_authenticate, auth))
    app.before_request(partial(_refuse_other_sites, origin))
    app.after_request(count)
    return app


class _Identifier(BaseConverter):
    """Any text in a path; the usual converters know no slash, or none at the start."""

    part_isolating = False
    regex = "(?s:.+)"


def _is_open() -> bool:
    return (request.blueprint or "").partition("_")[0] in _OPEN


async def _authenticate(auth: BasicAuth) -> None:
    if _is_open():
        return
    try:
        admitted = await auth.admits(request.headers.get("Authorization"))
    except Overloaded as error:
        raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from None
    if not admitted:
        raise Unauthorized(www_authenticate=_CHALLENGE)


async def _refuse_other_sites(origin: str) -> None:
    if request.method in SAFE or _is_open():
        return
    if from_another_site(request.headers, origin):
        raise Forbidden(_ELSEWHERE)


def _line(error: HTTPException, headers: dict[str, str], *, json: bool) -> Response:
    """Return an error as the one line that programs are answered."""
    code, text = error.code or 500, error.name
    if not json:
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return Response(f"{text}\n", code, headers)
    headers["Content-Type"] = "application/json"
    body = to_json({"code": code, "status": "error", "error": text}) + b"\n"
    return Response(body, code, headers)


def _wants_page() -> bool:
    """Return whether a page is preferred to text, as by a browser."""
    return request.accept_mimetypes.best_match(("text/plain", "text/html")) == "text/html"
