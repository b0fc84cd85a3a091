"""The API's endpoints: parameters in, data out, every refusal in the API's own form."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import islice
from typing import TYPE_CHECKING

from quart import Blueprint, Response, request
from werkzeug.exceptions import BadRequest, Forbidden, NotFound, ServiceUnavailable

from exporter.endpoints.api import shapes
from exporter.endpoints.api.endpoint_table import ENDPOINTS, ROOT
from exporter.endpoints.api.envelope import failure, success
from exporter.endpoints.api.exporter_status import exporter_status
from exporter.endpoints.api.openapi import document_text
from exporter.endpoints.api.query_parameters import read_all
from exporter.errors import EventError, InvalidEvent, Missing, Overloaded, StorageUnavailable
from exporter.http.application import RETRY_AFTER
from exporter.ingest.commands import NO_ESIM, NO_REJECTION
from exporter.query.cursors import UnknownCursor
from exporter.query.filters import EsimFilter
from exporter.query.sorting import Sorting

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from exporter.endpoints.api.endpoint_table import Endpoint
    from exporter.endpoints.api.exporter_status import ApiSources
    from exporter.ingest.commands import AdminCommands
    from exporter.ingest.committed_state import CommittedState
    from exporter.ingest.recent_deliveries import AnsweredDelivery
    from exporter.model.events import Status
    from exporter.model.records import EsimKey
    from exporter.query.sorting import SortKey, SortOrder

_DISABLED = "administration is off: set --web.enable-admin-api to allow this"
_LOADING = "the state is still being loaded"


class Api:
    """The JSON API."""

    def __init__(self, parts: ApiSources, administration: AdminCommands | None) -> None:
        """Without ``administration`` its endpoints refuse, and say how to allow them."""
        self._parts = parts
        self._administration = administration

    def blueprint(self, prefix: str) -> Blueprint:
        """Return the routes of all endpoints and of the document."""
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
            return success(await handle(**ids, **given))
        except Missing as error:
            raise NotFound(str(error)) from None
        except EventError as error:
            return failure(422, str(error), data={"errors": _problems(error)})
        except (StorageUnavailable, Overloaded) as error:
            raise ServiceUnavailable(str(error), retry_after=RETRY_AFTER) from None

    async def _status(self) -> shapes.ExporterStatus:
        return exporter_status(self._parts, self._state())

    async def _esims(
        self,
        *,
        vendor: str | None,
        prefix: str | None,
        reference_id: str | None,
        status: Status | None,
        package_id: str | None,
        min_data_used_share: float | None,
        over_limit: bool | None,
        sort: SortKey,
        order: SortOrder,
        after: str | None,
        limit: int,
    ) -> shapes.EsimList:
        wanted = EsimFilter(
            vendor=vendor,
            prefix=prefix or "",
            status=status,
            package_id=package_id,
            reference_id=reference_id,
            min_data_used_share=min_data_used_share,
            over_limit=over_limit,
        )
        try:
            page = await self._parts.queries.esims(
                self._state().fleet, wanted, Sorting(sort, order), after=after, limit=limit
            )
        except UnknownCursor as error:
            raise BadRequest(f"after: {error}") from None
        return shapes.EsimList([shapes.EsimItem.of(esim) for esim in page.esims], page.next)

    async def _esim(self, esim_id: str, *, vendor: str | None) -> shapes.EsimData:
        key = self._key(esim_id, vendor)
        esim = self._parts.queries.esim(self._state().fleet, key)
        if esim is None:
            raise NotFound(self._no_esim(*key))
        return shapes.EsimData.of(esim)

    async def _delete_esim(self, esim_id: str, *, vendor: str | None) -> shapes.Deleted:
        esim = await self._admin().delete_esim(self._key(esim_id, vendor))
        return shapes.Deleted(esim.vendor, esim.esim_id, len(esim.allowances))

    async def _packages(self) -> shapes.PackageList:
        packages = self._parts.queries.packages(self._state().fleet)
        return shapes.PackageList([shapes.PackageItem.of(package) async for package in packages])

    async def _events(
        self, *, vendor: str | None, esim_id: str | None, outcome: str | None, limit: int
    ) -> shapes.EventList:
        def wanted(delivery: AnsweredDelivery) -> bool:
            return (
                vendor in {None, delivery.vendor}
                and esim_id in {None, delivery.esim_id}
                and outcome in {None, delivery.outcome}
            )

        deliveries = self._parts.deliveries.newest(limit, wanted)
        return shapes.EventList([shapes.EventItem.of(delivery) for delivery in deliveries])

    async def _rejected(self, *, offset: int, limit: int) -> shapes.RejectedList:
        rejections = self._state().rejected
        newest = islice(reversed(list(rejections)), offset, offset + limit)
        items = [shapes.RejectedItem.of(rejection) for rejection in newest]
        return shapes.RejectedList(items, len(rejections))

    async def _rejection(self, rejected_id: str) -> shapes.RejectedData:
        rejection = self._state().rejected.get(rejected_id)
        if rejection is None:
            raise NotFound(NO_REJECTION)
        return shapes.RejectedData.of(rejection)

    async def _drop(self, rejected_id: str) -> shapes.Dropped:
        await self._admin().drop(rejected_id)
        return shapes.Dropped(rejected_id)

    async def _replay(self, rejected_id: str) -> shapes.Replayed:
        result = await self._admin().replay(rejected_id)
        return shapes.Replayed(rejected_id, result.value)

    async def _backup(self) -> shapes.BackupData:
        backup = await self._admin().back_up()
        return shapes.BackupData(str(backup.path), backup.size)

    def _admin(self) -> AdminCommands:
        if self._administration is None:
            raise Forbidden(_DISABLED)
        return self._administration

    def _state(self) -> CommittedState:
        state = self._parts.intake.state
        if state is None:
            raise ServiceUnavailable(_LOADING, retry_after=RETRY_AFTER)
        return state

    def _no_esim(self, *key: str) -> str:
        """Return what is said where an eSIM is not in memory; ``key`` ends with its id."""
        shard, (*vendors, esim_id) = self._state().fleet.shard, key
        if shard is None or any(shard.keeps(vendor, esim_id) for vendor in vendors):
            return NO_ESIM
        owners = sorted({shard.owner_of(vendor, esim_id) for vendor in vendors})
        return f"{NO_ESIM} here ({shard}); it may be in shard {' or '.join(map(str, owners))}"

    def _key(self, esim_id: str, vendor: str | None) -> EsimKey:
        if vendor:
            return vendor, esim_id
        vendors = self._parts.queries.vendors_of(self._state().fleet, esim_id)
        if not vendors:
            raise NotFound(self._no_esim(*self._state().fleet.totals.vendors, esim_id))
        if len(vendors) > 1:
            raise BadRequest(f"vendor: needed, there is such an eSIM of {' and of '.join(vendors)}")
        return vendors[0], esim_id


async def _openapi(prefix: str) -> Response:
    # When it is first asked for, and beside all else: it takes a tenth of a second.
    text = await asyncio.to_thread(document_text, prefix)
    return Response(text, content_type="application/json")


def _problems(error: EventError) -> list[shapes.Problem]:
    errors = error.errors if isinstance(error, InvalidEvent) else ()
    return [shapes.Problem(list(each.loc), each.msg) for each in errors]
