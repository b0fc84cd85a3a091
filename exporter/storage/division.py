"""Reading a share of a SQLite file in another process, while nothing is written to it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from exporter.errors import StorageDamaged
from exporter.storage import Table
from exporter.storage.reading import CHUNK_ROWS, Tally
from exporter.storage.schema import SHAPES, describe

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.storage import Row


def read_share(path: Path, first: int, rows: int) -> Iterator[list[Row]]:
    """Yield eSIMs in the order of their keys, ``rows`` from the place ``first`` on, in chunks.

    The file is all there is: its log is empty. It belongs to a process that has locked it and
    does not write meanwhile, so that no lock is taken. Raises ``StorageDamaged`` for a row that
    does not match its checksum, and ``sqlite3.Error``.
    """
    shape = SHAPES[Table.ESIM]
    # Immutable: without a look at locks, and at a log that is not there.
    uri = f"{path.as_uri()}?immutable=1"
    with closing(sqlite3.connect(uri, uri=True, isolation_level=None)) as connection:
        connection.text_factory = bytes
        cursor = connection.execute(f"{shape.scan} LIMIT ? OFFSET ?", (rows, first))
        tally = Tally()
        while raws := cursor.fetchmany(CHUNK_ROWS):
            yield tally.esims(raws)
            for raw in tally.damaged:
                raise StorageDamaged(describe(shape, raw))
