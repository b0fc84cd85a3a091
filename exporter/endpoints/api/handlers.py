"""Handlers of the API's endpoints: parameters in, data out.

Every error has the form that the API documents.
"""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING, Any

import msgspec
from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, ServiceUnavailable

from exporter.endpoints.api.answers import (
    BackupData,
    Deleted,
    Dropped,
    EventItem,
    EventList,
    ExporterStatus,
    PackageList,
    Problem,
    RejectedData,
    RejectedItem,
    RejectedList,
    Replayed,
    StorageStatus,
)
from exporter.endpoints.api.endpoint_table import ENDPOINTS, ERROR_TYPES, ROOT
from exporter.endpoints.api.openapi import document_text
from exporter.endpoints.api.parameter_kinds import read_all
from exporter.errors import EventError, InvalidEvent, Missing, Overloaded, StorageUnavailable
from exporter.http.timeouts import RETRY_AFTER
from exporter.ingest.admin_commands import NO_ESIM, NO_REJECTED_DELIVERY
from exporter.query.list_options import EsimFilter, Sorting, UnknownCursor

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Mapping

    from werkzeug.exceptions import HTTPException

    from exporter.endpoints.api.endpoint_table import Endpoint
    from exporter.ingest.admin_commands import AdminCommands
    from exporter.ingest.commit import CommittedState
    from exporter.ingest.intake import Intake
    from exporter.ingest.recent_deliveries import AnsweredDelivery, RecentDeliveries
    from exporter.model.records import EsimKey
    from exporter.query.fleet_queries import FleetQueries
    from exporter.query.list_options import SortKey, SortOrder
    from exporter.query.shown_values import EsimData, EsimList
    from exporter.storage.contract import Storage

_DISABLED = "administration is off: set --web.enable-admin-api to allow this"
_LOADING = "the state is still being loaded"


