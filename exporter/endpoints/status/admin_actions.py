"""What the pages let people change, where ``--web.enable-admin-api`` allows it.

Forms are sent from our own pages only: see :mod:`exporter.http.csrf`. What was done is told on
the page that comes next, by a word that stands for a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar

from werkzeug.exceptions import BadRequest, Forbidden, NotFound, ServiceUnavailable

from exporter.endpoints.status.formatting import visible
from exporter.endpoints.status.request_input import read_form
from exporter.errors import EventError, Missing, Overloaded, StorageUnavailable
from exporter.http.application import RETRY_AFTER
from exporter.model.merge import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from quart import Blueprint, Response

    from exporter.endpoints.status.page_rendering import Pages
    from exporter.ingest.commands import AdminCommands
    from exporter.ingest.intake import Intake
    from exporter.ingest.rejected_deliveries import RejectedDelivery

T = TypeVar("T")

DONE: Final = {
    "deleted": "The eSIM was deleted.",
    "dropped": "The rejected delivery was dropped.",
    **{result.value: f"The delivery was replayed: {result.value}." for result in Result},
}
"""What is told of what was done, by the word for it."""

_OFF = "Set --web.enable-admin-api to allow this."


class Actions:
    """Pages and forms of the administration, which is ``None`` where it is not allowed."""

    def __init__(self, pages: Pages, intake: Intake, administration: AdminCommands | None) -> None:
        self._pages = pages
        self._intake = intake
        self._administration = administration

    @property
    def allowed(self) -> bool:
        """Return whether there are any."""
        return self._administration is not None

    def add_to(self, blueprint: Blueprint) -> None:
        """Add the routes."""
        esim, rejection = "/esims/<vendor>/<identifier:esim_id>", "/rejected/<digest>"
        blueprint.add_url_rule(esim, "change_esim", self._change_esim, methods=["POST"])
        blueprint.add_url_rule(rejection, "rejection", self._rejection)
        blueprint.add_url_rule(rejection, "change_rejection", self._change, methods=["POST"])

    async def _change_esim(self, vendor: str, esim_id: str) -> Response:
        administration = self._allowed()
        await _asked("delete")
        await _done(administration.delete_esim((vendor, esim_id)))
        return self._pages.redirect(self._pages.links.page("/esims", done="deleted"))

    async def _rejection(self, digest: str) -> Response:
        self._allowed()
        return self._show(self._kept(digest))

    async def _change(self, digest: str) -> Response:
        administration = self._allowed()
        if await _asked("replay", "drop") == "drop":
            await _done(administration.drop(digest))
            return self._pages.redirect(self._pages.links.page("/rejected", done="dropped"))
        try:
            result = await _done(administration.replay(digest))
        except EventError as error:
            return self._show(self._kept(digest), str(error))
        return self._pages.redirect(self._pages.links.page("/rejected", done=result.value))

    def _show(self, rejection: RejectedDelivery, problem: str = "") -> Response:
        lines = rejection.body.decode(errors="replace").expandtabs(4).split("\n")
        return self._pages.answer(
            "rejection.html",
            422 if problem else 200,
            section="/rejected",
            rejection=rejection,
            body="\n".join(map(visible, lines)),
            problem=problem,
        )

    def _allowed(self) -> AdminCommands:
        if self._administration is None:
            raise Forbidden(_OFF)
        return self._administration

    def _kept(self, digest: str) -> RejectedDelivery:
        state = self._intake.state
        rejection = state.rejected.get(digest) if state else None
        if rejection is None:
            raise NotFound
        return rejection


async def _asked(*known: str) -> str:
    """Return what the button that was pressed stands for. Raises what is answered with 400."""
    action = (await read_form()).get("do", "")
    if action not in known:
        raise BadRequest(f"do is none of: {', '.join(known)}")
    return action


async def _done(change: Awaitable[T]) -> T:
    """Return the outcome of a change. Raises what is answered with 404 or 503."""
    try:
        return await change
    except Missing:
        raise NotFound from None
    except (StorageUnavailable, Overloaded):
        text = "The storage cannot do that now; nothing was changed."
        raise ServiceUnavailable(text, retry_after=RETRY_AFTER) from None
