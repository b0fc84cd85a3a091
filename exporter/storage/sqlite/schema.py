"""The tables of the SQLite file, laid out so that a person with ``sqlite3`` can read them.

Each kind of row has its own table: the parts of the key, a version, a checksum and the data.
Four more tables help:

``seal``
    How many rows each table holds, and the sum of their versions. Each commit updates it from
    its changes alone. So a load notices if anything else removed rows or put back older ones.
    Its row ``commit`` holds the stamp, which names the last commit.
``starts``
    The last commit of each start that made one, so that a note of an earlier start is understood.
``damaged``
    Keeps a copy of each row that was found damaged.
``probe``
    A probe writes to it, to find out whether the file can be written.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from isal.isal_zlib import crc32

from exporter.storage.contract import Table, check_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from exporter.storage.contract import Key

APPLICATION_ID = int.from_bytes(b"eSIM", "big")
SCHEMA_VERSION = 2
"""Counts changes of the tables and of the data in their rows. Older files are migrated, newer ones
are refused."""
OLDEST_SCHEMA_VERSION = 1
FIRST_STAMPED_VERSION = 2
"""The first version whose commits have a stamp."""


@dataclass(frozen=True, slots=True, eq=False)
class SqliteTable:
    """A table of versioned rows, with the SQL statements that work on it.

    A key with an optional last part has a column for that part too. It holds '' if the part
    is missing.
    """

    name: str
    columns: tuple[str, ...]
    """The columns of the key."""
    value: str = "data"
    """The column of the data."""
    checksum_prefix: str = field(init=False)
    """The table's name, in the form in which the checksum covers it."""
    create: str = field(init=False)
    insert: str = field(init=False)
    update: str = field(init=False)
    delete: str = field(init=False)
    find: str = field(init=False)
    scan: str = field(init=False)
    delete_damaged: str = field(init=False)

    def __post_init__(self) -> None:
        name, value, keys = self.name, self.value, ", ".join(self.columns)
        here = " AND ".join(f"{column} = ?" for column in self.columns)
        raw = " AND ".join(f"{column} = CAST(? AS TEXT)" for column in self.columns)
        marks = ", ".join("?" for _ in self.columns)
        texts = ", ".join(f"{column} TEXT NOT NULL" for column in self.columns)
        # One flipped bit turns a text into a blob of the same bytes. No key equals such a blob.
        all_text = " AND ".join(f"typeof({column}) = 'text'" for column in self.columns)
        statements = {
            "checksum_prefix": f"{len(name)}:{name}",
            "create": f"CREATE TABLE {name} ({texts}, version INTEGER NOT NULL, "
            f"crc INTEGER NOT NULL, {value} TEXT NOT NULL, PRIMARY KEY ({keys})) WITHOUT ROWID",
            # S608 below: all names in the statements come from this file.
            "insert": f"INSERT INTO {name} ({keys}, version, crc, {value}) "  # noqa: S608
            f"VALUES ({marks}, ?, ?, CAST(? AS TEXT)) ON CONFLICT DO NOTHING",
            "update": f"UPDATE {name} SET version = ?, crc = ?, {value} = CAST(? AS TEXT) "  # noqa: S608
            f"WHERE {here} AND version = ?",
            "delete": f"DELETE FROM {name} WHERE {here} AND version = ?",  # noqa: S608
            "find": f"SELECT {keys}, version, crc, {value}, {all_text} FROM {name} WHERE {here}",  # noqa: S608
            "scan": f"SELECT {keys}, version, crc, {value}, {all_text} "  # noqa: S608
            f"FROM {name} ORDER BY {keys}",
            # The checksum is compared too: the damaged key may equal the key of a good row.
            "delete_damaged": f"DELETE FROM {name} WHERE {raw} AND crc IS ?",  # noqa: S608
        }
        for attribute, statement in statements.items():
            object.__setattr__(self, attribute, statement)


TABLES = {
    Table.ESIM: SqliteTable("esim", ("vendor", "esim_id")),
    Table.TOMBSTONE: SqliteTable("tombstone", ("vendor", "esim_id", "package_id")),
    Table.PACKAGE: SqliteTable("package", ("vendor", "package_id")),
    Table.PARTNER: SqliteTable("partner", ("vendor", "subject", "event_type")),
    Table.FEED: SqliteTable("feed", ("vendor",)),
    Table.REJECTED: SqliteTable("rejected", ("digest",)),
}
BASES = SqliteTable("bases", ("key",), value="amount")
"""The key is a JSON array. The amount is a decimal number of any size."""

ALL_TABLES = (*TABLES.values(), BASES)

