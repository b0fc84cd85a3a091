"""What is answered while a large fleet is rendered after a start, and while much changes."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from memory_storage import MemoryStorage
from quart import Quart
from running_fleet import RunningFleet, usage
from working_intake import Room, at_work, until

from exporter.app.run import keep_rendered
from exporter.endpoints.metrics import MetricsEndpoint
from exporter.exposition.family_texts import LITTLE
from exporter.fleet.blocks import FULL

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from quart.typing import TestClientProtocol

ESIMS = FULL * (LITTLE + 8)


@asynccontextmanager
async def started() -> AsyncIterator[tuple[Room, TestClientProtocol]]:
    """Start with a large fleet in storage. Nothing is rendered in the background yet."""
    storage = MemoryStorage()
    RunningFleet(storage=storage).take(*[usage(f"{number:05}") for number in range(ESIMS)])
    async with at_work(storage) as room:
        endpoint = MetricsEndpoint(
            *(room.intake, room.metrics, lambda: room.now), max_scrapes=0, timeout=60
        )
        application = Quart(__name__)
        application.register_blueprint(endpoint.blueprint("", "/metrics"))
        yield room, application.test_client()


async def test_single_esims_are_refused_until_all_are_rendered_and_pages_do_not_wait() -> None:
    async with started() as (room, client):
        for query in ("collect[]=esims", ""):
            refused = await client.get(f"/metrics?{query}")
            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "5"
            assert "still being rendered after the start" in await refused.get_data(as_text=True)
        for group in ("attention", "fleet", "exporter"):
            assert (await client.get(f"/metrics?collect[]={group}")).status_code == 200
        assert [str(each) for each in await room.outcomes(room.submit(usage("00000", 1)))]

        background = asyncio.create_task(keep_rendered(room.intake))
        await until(room.state.exposition.ready)
        shown = await client.get("/metrics?collect[]=esims")
        background.cancel()
        assert shown.status_code == 200
        assert (await shown.get_data(as_text=True)).count("\nesim_status{") == ESIMS


async def test_changes_are_rendered_in_the_background_and_a_scrape_does_not_wait_for_them() -> None:
    async with started() as (room, client):
        background = asyncio.create_task(keep_rendered(room.intake))
        exposition = room.state.exposition
        await until(exposition.ready)
        tasks = [room.submit(usage(f"{number:05}", 7)) for number in range(0, ESIMS, FULL)]
        await asyncio.gather(*tasks)
        assert exposition.pending > LITTLE

        async def shown() -> int:
            scrape = await client.get("/metrics?collect[]=esims")
            text = await scrape.get_data(as_text=True)
            newest = max(
                float(line.rpartition(" ")[2])
                for line in text.splitlines()
                if line.startswith("esim_last_event_timestamp_seconds{")
            )
            return text.count(f" {newest:.0f}\n")

        assert await shown() > len(tasks), "the changes are not rendered yet"
        await until(lambda: exposition.pending == 0 and exposition.oldest is None)
        background.cancel()
        assert await shown() == len(tasks)
