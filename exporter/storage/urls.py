"""The rules for ``--storage.url``: which texts name a storage, and which storage they name."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass, field
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from exporter.storage.postgres.url_parameters import read_url

SQLITE = "sqlite:///"
"""Start of the URL of a SQLite file. A relative path follows; a fourth slash makes it absolute."""

_POSTGRESQL = ("postgresql://", "postgres://")

_HOST = re.compile(r"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._%-]*)(:[0-9]+)?")
"""One host of a PostgreSQL URL and its port; both may be missing."""

_NOT_IN_A_PATH = frozenset("?#")
"""Characters that SQLite or a URL parser would not take as part of a file name."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")
"""A line end in a file name would lead to another file, and to a fleet that seems empty."""


@dataclass(frozen=True, slots=True)
class SqliteFile:
    """The SQLite file that a URL names."""

    path: Path
    """As written: a relative path starts at the working directory."""


@dataclass(frozen=True, slots=True)
class PostgresDatabase:
    """The PostgreSQL database that a URL names."""

    url: str = field(repr=False)
    """The whole URL. It may hold a password."""


def parse_storage_url(url: str) -> SqliteFile | PostgresDatabase:
    """Return the storage that a URL names. Nothing is opened.

    Raises ``ValueError`` for any other text, and for a PostgreSQL URL when its driver is not
    installed. The message does not repeat the URL, which may hold a password.
    """
    if _CONTROL_CHARACTER.search(url) or url != url.strip():
        raise ValueError(
            "must not contain a line end or another control character, or a blank at an end"
        )
    if url.startswith(_POSTGRESQL):
        return _postgres_database(url)
    if not url.startswith(SQLITE):
        raise ValueError(
            f"must be {SQLITE}file.db (relative to the working directory), "
            f"{SQLITE}/folder/file.db (absolute), or begin with {_POSTGRESQL[0]}"
        )
    path = url.removeprefix(SQLITE)
    if path in {"", ":memory:"} or path.endswith("/") or _NOT_IN_A_PATH & set(path):
        raise ValueError(
            f"must be {SQLITE} and the path of a file; the path must not end with / "
            "or contain ? or #"
        )
    return SqliteFile(Path(path))


def _postgres_database(url: str) -> PostgresDatabase:
    authority, *rest = re.split("[/?#]", url.partition("://")[2], maxsplit=1)
    hosts = authority.rpartition("@")[2].split(",")
    # A password with an unescaped / ends the authority early. The driver would take the start of
    # the password for a host name, and log it.
    cut_off = "@" not in authority and "@" in "".join(rest)
    if cut_off or not all(map(_HOST.fullmatch, hosts)):
        raise ValueError(
            "must be postgresql://user:password@host/name; in a password, write %40 for @, "
            "%3A for :, %2F for /, %3F for ?, %23 for # and %25 for %"
        )
    if not find_spec("asyncpg"):
        driver = _driver()
        raise ValueError(
            f"PostgreSQL needs {driver}, which is not installed; run: "
            f"{shlex.quote(sys.executable)} -m pip install {shlex.quote(driver)}"
        )
    read_url(url)
    return PostgresDatabase(url)


def _driver() -> str:
    """Return what the extra ``postgresql`` requires.

    The name of the extra would not do: pip would look for this program in its index, even if it was
    installed from a checkout or a file.
    """
    try:
        required = metadata.requires("esim-exporter") or []
    except metadata.PackageNotFoundError:  # it runs in a checkout, and is not installed
        required = []
    found = (each.partition(";")[0].strip() for each in required if each.startswith("asyncpg"))
    return next(found, "asyncpg")
