"""The pages that are read: overview, packages, eSIMs, search, deliveries, rejected."""

from __future__ import annotations

import asyncio
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound, ServiceUnavailable

from exporter.endpoints.status import overview
from exporter.endpoints.status.admin_actions import DONE
from exporter.endpoints.status.banners import notes
from exporter.endpoints.status.event_rate import STEP, EventRate
from exporter.endpoints.status.request_input import chosen, page_number, read_form
from exporter.http.application import RETRY_AFTER
from exporter.ingest.recent_deliveries import MAX_UNVERIFIED, MAX_VERIFIED
from exporter.model.records import STATUSES
from exporter.query.cursors import UnknownCursor
from exporter.query.filters import EsimFilter
from exporter.query.package_ranking import RANKINGS, ranked
from exporter.query.sorting import Sorting, SortKey, SortOrder
from exporter.query.summaries import package_summary

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from werkzeug.exceptions import HTTPException

    from exporter.endpoints.status.admin_actions import Actions
    from exporter.endpoints.status.overview import StatusSources
    from exporter.endpoints.status.page_rendering import Pages
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.committed_state import CommittedState
    from exporter.query.summaries import EsimSummary

KEPT = MAX_VERIFIED + MAX_UNVERIFIED
"""Deliveries that are remembered, at most."""

_SHORT = 15
"""Packages on the overview."""

_LONG = 50
"""Rows on the page of a list."""

_OFFERED = 200
"""Package ids that the browser offers to choose from."""

_ASKED = ("prefix", "reference_id", "status", "package_id", "used", "over_limit", "after")

_ERRORS = 5
"""Errors shown of one rejected delivery in the list."""

_SORTS = {
    "esim_id": ("eSIM id", Sorting()),
    "data_used_share": (
        "data used, most first",
        Sorting(SortKey.DATA_USED_SHARE, SortOrder.DESCENDING),
    ),
    "newest": ("last event, newest first", Sorting(SortKey.LAST_EVENT, SortOrder.DESCENDING)),
    "last_event": ("last event, oldest first", Sorting(SortKey.LAST_EVENT)),
}

_STATUSES = {"": None, **{status.value: status for status in STATUSES}}
_USED = {"": None, "75": 0.75, "90": 0.9, "100": 1.0}
_OVER = {"": None, "yes": True, "no": False}
_SHOWN = {"": "All", "refused": "Not answered with 200"}

_LOADING = "The state is still being loaded; try again in a moment."

_TITLES = {404: "There is no such page", 405: "That cannot be done here"}
_TEXTS = {
    404: "The address may be mistyped, or what it showed may have left the exporter.",
    405: "The address exists, but it is not for this.",
}


