"""Other processes that read and pack stored eSIMs at a start, where there are processors for them.

Each is this program once more, with a share of the rows, which it returns packed. They are begun
before the better part of the program is imported, which takes this process as long as they take.
Nothing depends on them: where one is lost, or finds something damaged, all is read again without
them.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import pickle  # what is read with it was written by this program
import subprocess
import sys
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.aggregates import Aggregates
from exporter.helper import SIZE, Job, encode, from_wire
from exporter.logs import fields
from exporter.packing import Help
from exporter.storage import DivisibleStorage, Table

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Iterator
    from typing import IO

    from exporter.expiry import Retention
    from exporter.helper import Sums
    from exporter.packing import Packed
    from exporter.restoration import Restoration
    from exporter.storage import Chunk, Division, Storage

    _Part = tuple[list[Packed], Sums]

log = logging.getLogger(__name__)

MOST = 4
"""More would wait for this process, which takes in what they return."""

FEW = 10_000
"""Rows that are packed here in the time that it takes to start a process."""

_PIPE = 1 << 20
"""Bytes that a process is ahead of this one, at most: the most that anybody may have."""

_LOST = "a process has ended too soon"

_QUOTA = Path("/sys/fs/cgroup/cpu.max")


async def load(
    storage: Storage, restoration: Restoration, help_: Awaitable[Help | None]
) -> AsyncIterator[Chunk]:
    """Return the chunks that are to be taken, after what others packed of them.

    ``help_`` is :func:`helped` with the same storage, begun before or now. Raises as
    :meth:`exporter.storage.Storage.load` does.
    """
    done = await help_
    if isinstance(storage, DivisibleStorage) and done and done.retention == restoration.retention:
        restoration.join(done)
        done.packed.clear()  # whoever began it may keep the result for as long as all runs
        return storage.load(but=Table.ESIM)
    return storage.load()


async def helped(
    storage: Storage, retention: Retention, vendors: tuple[str, ...], count: int | None = None
) -> Help | None:
    """Let others read and pack all eSIMs, before anything is committed.

    They are ``count`` processes, as many as is of use where it is not given. Returns ``None``
    where none are, or something is lost or damaged: all is to be read here. Raises as
    :meth:`exporter.storage.DivisibleStorage.division` does.
    """
    division = await storage.division() if isinstance(storage, DivisibleStorage) else None
    return await _helped(division, retention, vendors, count) if division else None


async def _helped(
    division: Division, retention: Retention, vendors: tuple[str, ...], count: int | None
) -> Help | None:
    if count is None:
        count = min(MOST, processors(), division.rows // FEW)
        if count == 1:  # it is here that there is time for it
            return None
    if not count:
        return None
    firsts = [division.rows * share // count for share in range(count + 1)]
    jobs = [
        Job(str(division.path), first, until - first, retention, vendors)
        for first, until in itertools.pairwise(firsts)
    ]
    try:
        parts = await _parts(jobs)
    except (OSError, EOFError) as error:
        log.warning("no help to load, it is done without", extra=fields(error=error))
        return None
    whole = Help(count, [], Aggregates(vendors), retention)
    rows = versions = 0
    for packed, (more, their_versions, totals) in parts:
        whole.packed.extend(packed)
        whole.totals.join(totals)
        rows, versions = rows + more, versions + their_versions
    if (rows, versions) != (division.rows, division.versions):
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


async def _parts(jobs: list[Job]) -> list[_Part]:
    """Let a process do each job, and return what it gives.

    Raises ``OSError`` where one cannot be begun, and ``EOFError`` where one is lost. None is left
    then, nor where it is cancelled.
    """
    with ExitStack() as stack:
        outs = [stack.enter_context(_begun(job)) for job in jobs]
        # In threads: to read such amounts in the event loop would take as long as to pack them.
        return await asyncio.gather(*[asyncio.to_thread(_part, out) for out in outs])


@contextmanager
def _begun(job: Job) -> Iterator[IO[bytes]]:
    """Begin a process that does a job; gives where its result is read."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "exporter.helper"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        pipesize=_PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},  # the same modules
        start_new_session=True,  # Ctrl-C is for this process alone
    ) as process:
        assert process.stdin
        assert process.stdout
        try:
            with suppress(BrokenPipeError), process.stdin as job_in:  # whoever reads notices
                job_in.write(encode(job))
            yield process.stdout
        except BaseException:
            process.kill()
            raise


def _part(out: IO[bytes]) -> _Part:
    """Return what a process gives. Raises ``EOFError`` where there is not all of it."""
    packed = []
    while content := _frame(out):
        packed.append(from_wire(content))
    sums: Sums = pickle.loads(_frame(out))  # noqa: S301  # see its import
    return packed, sums


def _frame(out: IO[bytes]) -> bytes:
    head = out.read(SIZE.size)
    if len(head) < SIZE.size:
        raise EOFError(_LOST)
    (size,) = SIZE.unpack(head)
    content = out.read(size)
    if len(content) < size:
        raise EOFError(_LOST)
    return content
