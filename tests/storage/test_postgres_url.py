"""The parameters of a PostgreSQL URL mean what they mean for psql."""

from __future__ import annotations

import getpass
import os
import socket
from typing import TYPE_CHECKING

import pytest
from issuing import issue
from postgres import running
from postgres_places import PASSWORD, esim, one
from stored import content

from exporter.errors import SettingsError
from exporter.model.shards import Shard
from exporter.storage.postgres.server import PostgresServer
from exporter.storage.postgres.storage import PostgresStorage
from exporter.storage.postgres.url_parameters import forget_unreadable_home, read_url
from exporter.storage.urls import parse_storage_url

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from postgres import Postgres

URL = "postgresql://esim@db:5433/esim"

LIKE_PSQL = [
    *("connect_timeout=10", "connect_timeout=0", "channel_binding=prefer", "keepalives=1"),
    *("keepalives=0", "keepalives_idle=30&keepalives_interval=5&keepalives_count=3"),
    *("tcp_user_timeout=5000", "application_name=x", "fallback_application_name=x"),
    *("gssencmode=disable", "gssencmode=prefer", "target_session_attrs=read-write"),
    *("sslmode=prefer", "sslcompression=0", "client_encoding=UTF8", "client_encoding=auto"),
    *("options=-c%20search_path%3Dpublic", "sslcert=/nonexistent", "hostaddr=127.0.0.1"),
    *("sslrootcert=/nonexistent", "ssl_min_protocol_version=TLSv1.2", "sslsni=1", "passfile=/no"),
    *("krbsrvname=postgres", "requirepeer="),
    "connect_timeout=10&application_name=a%20b&sslsni=1&gssencmode=disable",
]
LIKE_NEWER_PSQL = ["sslcertmode=allow", "load_balance_hosts=disable", "require_auth="]
"""The psql of PostgreSQL 15 does not know these."""


@pytest.mark.parametrize("parameters", LIKE_PSQL + LIKE_NEWER_PSQL)
async def test_a_url_that_psql_takes_is_taken(parameters: str, postgres: Postgres) -> None:
    url = f"{postgres.new_database()}?{parameters}"
    if parameters not in LIKE_NEWER_PSQL:
        postgres.execute("SELECT 1", url)
    assert parse_storage_url(url)
    storage = await PostgresStorage.open(url, Shard())
    await content(storage)
    assert await storage.commit(one(esim("a"))) == ()
    await storage.close()


REFUSED = {
    "channel_binding=require": "channel_binding: .*write prefer",
    "gssencmode=require": "gssencmode: .*write disable",
    "sslsni=0": "sslsni: .*write 1",
    "require_auth=scram-sha-256": "require_auth: .*remove it",
    "requirepeer=postgres": "requirepeer: .*remove it",
    "client_encoding=LATIN1": "client_encoding: .*remove it",
    "connect_timeout=soon": "connect_timeout: must be a whole number",
    "keepalives_idle=99999": "keepalives_idle: must be a whole number from 0 to 32767",
    "hostaddr=db.example.org": "hostaddr: must be IP addresses",
    "hostaddr=10.0.0.1,10.0.0.2": "hostaddr: must have one address for each",
    "sslmode=nonsense": "sslmode: must be one of disable, allow",
    "sslmode=verify-full&sslrootcert=/nonexistent": "sslrootcert: there is no such file",
    "sslmode=verify-full&sslrootcert=system": "sslrootcert: .*name the file",
    "port=x": "port: must be a number",
}


@pytest.mark.parametrize("parameters", REFUSED)
async def test_what_is_not_possible_is_refused_before_anything_starts(parameters: str) -> None:
    """The same sentence comes from the check of the settings and from the storage."""
    url = f"postgresql://esim:{PASSWORD}@db/esim?{parameters}"
    with pytest.raises(ValueError, match=REFUSED[parameters]) as checked:
        parse_storage_url(url)
    with pytest.raises(SettingsError) as served:
        await PostgresStorage.open(url, Shard())
    assert str(served.value) == f"--storage.url: {checked.value}"
    for secret in (PASSWORD, "scram", "nonsense", "LATIN1", "example.org"):
        assert secret not in str(checked.value)


def test_nothing_of_libpq_reaches_the_server_and_the_rest_does() -> None:
    parameters = read_url(
        f"{URL}?connect_timeout=7&keepalives=0&gssencmode=disable&hostaddr=10.1.2.3"
        "&lock_timeout=100&options=-c%20a%3D1+2&fallback_application_name=f&ssl=true"
    )
    (host,) = parameters.hosts
    assert host == (
        f"{URL}?lock_timeout=100&options=-c%20a%3D1%2B2&sslmode=require&application_name=f",
        "10.1.2.3",
    )
    assert parameters.connect_timeout == 7
    assert parameters.socket_options == ()
    assert parameters.names == {"lock_timeout", "options", "sslmode", "application_name"}


