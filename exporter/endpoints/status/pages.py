"""The handlers of the pages: overview, packages, eSIMs, search, deliveries, rejected."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound, ServiceUnavailable

from exporter.endpoints.status import overview
from exporter.endpoints.status.admin_actions import DONE, read_form
from exporter.endpoints.status.banners import banners
from exporter.endpoints.status.overview import STEP, EventRate
from exporter.http.timeouts import RETRY_AFTER
from exporter.ingest.recent_deliveries import MAX_UNVERIFIED, MAX_VERIFIED
from exporter.model.records import STATUSES
from exporter.query.fleet_queries import RANKINGS, ranked
from exporter.query.list_options import EsimFilter, Sorting, SortKey, SortOrder, UnknownCursor
from exporter.query.shown_values import PackageItem

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from werkzeug.exceptions import HTTPException

    from exporter.endpoints.status.admin_actions import AdminActions
    from exporter.endpoints.status.overview import StatusSources
    from exporter.endpoints.status.page_rendering import PageRenderer
    from exporter.fleet.fleet import Fleet
    from exporter.ingest.commit import CommittedState
    from exporter.query.shown_values import EsimItem

KEPT = MAX_VERIFIED + MAX_UNVERIFIED
"""Most deliveries that are kept in memory."""

_PACKAGES_ON_OVERVIEW = 15
"""Most packages in the short list of the overview."""

_PAGE_SIZE = 50
"""Most rows on one page of a list."""

_SUGGESTED_PACKAGES = 200
"""Most package ids that the browser suggests in the form."""

_ASKED = ("prefix", "reference_id", "status", "package_id", "used", "over_limit", "after")

_ERRORS_SHOWN = 5
"""Most errors shown for one rejected delivery in the list."""

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
_SHOWN = {"": "All", "refused": "Refused (not answered with 200)"}

_NUMBER = re.compile("[1-9][0-9]{0,8}")

_LOADING = "The state is still being loaded. Try again in a moment."

_TITLES = {404: "Page not found", 405: "Request not allowed"}
_TEXTS = {
    404: "The address may be wrong, or the exporter no longer has what this page showed.",
    405: "This page exists, but it does not accept this kind of request.",
}


class StatusPages:
    """The pages. ``clock`` returns unix seconds, ``monotonic`` seconds that never jump."""

    def __init__(
        self,
        renderer: PageRenderer,
        sources: StatusSources,
        clock: Callable[[], float],
        monotonic: Callable[[], float],
        actions: AdminActions,
    ) -> None:
        self._renderer = renderer
        self._sources = sources
        self._clock = clock
        self._monotonic = monotonic
        self._actions = actions
        self._events = EventRate()
        self._started = monotonic()

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the routes of all pages, below ``prefix``."""
        blueprint = Blueprint("status", __name__, url_prefix=prefix or None)
        blueprint.add_url_rule("/", "overview", self._overview)
        blueprint.add_url_rule("/packages", "packages", self._packages)
        blueprint.add_url_rule("/esims", "esims", self._esims)
        blueprint.add_url_rule("/esims/<vendor>/<identifier:esim_id>", "esim", self._esim)
        blueprint.add_url_rule("/search", "search", self._search, methods=["GET", "POST"])
        blueprint.add_url_rule("/deliveries", "deliveries", self._recent)
        blueprint.add_url_rule("/rejected", "rejected", self._rejected)
        self._actions.add_to(blueprint)
        self._renderer.add_files(blueprint)
        return blueprint

    async def watch(self) -> None:
        """Sample the counter of events for ever, so that the overview can show their rate."""
        prepared = False
        while True:
            self._events.add_sample(self._up, overview.total(self._sources.metrics.events))
            await asyncio.sleep(STEP)
            if self._sources.intake.state and not prepared:  # not earlier, to keep the start short
                await self._renderer.prepare()
                prepared = True

    async def explain(self, error: HTTPException) -> Response:
        """Return the page that shows an HTTP error to people with a browser."""
        code = error.code or 500
        text = _TEXTS.get(code) or error.description or error.name
        return self._renderer.answer(
            "message.html", code, section="", title=_TITLES.get(code, error.name), text=text
        )

    @property
    def _up(self) -> float:
        """Return the seconds since the exporter started."""
        return self._monotonic() - self._started

    async def _overview(self) -> Response:
        now = self._clock()
        condition = overview.condition(self._sources, now)
        state = self._sources.intake.state
        packages = await ranked(state.fleet, RANKINGS["esims"]) if state else []
        return self._renderer.answer(
            "overview.html",
            section="/",
            loaded=state is not None,
            banners=banners(condition),
            figures=list(overview.figures(self._sources, condition, self._events, self._up)),
            statuses=overview.statuses(state.fleet) if state else (),
            packages=[PackageItem.of(totals) for totals in packages[:_PACKAGES_ON_OVERVIEW]],
            more_packages=len(packages) if len(packages) > _PACKAGES_ON_OVERVIEW else 0,
            balances=condition.balances,
            settings=self._sources.settings(),
        )

    async def _packages(self) -> Response:
        state = self._state()
        text, sort = request.args.get("text", ""), _chosen("sort", RANKINGS, "esims")
        packages = await ranked(state.fleet, RANKINGS[sort], text)
        window = self._window(packages, "/packages", text=text, sort=sort)
        window["rows"] = [PackageItem.of(totals) for totals in window["rows"]]
        return self._renderer.answer(
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
        asked["sort"] = _chosen("sort", _SORTS, "esim_id")
        wanted = EsimFilter(
            prefix=asked["prefix"],
            status=_STATUSES[_chosen("status", _STATUSES, "")],
            package_id=asked["package_id"] or None,
            reference_id=asked["reference_id"] or None,
            min_data_used_share=_USED[_chosen("used", _USED, "")],
            over_limit=_OVER[_chosen("over_limit", _OVER, "")],
        )
        sorting = _SORTS[asked["sort"]][1]
        after = asked.pop("after")
        try:
            found = await self._sources.queries.esims(
                fleet, wanted, sorting, after=after or None, limit=_PAGE_SIZE
            )
        except UnknownCursor as error:
            raise BadRequest(str(error)) from None
        link = partial(self._renderer.links.page, "/esims", **asked)
        return self._renderer.answer(
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
        esim = self._sources.queries.esim(state.fleet, (vendor, esim_id))
        if esim is None:
            raise NotFound
        return self._renderer.answer(
            "esim.html",
            section="/esims",
            esim=esim.esim,
            detail=esim,
            deliveries=self._sources.deliveries.newest(
                _PAGE_SIZE, lambda d: (d.vendor, d.esim_id) == (vendor, esim_id)
            ),
            kept=KEPT,
            admin=self._actions.allowed,
        )

    async def _search(self) -> Response:
        """Search for a text from a form. It may be an ICCID, so it must not be in an address."""
        state = self._state()
        text = ""
        found: Sequence[EsimItem] = ()
        if request.method == "POST":
            text = (await read_form()).get("text", "").strip()
            found = await self._sources.queries.search(state.fleet, text, _PAGE_SIZE)
        if len(found) == 1:
            return self._renderer.redirect(
                self._renderer.links.esim(found[0].vendor, found[0].esim_id)
            )
        return self._renderer.answer(
            "search.html",
            section="",
            esims=found,
            full=len(found) == _PAGE_SIZE,
            searched=bool(text),
        )

    async def _recent(self) -> Response:
        show = _chosen("show", _SHOWN, "")
        deliveries = self._sources.deliveries.newest(
            KEPT, lambda d: not show or d.code != HTTPStatus.OK
        )
        return self._renderer.answer(
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
        return self._renderer.answer(
            "rejected.html",
            section="/rejected",
            admin=self._actions.allowed,
            done=_done(),
            most_errors=_ERRORS_SHOWN,
            **self._window(rejections, "/rejected"),
        )

    def _state(self) -> CommittedState:
        """Return the state. Raises the HTTP error 503 until it is loaded."""
        state = self._sources.intake.state
        if state is None:
            raise ServiceUnavailable(_LOADING, retry_after=RETRY_AFTER)
        return state

    def _window(self, rows: Sequence[object], path: str, **query: str) -> dict[str, Any]:
        """Return the values for a template that shows one page of a list."""
        page = _page_number()
        start = (page - 1) * _PAGE_SIZE
        link = partial(self._renderer.links.page, path, **query)
        return {
            "rows": rows[start : start + _PAGE_SIZE],
            "first": start + 1,
            "total": len(rows),
            "previous": link(page=page - 1) if page > 1 else "",
            "next": link(page=page + 1) if start + _PAGE_SIZE < len(rows) else "",
        }

    def _package_ids(self, fleet: Fleet) -> list[str]:
        """Return package ids that the browser can suggest."""
        return sorted(
            {totals.key[1] for totals in islice(fleet.totals.packages, _SUGGESTED_PACKAGES)}
        )


def _done() -> str:
    """Return the sentence about the change that was just made, empty if there was none."""
    return DONE.get(request.args.get("done", ""), "")


def _known_total(fleet: Fleet, wanted: EsimFilter) -> int | None:
    """Return how many eSIMs match, or ``None`` if counting would have to read all of them."""
    if wanted == EsimFilter():
        return len(fleet.esims) + len(fleet.over_cap)
    if wanted.status and wanted == EsimFilter(status=wanted.status):
        return sum(vendor.statuses[wanted.status] for vendor in fleet.totals.vendors.values())
    return None


def _chosen(name: str, among: Mapping[str, object], default: str) -> str:
    """Return the value of a parameter that must be one of a few. Raises the HTTP error 400."""
    value = request.args.get(name, default)
    if value not in among:
        raise BadRequest(f"{name} must be one of: {', '.join(filter(None, among))}")
    return value


def _page_number() -> int:
    """Return the requested page of a list, counted from 1. Raises the HTTP error 400."""
    text = request.args.get("page", "1")
    if not _NUMBER.fullmatch(text):
        raise BadRequest("page must be a number from 1 on")
    return int(text)
