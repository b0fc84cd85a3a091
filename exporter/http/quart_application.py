"""What all endpoints have in common: passwords, CSRF, error answers, and counted requests."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic_core import to_json
from quart import Quart, Response, request
from quart.asgi import ASGIHTTPConnection
from werkzeug.datastructures import WWWAuthenticate
from werkzeug.exceptions import (
    Forbidden,
    HTTPException,
    MisdirectedRequest,
    ServiceUnavailable,
    Unauthorized,
)
from werkzeug.routing import BaseConverter

from exporter.errors import Overloaded
from exporter.http.csrf import SAFE_METHODS, is_from_another_site, is_own_host
from exporter.http.failures import Failures
from exporter.http.timeouts import RETRY_AFTER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping

    from quart import Blueprint
    from quart.wrappers.base import BaseRequestWebsocket
    from werkzeug.routing import MapAdapter

    from exporter.http.basic_auth import BasicAuth
    from exporter.selfmetrics import SelfMetrics

    ErrorAnswer = Callable[[HTTPException, Mapping[str, str]], Response]
    """Makes an answer from an error. The answer must have the given headers."""

_WITHOUT_PASSWORD = frozenset({"health", "webhook"})
"""Blueprints that need no password: probes have none, and deliveries have a signature."""

_CHALLENGE = WWWAuthenticate("basic", {"realm": "esim-exporter", "charset": "UTF-8"})

_KEPT_HEADERS = frozenset({"Allow", "Retry-After", "WWW-Authenticate"})

_OTHER_SITE = (
    "A page of another site asked for this. If it was ours behind a proxy that names another host, "
    "set --web.external-url."
)

_OTHER_HOST = (
    "Nothing is changed under this Host: it may be a page of another site. If it is a name of this "
    "machine, add it to --web.allowed-hosts."
)

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})


class Application(Quart):
    """A Quart application that serves the same under every ``Host``, even under a wrong one."""

    def __init__(self, name: str, failures: Failures) -> None:
        """Note whatever fails unexpectedly in ``failures``."""
        super().__init__(name, static_folder=None)
        self.failures = failures

    def create_url_adapter(self, request: BaseRequestWebsocket | None) -> MapAdapter | None:
        """Return what finds the endpoint of a request: by its path alone."""
        if request is None:
            return None
        return self.url_map.bind(
            "",
            url_scheme=request.scheme,
            default_method=request.method,
            path_info=request.path,
            query_args=request.query_string.decode(),
        )

    def log_exception(self, *context_and_exception: Any) -> None:
        """Note what an endpoint raised. Quart answers 500, and passes the context since 0.23."""
        self.failures.note(context_and_exception[-1][1])


class Connection(ASGIHTTPConnection):
    """One request. It is over when its answer is, even if the client did not read all of it.

    Since 0.23, Quart also waits until the client disconnects. A client that reads nothing would
    then keep its connection after the time for its answer is over. Quart does not document these
    methods, so ``pyproject.toml`` allows only versions with which the tests passed.
    """

    _reader: asyncio.Task[Any] | None = None
    _answered = False

    async def handle_messages(self, *arguments: Any) -> None:
        """Read what the client sends, until its request is answered."""
        self._reader = asyncio.current_task()
        if not self._answered:
            await super().handle_messages(*arguments)

    async def handle_request(self, *arguments: Any) -> None:
        """Answer the request."""
        await super().handle_request(*arguments)
        self._answered = True
        if self._reader:
            self._reader.cancel()


def application(
    name: str,
    blueprints: Iterable[Blueprint],
    metrics: SelfMetrics,
    *,
    json_errors: bool,
    auth: BasicAuth | None = None,
    error_page: Callable[[HTTPException], Awaitable[Response]] | None = None,
    errors_below: Mapping[str, ErrorAnswer] | None = None,
    origin: str = "",
    hosts: Collection[str] = (),
) -> Application:
    """Return an application of these endpoints that counts its requests.

    With ``auth``, every path needs a password, except those of health and of the webhook. Paths
    that do not exist need one too.

    An error is answered in one of these forms, the first that applies:

    - as ``errors_below`` says for the beginning of the path,
    - as ``error_page`` for a browser,
    - with ``json_errors``, as JSON in the form of the webhook's answers,
    - as plain text.

    Pages of other sites cannot change anything. ``origin`` is the origin under which a proxy
    serves this application, or empty without a proxy. ``hosts`` are the names of this machine, in
    lower case.
    """
    app = Application(name, Failures(metrics.http_failures.labels(name).inc))
    app.asgi_http_class = Connection
    app.config["BODY_TIMEOUT"] = None  # endpoints that read a body have their own limits
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROVIDE_AUTOMATIC_OPTIONS"] = False
    app.url_map.merge_slashes = False
    app.url_map.converters["identifier"] = _AnyText
    for blueprint in blueprints:
        app.register_blueprint(blueprint)

    async def explain(error: HTTPException) -> Response:
        headers = {name: value for name, value in error.get_headers() if name in _KEPT_HEADERS}
        for start, answer in (errors_below or {}).items():
            if request.path.startswith(start):
                return answer(error, headers)
        if error_page and not isinstance(error, Unauthorized) and _is_browser():
            page = await error_page(error)
            page.headers.update(headers)
            return page
        return _short_answer(error, headers, json=json_errors)

    async def count(response: Response) -> Response:
        handler = request.url_rule.rule if request.url_rule else "other"
        method = request.method if request.method in _METHODS else "other"
        metrics.requests.labels(handler, method, str(response.status_code)).inc()
        return response

    async def redirect_to_path(response: Response) -> Response:
        """Leave out the site: behind a proxy, only the browser knows it."""
        if response.location:
            response.location = urlsplit(response.location)._replace(scheme="", netloc="").geturl()
        return response

    app.register_error_handler(HTTPException, explain)
    if auth:
        app.before_request(partial(_authenticate, auth))
    app.before_request(partial(_refuse_other_sites, origin, hosts))
    app.after_request(count)
    app.after_request(redirect_to_path)
    return app


class _AnyText(BaseConverter):
    """Matches any text in a path. Werkzeug's own converters exclude some slashes."""

    part_isolating = False
    regex = "(?s:.+)"


