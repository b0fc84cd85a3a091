"""Changes of files are noticed."""

from __future__ import annotations

import asyncio
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import pytest
from running import WAIT

from exporter.app import reload

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


class Watched:
    """Files that are watched, and how often a change was noticed."""

    def __init__(self, *files: Path) -> None:
        self.files = list(files)
        self.noticed: asyncio.Queue[None] = asyncio.Queue()
        self.checks: asyncio.Queue[None] = asyncio.Queue()
        self.then: list[Path] | None = None
        """The files to watch after the next change."""

    def check(self) -> list[Path]:
        self.checks.put_nowait(None)
        return self.files

    def changed(self) -> None:
        self.files = self.then or self.files
        self.noticed.put_nowait(None)

    async def checked_twice(self) -> None:
        """Wait until all files were checked after this call."""
        while not self.checks.empty():
            self.checks.get_nowait()
        for _ in range(3):
            await self.checks.get()


@asynccontextmanager
async def watching(*files: Path) -> AsyncIterator[Watched]:
    watched = Watched(*files)
    task = asyncio.create_task(reload.watch(watched.check, watched.changed))
    async with asyncio.timeout(WAIT):
        await watched.checks.get()
        yield watched
    task.cancel()


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reload, "_PAUSE", 0.001)


async def test_a_file_that_is_written_replaced_or_removed_is_noticed_once(tmp_path: Path) -> None:
    path, other = tmp_path / "a", tmp_path / "b"
    path.write_text("1")
    async with watching(path) as watched:
        await watched.checked_twice()
        assert watched.noticed.empty()
        path.write_text("22")
        await watched.noticed.get()
        other.write_text("33")
        other.rename(path)
        await watched.noticed.get()
        path.unlink()
        await watched.noticed.get()
        path.write_text("4")
        await watched.noticed.get()
        await watched.checked_twice()
        assert watched.noticed.empty()


async def test_a_file_that_is_written_in_place_with_the_same_length_and_time_is_noticed(
    tmp_path: Path,
) -> None:
    path = tmp_path / "a"
    path.write_text("old")
    os.utime(path, (1, 1))
    async with watching(path) as watched:
        await watched.checked_twice()
        with path.open("r+") as file:
            file.write("new")
        os.utime(path, (1, 1))
        await watched.noticed.get()
        assert (path.stat().st_mtime, path.stat().st_size) == (1, 3)


async def test_a_change_may_change_which_files_are_watched(tmp_path: Path) -> None:
    old, new, missing = (tmp_path / name for name in ("old", "new", "missing"))
    old.write_text("1")
    new.write_text("1")
    async with watching(old) as watched:
        watched.then = [new, missing]
        old.write_text("22")
        await watched.noticed.get()
        await watched.checked_twice()
        assert watched.noticed.empty()  # other files to watch are not a change

        old.write_text("333")
        await watched.checked_twice()
        assert watched.noticed.empty()
        missing.write_text("1")
        await watched.noticed.get()
        new.write_text("22")
        await watched.noticed.get()