@pytest.mark.parametrize("hosts", ["a:1,[::1]", "[::1],[::2]:5433", "[::1]", "a"])
def test_hosts_may_be_addresses_in_brackets(hosts: str) -> None:
    """``urlsplit`` refuses a list of them in patched versions, as in the 3.11.2 of Debian."""
    expected = [f"postgresql://esim:p@{host}/esim?lock_timeout=1" for host in hosts.split(",")]
    found = read_url(f"postgresql://esim:p@{hosts}/esim?lock_timeout=1").hosts
    assert [host.url for host in found] == expected


def test_each_host_has_its_address() -> None:
    several = "postgresql://esim@a:1,b:2/esim?hostaddr=10.0.0.1,::1"
    assert [host.address for host in read_url(several).hosts] == ["10.0.0.1", "::1"]
    without = "postgresql://esim@/esim?hostaddr=10.0.0.1,::1"
    assert [host.url for host in read_url(without).hosts] == [
        *("postgresql://esim@10.0.0.1/esim", "postgresql://esim@[::1]/esim"),
    ]


def test_the_time_to_connect_is_for_each_host() -> None:
    def timeout(url: str) -> float:
        return PostgresServer(url).timeout

    assert timeout(f"{URL}?connect_timeout=10") == 10
    assert timeout("postgresql://esim@a,b,c/esim?connect_timeout=10") == 30
    assert timeout(URL) == timeout(f"{URL}?connect_timeout=0") == timeout(f"{URL}?connect_timeout=")


async def test_the_address_and_the_options_are_those_of_the_connection(
    postgres: Postgres,
) -> None:
    url = postgres.url(host="db.invalid")
    server = PostgresServer(
        f"{url}?hostaddr=127.0.0.1&keepalives_idle=31&keepalives_count=4&tcp_user_timeout=6000"
    )
    connection = await server.connect()
    at = connection._transport.get_extra_info("socket")
    assert at.getpeername() == ("127.0.0.1", postgres.port)
    assert at.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPCNT, socket.TCP_USER_TIMEOUT)
    assert [at.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [31, 4, 6000]
    await connection.close()


async def test_a_certificate_is_checked_for_the_name_and_not_for_the_address(
    tmp_path: Path,
) -> None:
    authority = issue(tmp_path, "authority")
    pair = issue(tmp_path, "server", by=authority, names="DNS:db.invalid")
    with running("ssl=on", files={"server.crt": pair.certificate, "server.key": pair.key}) as own:
        verified = f"hostaddr=127.0.0.1&sslmode=verify-full&sslrootcert={authority.certificate}"
        server = PostgresServer(f"{own.url(host='db.invalid')}?{verified}")
        connection = await server.connect()
        assert await connection.fetchval("SELECT ssl FROM pg_stat_ssl WHERE pid=pg_backend_pid()")
        await connection.close()
        for other in ("other.invalid", "127.0.0.1"):
            with pytest.raises(SettingsError, match="certificate verify failed"):
                await PostgresServer(f"{own.url(host=other)}?{verified}").connect()


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A home folder that nobody may read, not even the user who runs the tests."""
    path = tmp_path / "home"
    path.mkdir()

    def unreadable(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setenv("HOME", str(path))
    monkeypatch.setattr(type(path), "exists", unreadable)
    yield path
    monkeypatch.undo()


def test_an_unreadable_home_folder_is_no_folder(home: Path) -> None:
    assert os.environ["HOME"] == str(home)
    forget_unreadable_home()
    assert os.environ["HOME"] == os.devnull


def test_a_home_folder_that_can_be_read_stays_in_use(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for home in (tmp_path, tmp_path / "missing"):
        monkeypatch.setenv("HOME", str(home))
        forget_unreadable_home()
        assert os.environ["HOME"] == str(home)


def test_no_user_name_anywhere_is_said_in_words(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> str:
        raise KeyError("getpwuid(): uid not found: 123456")

    monkeypatch.setattr(getpass, "getuser", nobody)
    monkeypatch.delenv("PGUSER", raising=False)
    with pytest.raises(ValueError, match="names no user, and this process has no user name"):
        parse_storage_url("postgresql://db/esim")
    for known in ("postgresql://esim@db/esim", "postgresql://db/esim?user=esim"):
        assert parse_storage_url(known)
    monkeypatch.setenv("PGUSER", "esim")
    assert parse_storage_url("postgresql://db/esim")