def _needs_no_password() -> bool:
    return (request.blueprint or "").partition("_")[0] in _WITHOUT_PASSWORD


async def _authenticate(auth: BasicAuth) -> None:
    if _needs_no_password():
        return
    try:
        admitted = await auth.admits(request.headers.get("Authorization"))
    except Overloaded as error:
        raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from None
    if not admitted:
        raise Unauthorized(www_authenticate=_CHALLENGE)


async def _refuse_other_sites(origin: str, hosts: Collection[str]) -> None:
    changes_nothing = request.method in SAFE_METHODS or request.routing_exception
    if changes_nothing or _needs_no_password():
        return
    if not is_own_host(request.headers.get("Host", ""), hosts):
        raise MisdirectedRequest(_OTHER_HOST)
    if is_from_another_site(request.headers, origin):
        raise Forbidden(_OTHER_SITE)


def _short_answer(error: HTTPException, headers: dict[str, str], *, json: bool) -> Response:
    """Return an error as one line, for programs."""
    code, text = error.code or 500, error.name
    if error.description in {_OTHER_HOST, _OTHER_SITE}:
        text = error.description
    if not json:
        headers["Content-Type"] = "text/plain; charset=utf-8"
        return Response(f"{text}\n", code, headers)
    headers["Content-Type"] = "application/json"
    body = to_json({"code": code, "status": "error", "error": text}) + b"\n"
    return Response(body, code, headers)


def _is_browser() -> bool:
    """Return whether the client prefers HTML to plain text."""
    return request.accept_mimetypes.best_match(("text/plain", "text/html")) == "text/html"
