"""Rendering of pages from templates, their addresses, and the static files beside them."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote, urlencode, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined
from quart import Blueprint, Response, request
from werkzeug.exceptions import NotFound

import exporter
from exporter.endpoints.status import formatting

if TYPE_CHECKING:
    from collections.abc import Callable

_SECURITY: Final = {
    "Content-Security-Policy": "default-src 'none'; style-src 'self'; script-src 'self'; "
    "connect-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "same-origin",
    "X-Content-Type-Options": "nosniff",
}
"""The browser loads only our own files, even if an event brought markup into a page."""

_TYPES: Final = {
    "status.css": "text/css; charset=utf-8",
    "status.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}
_YEAR = 31536000


@dataclass(frozen=True, slots=True)
class Links:
    """Addresses of the pages, as a browser sees them."""

    base: str
    """What all paths begin with: empty, or a path without a slash at its end."""

    @classmethod
    def of(cls, external_url: str | None, route_prefix: str) -> Links:
        """Return the links below the external URL, or below the route prefix if there is none."""
        path = urlsplit(external_url).path if external_url else route_prefix
        return cls(path.rstrip("/"))

    def page(self, path: str, **query: object) -> str:
        """Return the address of a page. Parameters that are empty are left out."""
        given = {name: value for name, value in query.items() if value not in {None, ""}}
        return f"{self.base}{path}{'?' if given else ''}{urlencode(given)}"

    def esim(self, vendor: str, esim_id: str, suffix: str = "") -> str:
        """Return the address of an eSIM's page."""
        return f"{self.base}/esims/{quote(vendor, safe='')}/{quote(esim_id, safe='')}{suffix}"


class PageRenderer:
    """Renders templates. Values are escaped. A template that uses an unknown name fails."""

    def __init__(self, links: Links, telemetry_path: str, clock: Callable[[], float]) -> None:
        self.links = links
        self._clock = clock
        self._files = {name: _read(name) for name in _TYPES}
        environment = Environment(
            auto_reload=False,
            autoescape=True,
            loader=PackageLoader("exporter.endpoints.status"),
            lstrip_blocks=True,
            trim_blocks=True,
            undefined=StrictUndefined,
        )
        environment.filters |= {
            "amount": formatting.amount,
            "count": formatting.count,
            "instant": formatting.instant,
            "machine_instant": formatting.machine_instant,
            "percent": formatting.percent,
            "size": formatting.size,
            "span": formatting.span,
            "visible": formatting.visible,
        }
        environment.globals |= {
            "age": formatting.age,
            "band": formatting.band,
            "bar": formatting.bar,
            "file": self._file,
            "links": links,
            "marks": formatting.MARKS,
            "minutes_chart": formatting.minutes_chart,
            "part": formatting.part,
            "telemetry_path": telemetry_path,
            "version": exporter.__version__,
        }
        self._environment = environment

    async def prepare(self) -> None:
        """Compile all templates, so that the first viewer does not wait for it.

        It runs in a thread, because one template takes up to 40 ms and deliveries must not wait.
        """
        for name in self._environment.list_templates():
            await asyncio.to_thread(self._environment.get_template, name)  # it stays cached

    def answer(self, template: str, code: int = 200, **context: Any) -> Response:
        """Return a page made from a template."""
        found = self._environment.get_template(template)
        text = found.render(now=self._clock(), path=request.path, **context)
        headers = {**_SECURITY, "Cache-Control": "no-store"}
        return Response(text, code, headers, content_type="text/html; charset=utf-8")

    def redirect(self, address: str) -> Response:
        """Return the answer to a form: the browser opens a page."""
        return Response("", 303, {"Location": address, "Cache-Control": "no-store"})

    def add_files(self, blueprint: Blueprint) -> None:
        """Add the routes of style sheet, script and icon.

        Their addresses contain a digest of the file, so browsers may keep them for ever.
        """

        async def serve(digest: str, name: str) -> Response:
            known = self._files.get(name)
            if known is None or known[0] != digest:
                raise NotFound
            headers = {
                "Cache-Control": f"private, max-age={_YEAR}, immutable",
                "X-Content-Type-Options": "nosniff",
            }
            return Response(known[1], 200, headers, content_type=_TYPES[name])

        blueprint.add_url_rule("/-/status/<digest>/<name>", "file", serve)

    def _file(self, name: str) -> str:
        """Return the address of a static file."""
        return self.links.page(f"/-/status/{self._files[name][0]}/{name}")


def _read(name: str) -> tuple[str, bytes]:
    """Return the digest of a static file, for its address, and its content."""
    content = (files("exporter.endpoints.status") / "static" / name).read_bytes()
    return hashlib.sha256(content).hexdigest()[:16], content
