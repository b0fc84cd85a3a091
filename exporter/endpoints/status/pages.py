"""The handlers of the pages: overview, packages, eSIMs, search, deliveries, rejected."""

from __future__ import annotations

import asyncio
import re
from functools import partial
from http import HTTPStatus
from itertools import islice
from typing import TYPE_CHECKING, Any

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, NotFound

from exporter.endpoints.query_parameters import check_names
from exporter.endpoints.status import overview
from exporter.endpoints.status.admin_actions import DONE, read_form
from exporter.endpoints.status.banners import banners
from exporter.endpoints.status.esim_list_form import CHOICES, SORTS, EsimListForm, chosen
from exporter.endpoints.status.loaded_state import loaded_state
from exporter.endpoints.status.overview import STEP, EventRate
from exporter.ingest.recent_deliveries import MAX_UNVERIFIED, MAX_VERIFIED
from exporter.query.fleet_queries import RANKINGS, ranked
from exporter.query.list_options import EsimFilter, UnknownCursor
from exporter.query.shown_values import PackageItem

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

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

_OUT_ON_OVERVIEW = 10
"""Most eSIMs out of data in the list of the overview."""

_SOON_ON_OVERVIEW = 5
"""Most eSIMs about to run out in the list of the overview."""

_PAGE_SIZE = 50
"""Most rows on one page of a list."""

_SUGGESTED_PACKAGES = 200
"""Most package ids that the browser suggests in the form."""

_ERRORS_SHOWN = 5
"""Most errors shown for one rejected delivery in the list."""

_SHOWN = {"": "All", "refused": "Refused (not answered with 200)"}

_NUMBER = re.compile("[1-9][0-9]{0,8}")

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
        return self._renderer.answer(
            "overview.html",
            section="/",
            banners=banners(condition),
            figures=list(overview.figures(self._sources, condition, self._events, self._up)),
            balances=condition.balances,
            awaited=overview.awaited(self._sources.vendors),
            settings=self._sources.settings(),
            **await self._fleet_overview(state.fleet if state else None),
        )

    async def _fleet_overview(self, fleet: Fleet | None) -> dict[str, Any]:
        """Return what the overview shows of the fleet."""
        if fleet is None:
            return {"loaded": False}
        packages = await ranked(fleet, RANKINGS["urgency"])
        queries, attention = self._sources.queries, fleet.attention
        return {
            "loaded": True,
            "out_of_data": len(attention.out_of_data),
            "newest_out": queries.newest_out_of_data(fleet, _OUT_ON_OVERVIEW),
            "soon": None if (soon := attention.about_to_run_out) is None else len(soon),
            "newest_soon": queries.newest_about_to_run_out(fleet, _SOON_ON_OVERVIEW),
            "package_name": fleet.package_name,
            "statuses": overview.statuses(fleet),
            "packages": [PackageItem.of(totals) for totals in packages[:_PACKAGES_ON_OVERVIEW]],
            "more_packages": len(packages) if len(packages) > _PACKAGES_ON_OVERVIEW else 0,
        }

    async def _packages(self) -> Response:
        check_names(request.args, ("text", "sort", "page"))
        state = self._state()
        text, sort = request.args.get("text", ""), request.args.get("sort", "urgency")
        packages = await ranked(state.fleet, chosen("sort", sort, RANKINGS), text)
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
        form = EsimListForm.read(request.args)
        after = request.args.get("after", "")
        try:
            found = await self._sources.queries.esims(
                fleet, form.conditions, form.sorting, after=after or None, limit=_PAGE_SIZE
            )
        except UnknownCursor as error:
            raise BadRequest(str(error)) from None
        link = partial(self._renderer.links.page, "/esims", **form.asked)
        return self._renderer.answer(
            "esims.html",
            section="/esims",
            asked=form.asked,
            after=after,
            done=_done(),
            esims=found.esims,
            package_name=fleet.package_name,
            filtered=form.conditions != EsimFilter(),
            total=_known_total(fleet, form.conditions),
            choices=CHOICES,
            sorts=SORTS,
            package_ids=self._package_ids(fleet),
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
            package_name=state.fleet.package_name,
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
            package_name=state.fleet.package_name,
            full=len(found) == _PAGE_SIZE,
            searched=bool(text),
        )

    async def _recent(self) -> Response:
        check_names(request.args, ("show", "page"))
        show = request.args.get("show", "")
        chosen("show", show, _SHOWN)
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
        check_names(request.args, ("page", "done"))
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
        return loaded_state(self._sources.intake)

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
    if wanted == EsimFilter(out_of_data=True):
        return len(fleet.attention.out_of_data)
    if wanted.status and wanted == EsimFilter(status=wanted.status):
        return sum(vendor.statuses[wanted.status] for vendor in fleet.totals.vendors.values())
    return None


def _page_number() -> int:
    """Return the requested page of a list, counted from 1. Raises the HTTP error 400."""
    text = request.args.get("page", "1")
    if not _NUMBER.fullmatch(text):
        raise BadRequest("page must be a number from 1 on")
    return int(text)