class Api:
    """The JSON API."""

    def __init__(
        self,
        intake: Intake,
        storage: Storage,
        queries: FleetQueries,
        deliveries: RecentDeliveries,
        *,
        administration: AdminCommands | None,
        clock: Callable[[], float],
    ) -> None:
        """``clock`` returns unix seconds.

        If ``administration`` is ``None``, its endpoints answer 403 and name the flag to set.
        """
        self._intake = intake
        self._storage = storage
        self._queries = queries
        self._deliveries = deliveries
        self._administration = administration
        self._clock = clock
        self._started = clock()

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the routes of all endpoints and of the OpenAPI document, below ``prefix``."""
        blueprint = Blueprint("api", __name__, url_prefix=prefix or None)
        handlers: Mapping[str, Callable[..., Awaitable[object]]] = {
            "status": self._status,
            "esims": self._esims,
            "esim": self._esim,
            "delete_esim": self._delete_esim,
            "packages": self._packages,
            "events": self._events,
            "rejected": self._rejected,
            "rejection": self._rejection,
            "drop": self._drop,
            "replay": self._replay,
            "backup": self._backup,
        }
        for endpoint in ENDPOINTS:
            view = partial(self._serve, endpoint, handlers[endpoint.name])
            blueprint.add_url_rule(endpoint.route, endpoint.name, view, methods=[endpoint.method])
        view = partial(_openapi, prefix)
        blueprint.add_url_rule(f"{ROOT}/openapi.json", "openapi", view)
        return blueprint

    async def _serve(
        self, endpoint: Endpoint, handle: Callable[..., Awaitable[object]], **ids: str
    ) -> Response:
        if endpoint.admin:
            self._admin()
        given = read_all(request.args, endpoint.parameters)
        try:
            return _answer(200, {"status": "success", "data": await handle(**ids, **given)}, {})
        except Missing as error:
            raise NotFound(str(error)) from None
        except EventError as error:
            return _failure(422, str(error), data={"errors": _problems(error)})
        except (StorageUnavailable, Overloaded) as error:
            raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from None

    async def _status(self) -> ExporterStatus:
        state = self._state()
        sizes, replica = self._storage.sizes(), self._intake.replica
        storage = StorageStatus(
            working=not self._intake.failed,
            size_bytes=sizes.storage,
            wal_size_bytes=sizes.wal,
            damaged_rows=state.damage,
            lag_seconds=replica.lag if replica else None,
        )
        return ExporterStatus.of(state, storage, started=self._started, now=self._clock())

    async def _esims(
        self,
        *,
        prefix: str | None,
        sort: SortKey,
        order: SortOrder,
        after: str | None,
        limit: int,
        **conditions: Any,
    ) -> EsimList:
        # The other parameters have the names of the filter's fields.
        wanted = EsimFilter(prefix=prefix or "", **conditions)
        try:
            return await self._queries.esims(
                self._state().fleet, wanted, Sorting(sort, order), after=after, limit=limit
            )
        except UnknownCursor as error:
            raise BadRequest(f"after: {error}") from None

    async def _esim(self, esim_id: str, *, vendor: str | None) -> EsimData:
        key = self._key(esim_id, vendor)
        esim = self._queries.esim(self._state().fleet, key)
        if esim is None:
            raise NotFound(self._no_esim(esim_id, key[:1]))
        return esim

    async def _delete_esim(self, esim_id: str, *, vendor: str | None) -> Deleted:
        esim = await self._admin().delete_esim(self._key(esim_id, vendor))
        return Deleted(esim.vendor, esim.esim_id, len(esim.allowances))

    async def _packages(self) -> PackageList:
        return PackageList(await self._queries.packages(self._state().fleet))

    async def _events(
        self, *, vendor: str | None, esim_id: str | None, outcome: str | None, limit: int
    ) -> EventList:
        def wanted(delivery: AnsweredDelivery) -> bool:
            return (
                vendor in {None, delivery.vendor}
                and esim_id in {None, delivery.esim_id}
                and outcome in {None, delivery.outcome}
            )

        deliveries = self._deliveries.newest(limit, wanted)
        return EventList([EventItem.of(delivery) for delivery in deliveries])

    async def _rejected(self, *, offset: int, limit: int) -> RejectedList:
        rejections = self._state().rejected
        newest = islice(reversed(list(rejections)), offset, offset + limit)
        items = [RejectedItem.of(rejection) for rejection in newest]
        return RejectedList(items, len(rejections))

    async def _rejection(self, rejected_id: str) -> RejectedData:
        rejection = self._state().rejected.get(rejected_id)
        if rejection is None:
            raise NotFound(NO_REJECTED_DELIVERY)
        return RejectedData.of(rejection)

    async def _drop(self, rejected_id: str) -> Dropped:
        await self._admin().drop(rejected_id)
        return Dropped(rejected_id)

    async def _replay(self, rejected_id: str) -> Replayed:
        result = await self._admin().replay(rejected_id)
        return Replayed(rejected_id, result.value)

    async def _backup(self) -> BackupData:
        backup = await self._admin().back_up()
        return BackupData(str(backup.path), backup.size)

    def _admin(self) -> AdminCommands:
        if self._administration is None:
            raise Forbidden(_DISABLED)
        return self._administration

    def _state(self) -> CommittedState:
        state = self._intake.state
        if state is None:
            raise ServiceUnavailable(_LOADING, retry_after=RETRY_AFTER)
        return state

    def _no_esim(self, esim_id: str, vendors: Collection[str]) -> str:
        """Return the error text for an eSIM of one of these vendors that is not in memory."""
        shard = self._state().fleet.shard
        if shard is None or any(shard.keeps(vendor, esim_id) for vendor in vendors):
            return NO_ESIM
        owners = sorted({shard.owner_of(vendor, esim_id) for vendor in vendors})
        return f"{NO_ESIM} here ({shard}); it may be in shard {' or '.join(map(str, owners))}"

    def _key(self, esim_id: str, vendor: str | None) -> EsimKey:
        if vendor:
            return vendor, esim_id
        vendors = self._queries.vendors_of(self._state().fleet, esim_id)
        if not vendors:
            raise NotFound(self._no_esim(esim_id, self._state().fleet.totals.vendors))
        if len(vendors) > 1:
            raise BadRequest(f"vendor: needed, there is such an eSIM of {' and of '.join(vendors)}")
        return vendors[0], esim_id


def explained(error: HTTPException, headers: Mapping[str, str]) -> Response:
    """Return the answer to an HTTP error that was raised below the API's path."""
    specific = error.description if error.description != type(error).description else None
    return _failure(error.code or 500, specific or error.name.lower(), headers)


async def _openapi(prefix: str) -> Response:
    # Making the document takes a tenth of a second, so it is made on first use and in a thread.
    text = await asyncio.to_thread(document_text, prefix)
    return Response(text, content_type="application/json")


def _problems(error: EventError) -> list[Problem]:
    errors = error.errors if isinstance(error, InvalidEvent) else ()
    return [Problem(list(each.loc), each.msg) for each in errors]


def _failure(
    code: int, error: str, headers: Mapping[str, str] | None = None, data: object = None
) -> Response:
    """Return an error. ``data``, if there is any, holds details for programs."""
    document: dict[str, Any] = {"status": "error", "errorType": ERROR_TYPES.get(code, "internal")}
    document["error"] = error
    if data is not None:
        document["data"] = data
    return _answer(code, document, headers or {})


def _answer(code: int, document: object, headers: Mapping[str, str]) -> Response:
    sent = {"Cache-Control": "no-store", "X-Content-Type-Options": "nosniff", **headers}
    body = msgspec.json.encode(document) + b"\n"
    return Response(body, code, sent, content_type="application/json")
