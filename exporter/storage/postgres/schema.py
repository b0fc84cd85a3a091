"""How rows lie in PostgreSQL: tables, keys, statements.

Plain SQL; what is special to PostgreSQL is the lock that migrations take and the hint that a
commit sends. Each commit locks the one row in ``esim_exporter_control`` first, to its end, and
takes the next number: commits go one after the other, and become visible in the order of their
numbers. Whoever has read everything up to a number has missed nothing before it.

The row is locked, not written: while somebody keeps a snapshot open, say for a dump, its former
versions could not be removed, and everybody would have to pass by them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from exporter.model.shards import slot_of
from exporter.storage.contract import Table

if TYPE_CHECKING:
    from exporter.storage.contract import Key

LAYOUT = 1
"""Of the tables. A newer one is refused, an older one is to be brought up to date."""

CHANNEL = "esim_exporter"
"""On which a commit says that there is something to follow."""

MIGRATION_LOCK = 0x6573696D
"""Of those who create or change the tables."""

FOR_ALL = -1
"""The slot of a row that is not of an eSIM: every shard keeps it."""

TABLES = tuple(Table)

_OF_ESIMS = frozenset({Table.ESIM, Table.TOMBSTONE})

_SLOT_PART = 3
"""Place of the slot in the key of a base, where it has one."""

REMEMBERED = "1 hour"
"""How long numbers of commits and removed rows are kept for those who follow."""

MIGRATIONS = (
    """
    CREATE TABLE esim_exporter_control (
        one      smallint PRIMARY KEY CHECK (one = 1),
        layout   integer NOT NULL,
        pruned   bigint NOT NULL,
        probes   bigint NOT NULL
    );
    CREATE TABLE esim_exporter_commits (
        seq      bigint PRIMARY KEY,
        token    bigint NOT NULL,
        at       timestamptz NOT NULL
    );
    CREATE TABLE esim_exporter_rows (
        kind     smallint NOT NULL,
        key      bytea NOT NULL,
        slot     smallint NOT NULL,
        version  bigint NOT NULL,
        seq      bigint NOT NULL,
        data     bytea,
        PRIMARY KEY (kind, key)
    );
    CREATE INDEX esim_exporter_rows_seq ON esim_exporter_rows (seq);
    CREATE INDEX esim_exporter_rows_gone ON esim_exporter_rows (seq) WHERE data IS NULL;
    CREATE TABLE esim_exporter_bases (
        key      bytea PRIMARY KEY,
        slot     smallint NOT NULL,
        seq      bigint NOT NULL,
        amount   numeric NOT NULL
    );
    CREATE INDEX esim_exporter_bases_seq ON esim_exporter_bases (seq);
    INSERT INTO esim_exporter_control VALUES (1, 1, 0, 0);
    INSERT INTO esim_exporter_commits VALUES (0, 0, now());
    """,
)
"""What brings the tables from each layout to the next, beginning with none."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Whatever the server's default is: who waited for a lock sees what was committed meanwhile."""
BEGIN_WRITING = f"{BEGIN}; SELECT one FROM esim_exporter_control FOR UPDATE"  # noqa: S608  # all of it is written here
BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
BEGIN_LOADING = f"{BEGIN_READING}; SET LOCAL idle_in_transaction_session_timeout = '60s'"
"""A load holds no lock, and rests while what it read is taken in."""

EXISTS = "SELECT to_regclass('esim_exporter_control') IS NOT NULL"
READ_LAYOUT = "SELECT layout FROM esim_exporter_control"
WRITE_LAYOUT = "UPDATE esim_exporter_control SET layout = $1"

_NEWEST = "(SELECT coalesce(max(seq), 0) FROM esim_exporter_commits)"
NEXT = f"SELECT {_NEWEST} + 1 FROM esim_exporter_control"  # noqa: S608  # likewise
"""To be asked with the lock, in a statement of its own. The newest commit is never removed."""

CONFLICTS = """
    SELECT wanted.n, stored.version, stored.data
    FROM unnest($1::smallint[], $2::bytea[], $3::bigint[], $4::bigint[]) WITH ORDINALITY
        AS wanted (kind, key, expected, known, n)
    LEFT JOIN esim_exporter_rows AS stored
        ON stored.kind = wanted.kind AND stored.key = wanted.key
    WHERE CASE WHEN stored.data IS NULL THEN 0 ELSE stored.version END <> wanted.expected
        OR (stored.seq > wanted.known AND NOT stored.seq = ANY ($5::bigint[]))
    ORDER BY wanted.n
"""
"""Rows that are not as expected, or were changed by others since they were read: a version
alone does not tell a second life of an eSIM from its first."""

WRITE_ROWS = """
    INSERT INTO esim_exporter_rows (kind, key, slot, version, seq, data)
    SELECT kind, key, slot, version, $6::bigint, data
    FROM unnest($1::smallint[], $2::bytea[], $3::smallint[], $4::bigint[], $5::bytea[])
        AS wanted (kind, key, slot, version, data)
    ON CONFLICT (kind, key) DO UPDATE
    SET version = excluded.version, seq = excluded.seq, data = excluded.data
"""

