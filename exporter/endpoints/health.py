"""The health endpoints: whether the process is alive, and whether it can take requests."""

from __future__ import annotations

from typing import TYPE_CHECKING

from quart import Blueprint, Response

if TYPE_CHECKING:
    from exporter.ingest.intake import Intake

NOT_LOADED = "The state is still being loaded.\n"


class Health:
    """Tells whether the process is alive, and whether it can take requests."""

    def __init__(self, intake: Intake) -> None:
        self.stopping = False
        """Whether the exporter has begun to stop; it is not ready from then on."""
        self._intake = intake

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the two endpoints below ``prefix``."""
        blueprint = Blueprint("health", __name__, url_prefix=prefix or None)
        blueprint.add_url_rule("/-/healthy", "healthy", self._healthy)
        blueprint.add_url_rule("/-/ready", "ready", self._ready)
        return blueprint

    async def _healthy(self) -> Response:
        return Response("esim-exporter is healthy.\n", mimetype="text/plain")

    async def _ready(self) -> Response:
        if self.stopping:
            return Response("esim-exporter is stopping.\n", 503, mimetype="text/plain")
        if self._intake.state is None:
            return Response(NOT_LOADED, 503, mimetype="text/plain")
        return Response("esim-exporter is ready.\n", mimetype="text/plain")
