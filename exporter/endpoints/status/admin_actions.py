"""The forms with which people change something, if ``--web.enable-admin-api`` is set.

After a change, the browser opens a page whose address holds a word such as ``deleted``. The page
shows the sentence for that word. ``exporter.http.csrf`` refuses forms of other sites.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, TypeVar
from urllib.parse import parse_qsl

from quart import request
from werkzeug.exceptions import (
    BadRequest,
    Forbidden,
    NotFound,
    RequestEntityTooLarge,
    RequestTimeout,
    ServiceUnavailable,
)

from exporter.endpoints.status.formatting import visible
from exporter.endpoints.status.loaded_state import loaded_state
from exporter.errors import EventError, Missing, Overloaded, StorageUnavailable
from exporter.http.timeouts import RETRY_AFTER
from exporter.model.merge import Result

if TYPE_CHECKING:
    from collections.abc import Awaitable, Mapping

    from quart import Blueprint, Response

    from exporter.endpoints.status.page_rendering import PageRenderer
    from exporter.ingest.admin_commands import AdminCommands
    from exporter.ingest.intake import Intake
    from exporter.ingest.rejected_deliveries import RejectedDelivery

T = TypeVar("T")

DONE: Final = {
    "deleted": "The eSIM was deleted.",
    "dropped": "The rejected delivery was dropped.",
    **{result.value: f"The delivery was replayed: {result.value}." for result in Result},
}
"""The sentence that a page shows after a change, by the word in its address."""

MAX_FORM = 4096
"""Bytes of a form; no form of ours is longer."""

_FORM_TIMEOUT = 5.0
"""Seconds within which a form must arrive."""

_OFF = "Set --web.enable-admin-api to allow this."


class AdminActions:
    """Pages and forms for changes. They answer 403 if there are no admin commands."""

    def __init__(
        self, renderer: PageRenderer, intake: Intake, administration: AdminCommands | None
    ) -> None:
        self._renderer = renderer
        self._intake = intake
        self._administration = administration

    @property
    def allowed(self) -> bool:
        """Return whether changes are allowed."""
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
        return self._renderer.redirect(self._renderer.links.page("/esims", done="deleted"))

    async def _rejection(self, digest: str) -> Response:
        self._allowed()
        return self._show(self._kept(digest))

    async def _change(self, digest: str) -> Response:
        administration = self._allowed()
        if await _asked("replay", "drop") == "drop":
            await _done(administration.drop(digest))
            return self._renderer.redirect(self._renderer.links.page("/rejected", done="dropped"))
        try:
            result = await _done(administration.replay(digest))
        except EventError as error:
            return self._show(self._kept(digest), str(error))
        return self._renderer.redirect(self._renderer.links.page("/rejected", done=result.value))

    def _show(self, rejection: RejectedDelivery, problem: str = "") -> Response:
        lines = rejection.body.decode(errors="replace").expandtabs(4).split("\n")
        return self._renderer.answer(
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
        rejection = loaded_state(self._intake).rejected.get(digest)
        if rejection is None:
            raise NotFound
        return rejection


async def read_form() -> Mapping[str, str]:
    """Return the fields of the form that was sent. Of equal names, the last one counts.

    The body is read here with a limit of size and time, because the application sets none. Raises
    the HTTP errors 400, 408 and 413.
    """
    body = b""
    try:
        async with asyncio.timeout(_FORM_TIMEOUT):
            async for chunk in request.body:
                body += chunk
                if len(body) > MAX_FORM:
                    raise RequestEntityTooLarge
    except TimeoutError:
        raise RequestTimeout from None
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, errors="strict"))
    except ValueError:
        raise BadRequest from None


async def _asked(*known: str) -> str:
    """Return the action of the button that was pressed. Raises the HTTP error 400."""
    action = (await read_form()).get("do", "")
    if action not in known:
        raise BadRequest(f"do must be one of: {', '.join(known)}")
    return action


async def _done(change: Awaitable[T]) -> T:
    """Wait for a change and return its outcome. Raises the HTTP errors 404 and 503."""
    try:
        return await change
    except Missing:
        raise NotFound from None
    except (StorageUnavailable, Overloaded):
        text = "The change was not confirmed. Check whether it was made before you try again."
        raise ServiceUnavailable(text, retry_after=RETRY_AFTER) from None