ADD_BASES = """
    INSERT INTO esim_exporter_bases AS stored (key, slot, seq, amount)
    SELECT key, slot, $4::bigint, amount
    FROM unnest($1::bytea[], $2::smallint[], $3::numeric[]) AS added (key, slot, amount)
    ON CONFLICT (key) DO UPDATE
    SET amount = stored.amount + excluded.amount, seq = excluded.seq
"""

NOTE_COMMIT = "INSERT INTO esim_exporter_commits VALUES ($1, $2, now())"
NOTIFY = f"NOTIFY {CHANNEL}"
"""Told to all when the commit is visible."""

TOKEN = "SELECT token FROM esim_exporter_commits WHERE seq = $1"  # noqa: S105  # of a commit
COUNT_NOTED = """
    SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS known (seq, token)
    JOIN esim_exporter_commits AS noted ON noted.seq = known.seq AND noted.token = known.token
"""
NEWEST = f"SELECT {_NEWEST}, pruned FROM esim_exporter_control"  # noqa: S608  # likewise

_MINE = "(slot = -1 OR slot = ANY ($1::smallint[]))"

LOAD_ROWS = f"""
    SELECT kind, key, version, data FROM esim_exporter_rows
    WHERE data IS NOT NULL AND {_MINE} ORDER BY kind, key
"""  # noqa: S608  # all of it is written here
HOLDS_SOMETHING = """
    SELECT EXISTS (SELECT 1 FROM esim_exporter_rows WHERE data IS NOT NULL)
        OR EXISTS (SELECT 1 FROM esim_exporter_bases)
"""
LOAD_BASES = f"SELECT key, amount FROM esim_exporter_bases WHERE {_MINE}"  # noqa: S608  # likewise
COUNT_CHANGED = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM esim_exporter_rows WHERE seq > $2 AND {_MINE} LIMIT $3::bigint
    ) AS changed
"""  # noqa: S608  # likewise
CHANGED_ROWS = f"""
    SELECT kind, key, version, data FROM esim_exporter_rows WHERE seq > $2 AND {_MINE}
"""  # noqa: S608  # likewise
CHANGED_BASES = f"""
    SELECT key, amount FROM esim_exporter_bases WHERE seq > $2 AND {_MINE}
"""  # noqa: S608  # likewise
FETCH = """
    SELECT wanted.n, stored.version, stored.data
    FROM unnest($1::smallint[], $2::bytea[]) WITH ORDINALITY AS wanted (kind, key, n)
    JOIN esim_exporter_rows AS stored ON stored.kind = wanted.kind AND stored.key = wanted.key
    WHERE stored.data IS NOT NULL
"""
PROBE = "UPDATE esim_exporter_control SET probes = probes + 1 RETURNING probes"
MAY_WRITE = """
    SELECT bool_and(has_table_privilege(name, needed)) FROM unnest(ARRAY[
        'esim_exporter_commits', 'esim_exporter_rows', 'esim_exporter_bases']) AS name,
        unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE']) AS needed
"""
"""What a probe does not show by writing, which leaves these tables alone."""
SIZE = """
    SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(ARRAY[
        'esim_exporter_control', 'esim_exporter_commits', 'esim_exporter_rows',
        'esim_exporter_bases']) AS name
"""
FORGET = f"""
    UPDATE esim_exporter_control SET pruned = greatest(pruned, coalesce((
        SELECT max(seq) FROM esim_exporter_commits WHERE at < now() - interval '{REMEMBERED}'
    ), 0))
"""  # noqa: S608  # likewise
"""Who last followed before ``pruned`` has to load afresh."""
PRUNE = (
    """
    DELETE FROM esim_exporter_rows WHERE data IS NULL AND seq IN (
        SELECT seq FROM esim_exporter_rows
        WHERE data IS NULL AND seq <= (SELECT pruned FROM esim_exporter_control) LIMIT $1
    )
    """,
    """
    DELETE FROM esim_exporter_commits WHERE seq IN (
        SELECT seq FROM esim_exporter_commits
        WHERE seq < (SELECT pruned FROM esim_exporter_control) LIMIT $1
    )
    """,
)
"""Remove some of what nobody follows any more."""


class RowAddress(NamedTuple):
    """Where a row lies."""

    kind: int
    key: bytes
    slot: int

    @classmethod
    def of(cls, table: Table, key: Key) -> RowAddress:
        """Return the place of a row. Raises ``ValueError`` for a key that cannot be one."""
        slot = slot_of(key[0], key[1]) if table in _OF_ESIMS else FOR_ALL
        return cls(TABLES.index(table), encoded(key), slot)


def slot_of_base(key: Key) -> int:
    """Return the slot that a base is counted in: its fourth part, or the first there is."""
    return int(key[_SLOT_PART]) if len(key) > _SLOT_PART else 0


def encoded(key: Key) -> bytes:
    """Return the bytes that sort as the texts of the key do, part by part."""
    if not key or not all(isinstance(part, str) for part in key):
        raise ValueError("a key has parts, and they are texts")
    return b"\0\0".join(part.encode().replace(b"\0", b"\0\xff") for part in key)


def decoded(key: bytes) -> Key:
    """Return the key of its bytes."""
    return tuple(part.replace(b"\0\xff", b"\0").decode() for part in key.split(b"\0\0"))
