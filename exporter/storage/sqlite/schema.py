"""How rows lie in the SQLite file, so that a person with ``sqlite3`` can read it.

Each kind of row has a table of its own: the parts of the key, a version, a checksum and
the data. The ``seal`` says how many rows each table holds and what their versions add up
to; it is kept up to date from the changes alone, so that rows that vanish or fall back to
an older state behind the exporter's back are noticed. ``damaged`` keeps what was found
damaged, ``probe`` is there to be written to.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from isal.isal_zlib import crc32

from exporter.storage.contract import Table

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.storage.contract import Key

APPLICATION_ID = int.from_bytes(b"eSIM", "big")
SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, eq=False)
class Shape:
    """A table of versioned rows: its name, the columns of its key, the one of its data.

    Where ``short`` is set, the last part of a key may be missing; it is then stored as ''.
    """

    name: str
    columns: tuple[str, ...]
    value: str = "data"
    short: bool = False
    framed: str = field(init=False)
    """The name, as it begins what is checksummed."""
    create: str = field(init=False)
    insert: str = field(init=False)
    update: str = field(init=False)
    delete: str = field(init=False)
    find: str = field(init=False)
    scan: str = field(init=False)
    discard: str = field(init=False)

    def __post_init__(self) -> None:
        name, value, keys = self.name, self.value, ", ".join(self.columns)
        here = " AND ".join(f"{column} = ?" for column in self.columns)
        raw = " AND ".join(f"{column} = CAST(? AS TEXT)" for column in self.columns)
        marks = ", ".join("?" for _ in self.columns)
        texts = ", ".join(f"{column} TEXT NOT NULL" for column in self.columns)
        # A single flipped bit turns text into a blob of the same bytes, which no key equals.
        sound = " AND ".join(f"typeof({column}) = 'text'" for column in self.columns)
        statements = {
            "framed": f"{len(name)}:{name}",
            "create": f"CREATE TABLE {name} ({texts}, version INTEGER NOT NULL, "
            f"crc INTEGER NOT NULL, {value} TEXT NOT NULL, PRIMARY KEY ({keys})) WITHOUT ROWID",
            "insert": f"INSERT INTO {name} ({keys}, version, crc, {value}) "  # noqa: S608  # names from below
            f"VALUES ({marks}, ?, ?, CAST(? AS TEXT)) ON CONFLICT DO NOTHING",
            "update": f"UPDATE {name} SET version = ?, crc = ?, {value} = CAST(? AS TEXT) "  # noqa: S608  # likewise
            f"WHERE {here} AND version = ?",
            "delete": f"DELETE FROM {name} WHERE {here} AND version = ?",  # noqa: S608  # likewise
            "find": f"SELECT {keys}, version, crc, {value}, {sound} FROM {name} WHERE {here}",  # noqa: S608  # likewise
            "scan": f"SELECT {keys}, version, crc, {value}, {sound} "  # noqa: S608  # likewise
            f"FROM {name} ORDER BY {keys}",
            # By its checksum too: the damaged key may be that of a good row.
            "discard": f"DELETE FROM {name} WHERE {raw} AND crc IS ?",  # noqa: S608  # likewise
        }
        for attribute, statement in statements.items():
            object.__setattr__(self, attribute, statement)

    def parts(self, key: Key) -> tuple[str, ...]:
        """Return what is stored in the columns of the key.

        Raises ``ValueError`` when the key has another number of parts than the table.
        """
        if len(key) == len(self.columns) and not (self.short and not key[-1]):
            return key
        if self.short and len(key) == len(self.columns) - 1:
            return (*key, "")
        raise ValueError(f"a key of table {self.name} cannot have the {len(key)} parts given")

    def key(self, parts: tuple[str, ...]) -> Key:
        """Return the key that is stored as ``parts``."""
        return parts[:-1] if self.short and not parts[-1] else parts


SHAPES = {
    Table.ESIM: Shape("esim", ("vendor", "esim_id")),
    Table.TOMBSTONE: Shape("tombstone", ("vendor", "esim_id", "package_id")),
    Table.PACKAGE: Shape("package", ("vendor", "package_id")),
    Table.PARTNER: Shape("partner", ("vendor", "subject", "event_type"), short=True),
    Table.FEED: Shape("feed", ("vendor",)),
    Table.REJECTED: Shape("rejected", ("digest",)),
}
BASES = Shape("bases", ("key",), value="amount")
"""The key is a JSON array, the amount a decimal number of any size."""

ALL = (*SHAPES.values(), BASES)

STATEMENTS = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
    *(shape.create for shape in ALL),
    "CREATE TABLE seal (name TEXT PRIMARY KEY, rows INTEGER, versions INTEGER) WITHOUT ROWID",
    *(f"INSERT INTO seal VALUES ('{shape.name}', 0, 0)" for shape in ALL),  # noqa: S608  # names from above
    "CREATE TABLE damaged (id INTEGER PRIMARY KEY, name TEXT NOT NULL, content TEXT NOT NULL)",
    "CREATE TABLE probe (id INTEGER PRIMARY KEY, writes INTEGER NOT NULL)",
)
"""What makes an empty file ours."""


def base_parts(key: Key) -> tuple[str, ...]:
    """Return what is stored in the column of the key of a base."""
    return (json.dumps(key, ensure_ascii=False, separators=(",", ":")),)


def base_key(parts: tuple[str, ...]) -> Key:
    """Return the key of a base that is stored as ``parts``."""
    return tuple(json.loads(parts[0]))


def checksum(shape: Shape, parts: tuple[str, ...], version: int, data: bytes) -> int:
    """Return the CRC-32 of everything a row says, each part led by its length."""
    if len(parts) == 2:  # noqa: PLR2004  # nearly all there are: not joined from a list
        first, second = parts
        framed = f"{shape.framed}{len(first)}:{first}{len(second)}:{second}{version}:"
    else:
        framed = "".join([shape.framed, *[f"{len(p)}:{p}" for p in parts], f"{version}:"])
    return crc32(data, crc32(framed.encode()))


class Stored(NamedTuple):
    """A row that matches its checksum."""

    parts: tuple[str, ...]
    version: int
    data: bytes


def verified(shape: Shape, raw: Sequence[Any]) -> Stored | None:
    """Return a row read with all text as bytes, or ``None`` when it is damaged.

    Where the file is damaged a column can be of any type.
    """
    *columns, version, crc, data, sound = raw
    if not sound or type(version) is not int or type(data) is not bytes:
        return None
    try:
        parts = tuple(map(bytes.decode, columns))
    except UnicodeDecodeError:
        return None
    if checksum(shape, parts, version, data) != crc:
        return None
    return tuple.__new__(Stored, (parts, version, data))


def describe(shape: Shape, raw: Sequence[Any]) -> str:
    """Name a damaged row without its content: keys may be ICCIDs, so a digest has to do."""
    digest = hashlib.sha256(repr(tuple(raw[: len(shape.columns)])).encode()).hexdigest()[:16]
    return f"table {shape.name}: the row with key digest {digest} does not match its checksum"
