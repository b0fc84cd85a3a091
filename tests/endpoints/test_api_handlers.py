"""The API in states that a running server rarely has: not loaded, or with a failing storage."""

from __future__ import annotations

from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from generated_events import START
from memory_storage import MemoryStorage
from running import USAGE
from working_intake import Room, at_work

from exporter.endpoints.api.endpoint_table import ENDPOINTS, ROOT
from exporter.endpoints.api.handlers import Api, explained
from exporter.endpoints.webhook import Access, Webhook
from exporter.exposition.families import InfoLabels
from exporter.http.quart_application import application
from exporter.ingest.admin_commands import AdminCommands
from exporter.ingest.recent_deliveries import RecentDeliveries
from exporter.model.events import Snapshot, UsageEvent
from exporter.query.fleet_queries import FleetQueries
from exporter.vendors import roamify

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quart.typing import TestClientProtocol

ESIM = "c2a9cdae-430e-4251-bf65-a84df4562ed9"
"""The eSIM of the sample event."""


def client_of(room: Room) -> TestClientProtocol:
    def clock() -> float:
        return room.now

    api = Api(
        room.intake,
        room.storage,
        FleetQueries(InfoLabels()),
        RecentDeliveries(clock),
        administration=AdminCommands(room.intake, {}, Path("nowhere"), clock),
        clock=clock,
    )
    app = application(
        "test", [api.blueprint("")], room.metrics, json_errors=False, errors_below={ROOT: explained}
    )
    return app.test_client()


@asynccontextmanager
async def served() -> AsyncIterator[tuple[TestClientProtocol, Room, MemoryStorage]]:
    storage = MemoryStorage()
    async with at_work(storage) as room:
        for vendor, esim_id in (("roamify", "e"), ("other-vendor", "e"), ("roamify", "alone")):
            await room.submit(UsageEvent(vendor, START, esim_id, "p", Snapshot()))
        yield client_of(room), room, storage


async def asked(client: TestClientProtocol, method: str, path: str) -> tuple[int, Any]:
    response = await getattr(client, method.lower())(ROOT + path)
    return response.status_code, await response.get_json()


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
async def test_nothing_is_answered_before_the_state_is_loaded(endpoint: Any) -> None:
    code, answer = await asked(client_of(Room(MemoryStorage())), endpoint.method, endpoint.path)

    if endpoint.name == "events":  # recent deliveries are in memory, not in the state
        assert (code, answer["data"]) == (200, {"events": []})
    else:
        assert (code, answer["errorType"]) == (503, "unavailable")
        assert "loaded" in answer["error"]


async def test_a_temporary_refusal_says_when_to_try_again() -> None:
    client = client_of(Room(MemoryStorage()))

    assert (await client.get(f"{ROOT}/status")).headers["Retry-After"] == "5"


@pytest.mark.parametrize("method", ["GET", "DELETE"])
async def test_the_vendor_must_be_given_if_several_have_the_id(method: str) -> None:
    async with served() as (client, _, _):
        code, answer = await asked(client, method, "/esims/e")
        assert (code, answer["errorType"]) == (400, "bad_data")
        assert answer["error"].startswith("vendor: needed")

        code, answer = await asked(client, method, "/esims/e?vendor=roamify")
        assert code == 200
        assert (await asked(client, method, "/esims/alone"))[0] == 200
        code, _ = await asked(client, "GET", "/esims/e?vendor=other-vendor")
        assert code == 200


async def test_nothing_is_deleted_if_it_cannot_be_stored() -> None:
    async with served() as (client, room, storage):
        storage.broken = True
        code, answer = await asked(client, "DELETE", "/esims/alone")

        assert (code, answer["errorType"]) == (503, "unavailable")
        assert room.state.fleet.esim(("roamify", "alone"))
        status = (await asked(client, "GET", "/status"))[1]["data"]
        assert not status["storage"]["working"]


async def test_a_vendor_without_deliveries_has_no_time_of_the_last_one() -> None:
    storage = MemoryStorage()
    async with at_work(storage) as room:
        status = (await asked(client_of(room), "GET", "/status"))[1]["data"]

    assert {vendor["last_received"] for vendor in status["vendors"]} == {None}


async def test_a_delivery_that_could_not_be_stored_is_listed_with_its_esim() -> None:
    async def body() -> AsyncIterator[bytes]:
        yield USAGE

    storage = MemoryStorage()
    async with at_work(storage) as room:
        deliveries = RecentDeliveries(lambda: room.now)
        vendor = roamify.ROAMIFY
        webhook = Webhook(
            vendor,
            Access((), 65536, 5),
            room.intake,
            room.metrics,
            lambda: room.now,
            deliveries=deliveries,
        )
        storage.broken = True
        assert (await webhook.answer((), body())).code == 503

    (delivery,) = deliveries.newest(9)
    assert (delivery.code, delivery.outcome) == (503, "storage")
    assert (delivery.event_type, delivery.esim_id) == ("usage", ESIM)
