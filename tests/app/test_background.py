"""Work in the background: one that fails says so, and nothing else ends with it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from exporter.app.background import in_background

if TYPE_CHECKING:
    import pytest


async def _fail() -> None:
    raise LookupError("8900000000000000000")


async def test_work_that_fails_is_told_without_its_words_and_ends_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    forever = asyncio.Event()
    failing, other = in_background(_fail(), forever.wait())  # type: ignore[arg-type]
    await asyncio.wait([failing])
    await asyncio.sleep(0)

    assert not other.done()
    other.cancel()
    await asyncio.wait([other])
    await asyncio.sleep(0)
    (record,) = caplog.records
    assert record.getMessage() == "work in the background ended"
    told = str(record.__dict__["fields"])
    assert "LookupError" in told
    assert "test_background.py" in told
    assert "89000" not in told
