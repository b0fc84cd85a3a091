"""The tables in PostgreSQL and the SQL statements that work on them.

All statements are plain SQL, with two exceptions: migrations take an advisory lock, and commits
notify other processes.

Each commit first locks the one row of ``esim_exporter_control`` until the commit ends, and takes
the next number (``seq``). So commits run one after the other and become visible in the order of
their numbers. A process that has read everything up to a number has missed nothing before it.

A commit only locks that row and does not write to it. Otherwise each commit would leave an old
version of the row behind. While a snapshot is open, for example for a dump, PostgreSQL cannot
remove old versions, and every commit would have to read past all of them.
"""

from __future__ import annotations

LAYOUT = 1
"""Counts changes of the tables and of the data in their rows. Older databases are migrated, newer
ones are refused."""

CHANNEL = "esim_exporter"
"""The channel on which a commit notifies other processes."""

MIGRATION_LOCK = 0x6573696D
"""The advisory lock of a process that creates or changes the tables."""

REMEMBERED = "1 hour"
"""How long commit numbers and deleted rows are kept for replicas that follow."""

BEGIN = "BEGIN ISOLATION LEVEL READ COMMITTED"
"""Independent of the server's default. After waiting for a lock, a statement must see what others
committed during the wait."""
BEGIN_WRITING = f"{BEGIN}; SELECT one FROM esim_exporter_control FOR UPDATE"  # noqa: S608  # holds no input
BEGIN_READING = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
BEGIN_LOADING = f"{BEGIN_READING}; SET LOCAL idle_in_transaction_session_timeout = '60s'"
"""A load holds no lock, so it may be idle while its rows are processed."""

EXISTS = "SELECT to_regclass('esim_exporter_control') IS NOT NULL"
READ_LAYOUT = "SELECT layout FROM esim_exporter_control"
WRITE_LAYOUT = "UPDATE esim_exporter_control SET layout = $1"

_NEWEST = "(SELECT coalesce(max(seq), 0) FROM esim_exporter_commits)"
NEXT = f"SELECT {_NEWEST} + 1 FROM esim_exporter_control"  # noqa: S608  # holds no input
"""Run this after :data:`BEGIN_WRITING`, as a statement of its own. The newest commit is never
removed, so numbers do not repeat."""

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
"""Rows that have another version, or were changed by another process since they were read. The
version alone is not enough: a row that was deleted and written again starts at 1."""

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
"""PostgreSQL sends it when the commit is visible."""

TOKEN = "SELECT token FROM esim_exporter_commits WHERE seq = $1"  # noqa: S105  # no password
COUNT_OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND application_name IN ($1, current_setting('application_name'))
"""
COUNT_NOTED = """
    SELECT count(*) FROM unnest($1::bigint[], $2::bigint[]) AS known (seq, token)
    JOIN esim_exporter_commits AS noted ON noted.seq = known.seq AND noted.token = known.token
"""
NEWEST = f"SELECT {_NEWEST}, pruned FROM esim_exporter_control"  # noqa: S608  # holds no input

_MINE = "(slot = -1 OR slot = ANY ($1::smallint[]))"

LOAD_ROWS = f"""
    SELECT kind, key, version, data FROM esim_exporter_rows
    WHERE data IS NOT NULL AND {_MINE} ORDER BY kind, key
"""  # noqa: S608  # holds no input
HOLDS_SOMETHING = """
    SELECT EXISTS (SELECT 1 FROM esim_exporter_rows WHERE data IS NOT NULL)
        OR EXISTS (SELECT 1 FROM esim_exporter_bases)
"""
LOAD_BASES = f"SELECT key, amount FROM esim_exporter_bases WHERE {_MINE}"  # noqa: S608  # holds no input
COUNT_CHANGED = f"""
    SELECT count(*) FROM (
        SELECT 1 FROM esim_exporter_rows WHERE seq > $2 AND {_MINE} LIMIT $3::bigint
    ) AS changed
"""  # noqa: S608  # holds no input
CHANGED_ROWS = f"""
    SELECT kind, key, version, data FROM esim_exporter_rows WHERE seq > $2 AND {_MINE}
"""  # noqa: S608  # holds no input
CHANGED_BASES = f"""
    SELECT key, amount FROM esim_exporter_bases WHERE seq > $2 AND {_MINE}
"""  # noqa: S608  # holds no input
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
"""The probe writes to none of these tables, so their privileges are checked."""
SIZE = """
    SELECT sum(pg_total_relation_size(name::regclass)) FROM unnest(ARRAY[
        'esim_exporter_control', 'esim_exporter_commits', 'esim_exporter_rows',
        'esim_exporter_bases']) AS name
"""
FORGET = f"""
    UPDATE esim_exporter_control SET pruned = greatest(pruned, coalesce((
        SELECT max(seq) FROM esim_exporter_commits WHERE at < now() - interval '{REMEMBERED}'
    ), 0))
"""  # noqa: S608  # holds no input
"""Moves ``pruned`` forward. A replica whose cursor is before ``pruned`` must load again."""
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
"""Remove some of the deleted rows and commit numbers that no replica can follow any more."""
