"""A bare Quart endpoint on Hypercorn that parses JSON and forgets it: the peer of S7.

``python -m benchmarks.bare PORT``. It runs on the same event loop as the exporter.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from hypercorn.asyncio import serve
from hypercorn.config import Config
from quart import Quart, request

app = Quart("bare")


@app.get("/")
async def ready() -> str:
    """Answer the question whether the endpoint is ready."""
    return ""


@app.post("/webhooks/roamify")
async def receive() -> dict[str, Any]:
    """Parse a delivery. It is not verified and not kept."""
    await request.get_json()
    return {"code": 200, "status": "success"}


def main() -> None:
    """Serve on the loopback address until the process is ended."""
    import uvloop  # noqa: PLC0415  # for this process only

    config = Config()
    config.bind = [f"127.0.0.1:{sys.argv[1]}"]
    config.keep_alive_max_requests = 1_000_000
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(app, config))


if __name__ == "__main__":
    main()
