"""The life cycle endpoints: reload and shutdown by an HTTP request."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from quart import Blueprint, Response

from exporter.errors import SettingsError
from exporter.logs import fields

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)


class Lifecycle:
    """Reloads the settings or stops the exporter, if ``--web.enable-lifecycle`` is set."""

    def __init__(
        self, reload: Callable[[], None], quit_: Callable[[], None], *, enabled: bool
    ) -> None:
        """``reload`` raises ``SettingsError`` if the new settings are wrong."""
        self._reload = reload
        self._quit = quit_
        self._enabled = enabled

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the two endpoints below ``prefix``."""
        blueprint = Blueprint("lifecycle", __name__, url_prefix=prefix or None)
        for name, view in (("reload", self._serve_reload), ("quit", self._serve_quit)):
            blueprint.add_url_rule(f"/-/{name}", name, view, methods=["PUT", "POST"])
        return blueprint

    async def _serve_reload(self) -> Response:
        if not self._enabled:
            return _disabled()
        try:
            self._reload()
        except SettingsError as error:
            return Response(
                f"The last good settings stay in force: {error}\n", 500, mimetype="text/plain"
            )
        return Response("Reloaded.\n", mimetype="text/plain")

    async def _serve_quit(self) -> Response:
        if not self._enabled:
            return _disabled()
        log.warning("shutdown requested", extra=fields(by="/-/quit"))
        self._quit()
        return Response("Stopping.\n", mimetype="text/plain")


def _disabled() -> Response:
    return Response("Set --web.enable-lifecycle to allow this.\n", 403, mimetype="text/plain")
