from __future__ import annotations

import re
import shlex
import sys
from importlib import metadata
from pathlib import Path

import pytest

from exporter.storage import urls
from exporter.storage.urls import PostgresDatabase, SqliteFile, parse_storage_url


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///esim-exporter.db", "esim-exporter.db"),
        ("sqlite:///var/a b.db", "var/a b.db"),
        ("sqlite:////var/lib/esim.db", "/var/lib/esim.db"),
        ("sqlite:///a%20b@c:d.db", "a%20b@c:d.db"),
    ],
)
def test_a_url_names_a_relative_or_an_absolute_file(url: str, path: str) -> None:
    assert parse_storage_url(url) == SqliteFile(Path(path))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "a.db",
        "sqlite://a.db",
        "SQLITE:///a.db",
        "sqlite:///",
        "sqlite:////",
        "sqlite:///folder/",
        "sqlite:///:memory:",
        "sqlite:///a.db?mode=ro",
        "sqlite:///a.db#x",
        "mysql://esim@db/esim",
        "postgresql:/host/db",
    ],
)
def test_any_other_text_is_refused_with_what_is_accepted(url: str) -> None:
    with pytest.raises(ValueError, match=r"^must be sqlite:///"):
        parse_storage_url(url)


@pytest.mark.parametrize("url", ["sqlite:///a.db", "postgresql://esim@db/esim"])
def test_no_line_end_becomes_part_of_a_name(url: str) -> None:
    for wrong in (f"{url}\n", f"{url} ", f" {url}", url.replace("/esim", "/e\nsim"), f"{url}\0x"):
        if wrong != url:
            with pytest.raises(ValueError, match="must not contain a line end"):
                parse_storage_url(wrong)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://",
        "postgres:///esim",
        "postgresql://esim@db/esim",
        "postgresql://esim:p%2Fw@db:5433,other/esim?sslmode=require",
        "postgresql://[::1]:5432/esim",
        "postgresql:///esim?host=/run/postgresql",
    ],
)
def test_a_postgresql_url_is_kept_as_it_is(url: str) -> None:
    assert parse_storage_url(url) == PostgresDatabase(url)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://esim:hunter2/x@db/esim",
        "postgresql://esim:hunter2?x@db/esim",
        "postgresql://esim:hunter2#x@db/esim",
        "postgresql://esim:/hunter2@db/esim",
        "postgresql://db:port/esim",
        "postgresql://db host/esim",
    ],
)
def test_a_password_that_would_be_taken_for_a_host_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(
        ValueError, match=r"^must be postgresql://user:password@host/name"
    ) as caught:
        parse_storage_url(url)

    assert "hunter2" not in str(caught.value)


def test_a_url_with_a_password_is_not_shown() -> None:
    assert "hunter2" not in repr(parse_storage_url("postgresql://esim:hunter2@db/esim"))


def test_postgresql_must_be_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urls, "find_spec", lambda _: None)

    with pytest.raises(ValueError, match="which is not installed") as caught:
        parse_storage_url("postgresql://esim@db/esim")

    command = shlex.split(str(caught.value).partition("; run: ")[2])
    *pip, driver = command
    assert pip == [sys.executable, "-m", "pip", "install"]
    assert re.fullmatch(r"asyncpg[<>=].*", driver)


def test_the_driver_is_named_where_the_program_is_not_installed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def nothing(_: str) -> list[str]:
        raise metadata.PackageNotFoundError

    monkeypatch.setattr(urls, "find_spec", lambda _: None)
    monkeypatch.setattr(metadata, "requires", nothing)
    with pytest.raises(ValueError, match="PostgreSQL needs asyncpg, which is not installed"):
        parse_storage_url("postgresql://esim@db/esim")
