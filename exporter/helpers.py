"""Other processes that read and pack stored eSIMs at a start, where there are processors for them.

Each is this program once more, with a share of the rows, which it returns packed. Nothing depends
on them: where one is lost, or finds something damaged, all is read again without them.
"""

from __future__ import annotations

import asyncio
import logging
import os
import pickle  # what is read with it was written by this program
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from exporter.aggregates import Aggregates
from exporter.helper import SIZE, Job, encode, from_wire

if TYPE_CHECKING:
    from exporter.expiry import Retention
    from exporter.helper import Sums
    from exporter.packing import Packed
    from exporter.storage import Division

log = logging.getLogger(__name__)

MOST = 4
"""More would wait for this process, which takes in what they return."""

FEW = 10_000
"""Rows that are packed here in the time that it takes to start a process."""

_BUFFER = 1 << 20
"""Bytes that are taken in before somebody looks at them; about a chunk."""

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


class Help(NamedTuple):
    """What others did."""

    processes: int
    packed: list[Packed]
    """In the order of keys."""
    totals: Aggregates
    rows: int
    versions: int
    """Of the rows, added up."""


async def pack_elsewhere(
    division: Division, retention: Retention, vendors: tuple[str, ...], count: int | None = None
) -> Help | None:
    """Let ``count`` others read and pack all eSIMs; as many as is of use where it is not given.

    Returns ``None`` where it is of none, or something is lost or damaged: they are to be read here.
    """
    if count is None:
        count = min(MOST, processors(), division.rows // FEW)
        if count == 1:  # it is here that there is time for it
            return None
    if not count:
        return None
    firsts = [division.rows * share // count for share in range(count)]
    untils = [*firsts[1:], division.rows]
    path = str(division.path)
    jobs = [
        Job(path, at, until - at, retention, vendors)
        for at, until in zip(firsts, untils, strict=True)
    ]
    parts = await asyncio.gather(*map(_done, jobs))
    whole = Help(count, [], Aggregates(vendors), 0, 0)
    for part in parts:
        if part is None:
            log.warning("a process that helps to load is lost, it is done without")
            return None
        whole.packed.extend(part.packed)
        whole.totals.join(part.totals)
        whole = whole._replace(rows=whole.rows + part.rows, versions=whole.versions + part.versions)
    if (whole.rows, whole.versions) != (division.rows, division.versions):
        return None  # whoever reads it here says what is damaged
    return whole


def processors(quota_file: Path = _QUOTA) -> int:
    """Return how many processors this process may use at once, as far as it is known.

    A container's limit is a share of their time, told in ``quota_file`` (cgroup v2, cpu.max).
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    try:
        quota, period = map(int, quota_file.read_text().split())
    except (OSError, ValueError):  # none is set, or there is no such file
        return count or 1
    return min(count or 1, max(1, quota // period))


async def _done(job: Job) -> Help | None:
    """Let a process do a job; ``None`` where it is lost."""
    try:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-P", "-m", "exporter.helper"),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_BUFFER,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},  # the same modules
            start_new_session=True,  # Ctrl-C is for this process alone
        )
    except OSError:
        return None
    assert process.stdin
    assert process.stdout
    packed = []
    try:
        process.stdin.write(encode(job))
        process.stdin.close()
        while content := await _received(process.stdout):
            packed.append(from_wire(content))
        sums: Sums = pickle.loads(await _received(process.stdout))  # noqa: S301  # see its import
    except (OSError, asyncio.IncompleteReadError):
        return None
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    rows, versions, totals = sums
    return Help(1, packed, totals, rows, versions)


async def _received(stream: asyncio.StreamReader) -> bytes:
    (size,) = SIZE.unpack(await stream.readexactly(SIZE.size))
    return await stream.readexactly(size)