class StatusPages:
    """The pages. Times come from ``clock`` (unix seconds) and ``monotonic`` (seconds)."""

    def __init__(
        self,
        pages: Pages,
        parts: StatusSources,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        actions: Actions,
    ) -> None:
        self._pages = pages
        self._parts = parts
        self._queries = parts.queries
        self._deliveries = parts.deliveries
        self._clock = clock
        self._monotonic = monotonic
        self._actions = actions
        self._events = EventRate()
        self._started = monotonic()

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the routes."""
        blueprint = Blueprint("status", __name__, url_prefix=prefix or None)
        blueprint.add_url_rule("/", "overview", self._overview)
        blueprint.add_url_rule("/packages", "packages", self._packages)
        blueprint.add_url_rule("/esims", "esims", self._esims)
        blueprint.add_url_rule("/esims/<vendor>/<identifier:esim_id>", "esim", self._esim)
        blueprint.add_url_rule("/search", "search", self._search, methods=["GET", "POST"])
        blueprint.add_url_rule("/deliveries", "deliveries", self._recent)
        blueprint.add_url_rule("/rejected", "rejected", self._rejected)
        self._actions.add_to(blueprint)
        self._pages.add_files(blueprint)
        return blueprint

    async def watch(self) -> None:
        """Look at the counter of events, so that the overview can say how many come in."""
        prepared = False
        while True:
            self._events.note(self._up, overview.total(self._parts.metrics.events))
            await asyncio.sleep(STEP)
            if self._parts.intake.state and not prepared:  # a start need not wait for it
                await self._pages.prepare()
                prepared = True

    async def explain(self, error: HTTPException) -> Response:
        """Return a page in place of an error, for people with a browser."""
        code = error.code or 500
        text = _TEXTS.get(code) or error.description or error.name
        return self._pages.answer(
            "message.html", code, section="", title=_TITLES.get(code, error.name), text=text
        )

    @property
    def _up(self) -> float:
        """Return how many seconds the exporter has run."""
        return self._monotonic() - self._started

    async def _overview(self) -> Response:
        now = self._clock()
        condition = overview.condition(self._parts, now)
        state = self._parts.intake.state
        packages = await ranked(state.fleet, RANKINGS["esims"]) if state else []
        return self._pages.answer(
            "overview.html",
            section="/",
            loaded=state is not None,
            notes=notes(condition),
            figures=list(overview.figures(self._parts, condition, self._events, self._up)),
            statuses=overview.statuses(state.fleet) if state else (),
            packages=[package_summary(totals) for totals in packages[:_SHORT]],
            more_packages=len(packages) if len(packages) > _SHORT else 0,
            balances=condition.balances,
            settings=self._parts.settings(),
        )

    async def _packages(self) -> Response:
        state = self._state()
        text, sort = request.args.get("text", ""), chosen("sort", RANKINGS, "esims")
        packages = await ranked(state.fleet, RANKINGS[sort], text)
        window = self._window(packages, "/packages", text=text, sort=sort)
        window["rows"] = [package_summary(totals) for totals in window["rows"]]
        return self._pages.answer(
            "packages.html",
            section="/packages",
            text=text,
            sort=sort,
            sorts=[(name, ranking.label) for name, ranking in RANKINGS.items()],
            **window,
        )

    async def _esims(self) -> Response:
        fleet = self._state().fleet
        asked = {name: request.args.get(name, "") for name in _ASKED}
        asked["sort"] = chosen("sort", _SORTS, "esim_id")
        wanted = EsimFilter(
            prefix=asked["prefix"],
            status=_STATUSES[chosen("status", _STATUSES, "")],
            package_id=asked["package_id"] or None,
            reference_id=asked["reference_id"] or None,
            min_data_used_share=_USED[chosen("used", _USED, "")],
            over_limit=_OVER[chosen("over_limit", _OVER, "")],
        )
        sorting = _SORTS[asked["sort"]][1]
        after = asked.pop("after")
        try:
            found = await self._queries.esims(
                fleet, wanted, sorting, after=after or None, limit=_LONG
            )
        except UnknownCursor as error:
            raise BadRequest(str(error)) from None
        link = partial(self._pages.links.page, "/esims", **asked)
        return self._pages.answer(
            "esims.html",
            section="/esims",
            asked={**asked, "after": after},
            done=_done(),
            esims=found.esims,
            filtered=wanted != EsimFilter(),
            total=_known_total(fleet, wanted),
            all_statuses=STATUSES,
            package_ids=self._package_ids(fleet),
            sorts=[(name, label) for name, (label, _) in _SORTS.items()],
            first=link() if after else "",
            next=link(after=found.next) if found.next else "",
        )

    async def _esim(self, vendor: str, esim_id: str) -> Response:
        state = self._state()
        esim = self._queries.esim(state.fleet, (vendor, esim_id))
        if esim is None:
            raise NotFound
        return self._pages.answer(
            "esim.html",
            section="/esims",
            esim=esim,
            deliveries=self._deliveries.newest(
                _LONG, lambda d: (d.vendor, d.esim_id) == (vendor, esim_id)
            ),
            kept=KEPT,
            admin=self._actions.allowed,
        )

    async def _search(self) -> Response:
        """Search for what was sent, which may be an ICCID and so is in no address."""
        state = self._state()
        text = ""
        found: Sequence[EsimSummary] = ()
        if request.method == "POST":
            text = (await read_form()).get("text", "").strip()
            found = await self._queries.search(state.fleet, text, _LONG)
        if len(found) == 1:
            return self._pages.redirect(self._pages.links.esim(found[0].vendor, found[0].esim_id))
        return self._pages.answer(
            "search.html",
            section="",
            esims=found,
            full=len(found) == _LONG,
            searched=bool(text),
        )

    async def _recent(self) -> Response:
        show = chosen("show", _SHOWN, "")
        deliveries = self._deliveries.newest(KEPT, lambda d: not show or d.code != HTTPStatus.OK)
        return self._pages.answer(
            "deliveries.html",
            section="/deliveries",
            show=show,
            shown=_SHOWN,
            kept=KEPT,
            **self._window(deliveries, "/deliveries", show=show),
        )

    async def _rejected(self) -> Response:
        rejections = [*self._state().rejected]
        rejections.reverse()
        return self._pages.answer(
            "rejected.html",
            section="/rejected",
            admin=self._actions.allowed,
            done=_done(),
            most_errors=_ERRORS,
            **self._window(rejections, "/rejected"),
        )

    def _state(self) -> CommittedState:
        """Return the state. Raises what is answered with 503 until it is loaded."""
        state = self._parts.intake.state
        if state is None:
            raise ServiceUnavailable(_LOADING, retry_after=RETRY_AFTER)
        return state

    def _window(self, rows: Sequence[object], path: str, **query: str) -> dict[str, Any]:
        """Return what a template needs of a list of which one page is shown."""
        page = page_number()
        start = (page - 1) * _LONG
        link = partial(self._pages.links.page, path, **query)
        return {
            "rows": rows[start : start + _LONG],
            "first": start + 1,
            "total": len(rows),
            "previous": link(page=page - 1) if page > 1 else "",
            "next": link(page=page + 1) if start + _LONG < len(rows) else "",
        }

    def _package_ids(self, fleet: Fleet) -> list[str]:
        """Return ids that the browser may offer to choose from."""
        return sorted({totals.key[1] for totals in islice(fleet.totals.packages, _OFFERED)})


def _done() -> str:
    """Return what is told of what was just done, if anything was."""
    return DONE.get(request.args.get("done", ""), "")


def _known_total(fleet: Fleet, wanted: EsimFilter) -> int | None:
    """Return how many eSIMs fit, where that is known without looking at all of them."""
    if wanted == EsimFilter():
        return len(fleet.esims) + len(fleet.over_cap)
    if wanted.status and wanted == EsimFilter(status=wanted.status):
        return sum(vendor.statuses[wanted.status] for vendor in fleet.totals.vendors.values())
    return None
