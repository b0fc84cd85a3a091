"""Everything that a storage holds, to compare it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.storage.contract import Key, Row, Storage


async def content(storage: Storage) -> tuple[list[Row], dict[Key, int]]:
    """Load everything, and check that nothing is damaged."""
    rows: list[Row] = []
    bases: dict[Key, int] = {}
    async for chunk in storage.load():
        assert chunk.damaged == ()
        rows += chunk.rows
        bases |= chunk.bases
    return rows, bases