DEFINITIONS = {
    **{table.name: table.create for table in ALL_TABLES},
    "seal": "CREATE TABLE seal "
    "(name TEXT PRIMARY KEY, rows INTEGER, versions INTEGER, stamp BLOB) WITHOUT ROWID",
    "starts": "CREATE TABLE starts (identity BLOB PRIMARY KEY, number INTEGER) WITHOUT ROWID",
    "damaged": "CREATE TABLE damaged "
    "(id INTEGER PRIMARY KEY, name TEXT NOT NULL, content TEXT NOT NULL)",
    "probe": "CREATE TABLE probe (id INTEGER PRIMARY KEY, writes INTEGER NOT NULL)",
}
"""The statement that made each table. SQLite stores it as it was written."""

CREATE_ALL = (
    f"PRAGMA application_id = {APPLICATION_ID}",
    f"PRAGMA user_version = {SCHEMA_VERSION}",
    *DEFINITIONS.values(),
    *(
        f"INSERT INTO seal (name, rows, versions) VALUES ('{table.name}', 0, 0)"  # noqa: S608  # names from above
        for table in ALL_TABLES
    ),
)
"""The statements that turn an empty file into a storage."""

_SEALED = ", ".join(f"'{table.name}'" for table in ALL_TABLES)

FIND_STRANGE_ROWS = (
    f"SELECT 1 FROM seal WHERE name NOT IN ('commit', {_SEALED})",  # noqa: S608  # names from above
    "SELECT 1 FROM starts WHERE typeof(identity) <> 'blob'",
    # SQLite refuses to read them from a page of any other table.
    "SELECT 1 FROM damaged WHERE typeof(id) <> 'integer'",
    "SELECT 1 FROM probe WHERE typeof(id) <> 'integer'",
)
"""Each finds rows that this program does not write into a table."""

FIND_STAMP = "SELECT stamp FROM seal WHERE name = 'commit'"
UPDATE_STAMP = "UPDATE seal SET stamp = ? WHERE name = 'commit'"
INSERT_STAMP = "INSERT OR REPLACE INTO seal (name, stamp) VALUES ('commit', ?)"
FIND_START = "SELECT number FROM starts WHERE identity = ?"
INSERT_START = "INSERT OR REPLACE INTO starts VALUES (?, ?)"
FORGET_STARTS = (
    "DELETE FROM starts WHERE number < "
    "(SELECT number FROM starts ORDER BY number DESC LIMIT 1 OFFSET 999)"
)


def key_columns(table: Table, key: Key) -> tuple[str, ...]:
    """Return the values of the key's columns. Raises ``ValueError`` as ``check_key`` does."""
    check_key(table, key)
    return (*key, "") if len(key) < len(TABLES[table].columns) else key


def key_of(table: Table, columns: tuple[str, ...]) -> Key:
    """Return the key of a row from the values of its key columns."""
    return columns[:-1] if table is Table.PARTNER and not columns[-1] else columns


def base_columns(key: Key) -> tuple[str, ...]:
    """Return the value of the key column of a base."""
    return (json.dumps(key, ensure_ascii=False, separators=(",", ":")),)


def base_key(columns: tuple[str, ...]) -> Key:
    """Return the key of a base from the value of its key column."""
    return tuple(json.loads(columns[0]))


def checksum(table: SqliteTable, columns: tuple[str, ...], version: int, data: bytes) -> int:
    """Return the CRC-32 of a row: its table, key columns (each after its length), version, data."""
    if len(columns) == 2:  # noqa: PLR2004  # eSIMs are most of the rows, and this is faster
        first, second = columns
        framed = f"{table.checksum_prefix}{len(first)}:{first}{len(second)}:{second}{version}:"
    else:
        parts = [f"{len(part)}:{part}" for part in columns]
        framed = "".join([table.checksum_prefix, *parts, f"{version}:"])
    return crc32(data, crc32(framed.encode()))


class VerifiedRow(NamedTuple):
    """A row that matches its checksum."""

    columns: tuple[str, ...]
    version: int
    data: bytes


def verified(table: SqliteTable, raw: Sequence[Any]) -> VerifiedRow | None:
    """Return a row that was read with all text as bytes, or ``None`` when it is damaged.

    In a damaged file a column can hold a value of any type.
    """
    *columns, version, crc, data, all_text = raw
    if not all_text or type(version) is not int or type(data) is not bytes:
        return None
    try:
        texts = tuple(map(bytes.decode, columns))
    except UnicodeDecodeError:
        return None
    if checksum(table, texts, version, data) != crc:
        return None
    return tuple.__new__(VerifiedRow, (texts, version, data))


def describe_damaged(table: SqliteTable, raw: Sequence[Any]) -> str:
    """Name a damaged row by a digest of its key. The key itself may be an ICCID."""
    digest = hashlib.sha256(repr(tuple(raw[: len(table.columns)])).encode()).hexdigest()[:16]
    return f"table {table.name}: the row with key digest {digest} does not match its checksum"
