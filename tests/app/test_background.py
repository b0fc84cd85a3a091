"""Background tasks: a failure is logged, and the other tasks go on."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.app.run import start_in_background

if TYPE_CHECKING:
    import pytest


async def _fail() -> None:
    raise LookupError("8900000000000000000")


async def test_a_task_that_fails_is_logged_without_its_message_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forever = asyncio.Event()
    failing, other = start_in_background(_fail(), forever.wait())  # type: ignore[arg-type]
    await asyncio.wait([failing])
    await asyncio.sleep(0)

    assert not other.done()
    other.cancel()
    await asyncio.wait([other])
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == "background task failed"
    logged = str(record.__dict__["fields"])
    assert "LookupError" in logged
    assert "test_background.py" in logged
    assert "89000" not in logged
