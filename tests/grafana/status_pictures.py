"""Takes pictures of the status page for the documentation: ``make status-screenshots``.

They show the same simulated fleet as the pictures of the dashboards, at the same moment. The clock
is simulated, so the pictures are the same each time.
"""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import simulated_exporter as simulated
from browsing import chromium
from filled_prometheus import ROOT

from exporter.endpoints.status import overview
from exporter.endpoints.status.overview import STEP
from exporter.http.connection_limit import ConnectionBounds
from exporter.http.listeners import listen, serve_until
from exporter.http.protection import ReloadableProtection
from exporter.settings.field_types import ListenAddress

if TYPE_CHECKING:
    from quart import Quart

    from exporter.app.build import Exporter
    from exporter.endpoints.status.pages import StatusPages

FOLDER = ROOT / "docs" / "screenshots"
END = simulated.END
PAGES = (
    ("status-light", "/", 1280, 1050, False),
    ("status-dark", f"/esims/roamify/{simulated.SHOWN_ESIM}", 1280, 1050, True),
    ("status-phone", "/", 360, 780, False),
)
"""Names, pages, widths and heights in pixels, and whether they are dark."""


async def main() -> None:
    logging.disable()
    clock = simulated.Clock()
    with tempfile.TemporaryDirectory() as folder:
        async with simulated._running(Path(folder), clock) as (exporter, pages, app):
            pages._monotonic = clock
            pages._started = simulated.START
            await fill(exporter, pages, app, clock)
            stop = asyncio.Event()
            listener = listen(
                "pictures",
                app,
                ListenAddress.parse("127.0.0.1:0"),
                ReloadableProtection(),
                ConnectionBounds(100, 75.0),
            )
            address = f"http://{listener.address}"
            server = asyncio.create_task(serve_until(stop, [listener]))
            await asyncio.to_thread(take, address)
            stop.set()
            await server


async def fill(exporter: Exporter, pages: StatusPages, app: Quart, clock: simulated.Clock) -> None:
    """Deliver all events until the end at their simulated times."""
    for delivery in simulated.deliveries():
        while clock.now < min(delivery.at, END):
            clock.now = min(clock.now + STEP, delivery.at, END)
            pages._events.add_sample(pages._up, overview.total(exporter.metrics.events))
        if delivery.at > END:
            return
        await simulated._settle(exporter)
        if delivery.at < simulated.START:
            continue
        if delivery.at not in simulated.SILENCE and delivery.at not in simulated.DOWN:
            await simulated._deliver(app, delivery)


def take(address: str) -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    with chromium() as browser:
        tab = browser.tab()
        for name, page, width, height, dark in PAGES:
            tab.look(width, height, dark=dark)
            tab.open(address + page)
            path = FOLDER / f"{name}.png"
            tab.picture(path, height)
            options = ("--strip", "--force", "--speed", "1", "--output", path)
            subprocess.run(["pngquant", *options, "256", path], check=True)
            sys.stdout.write(f"{path}: {path.stat().st_size} bytes\n")


if __name__ == "__main__":
    asyncio.run(main())
