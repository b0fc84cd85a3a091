"""A process that reads and packs a share of the stored eSIMs for another.

It is begun by :mod:`exporter.helpers`, and imports little, so that it is at work soon.
"""

from __future__ import annotations

import gc
import os
import pickle
import sqlite3
import struct
import sys
from array import array
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from exporter.aggregates import Aggregates
from exporter.blocks import Block
from exporter.errors import StorageDamaged
from exporter.expiry import Retention  # noqa: TC001  # a job is read by these types
from exporter.packing import Packed, Packer
from exporter.shelf import Shelf
from exporter.storage.division import read_share

if TYPE_CHECKING:
    from typing import BinaryIO

SIZE = struct.Struct(">I")
"""How many bytes follow. None say that only the :data:`Sums` are to come."""


class Job(NamedTuple):
    """What a process has to do."""

    path: str
    first: int
    """Place of the first row, in the order of keys."""
    rows: int
    retention: Retention
    vendors: tuple[str, ...]


Sums = tuple[int, int, Aggregates]
"""How many rows there were, their versions added up, and the sums over their eSIMs; pickled."""

_Wire = tuple[list[tuple[list[bytes], bytes, bytes, float]], bytes, bool]
"""What :class:`Packed` is on its way: keys, records, their sizes and when something is due of
each block; places of admission; whether all have series."""

encode = msgspec.msgpack.Encoder().encode
_wire = msgspec.msgpack.Decoder(_Wire).decode
_job = msgspec.msgpack.Decoder(Job).decode


def from_wire(content: bytes) -> Packed:
    """Return what :func:`_to_wire` put on its way."""
    blocks, admitted, tracked = _wire(content)
    return Packed(
        [
            Block(keys, Shelf.joined(records, array("I", sizes)), due)
            for keys, records, sizes, due in blocks
        ],
        array("Q", admitted),
        tracked,
    )


def _to_wire(packed: Packed) -> bytes:
    blocks = []
    for block in packed.blocks:
        assert isinstance(block.records, Shelf)
        records, sizes = block.records.parts()
        blocks.append((block.keys, records, sizes.tobytes(), block.due))
    return encode((blocks, packed.admitted.tobytes(), packed.tracked))


def help_out(job: Job, out: BinaryIO) -> None:
    """Do a job, and return what it gives to the other process.

    Raises ``StorageDamaged`` and ``sqlite3.Error`` where it cannot be done, ``OSError`` where
    nobody waits for it any more.
    """

    def send(content: bytes) -> None:
        out.write(SIZE.pack(len(content)))
        out.write(content)

    packer = Packer(job.retention.deadline, Aggregates(job.vendors))
    count = versions = 0
    for rows in read_share(Path(job.path), job.first, job.rows):
        send(_to_wire(packer.pack(rows)))
        count += len(rows)
        versions += sum([row.version for row in rows])
    send(b"")
    sums: Sums = (count, versions, packer.totals)
    send(pickle.dumps(sums))
    out.flush()


if __name__ == "__main__":
    gc.disable()
    status = 1
    # The other process reads it again and says what is wrong, where it is still there.
    with suppress(StorageDamaged, sqlite3.Error, OSError, msgspec.DecodeError):
        help_out(_job(sys.stdin.buffer.read()), sys.stdout.buffer)
        status = 0
    os._exit(status)  # somebody waits for it
