"""The parameters of a PostgreSQL URL, which is written as for psql.

The driver passes every parameter that it does not know to the server, which refuses those of
libpq. So this module takes those of libpq out of the URL. It says how the driver can do what they
ask for, or refuses the URL in words. The source is
https://www.postgresql.org/docs/current/libpq-connect.html#LIBPQ-PARAMKEYWORDS.
"""

from __future__ import annotations

import getpass
import os
import re
import socket
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, urlencode, urlsplit, urlunsplit

if TYPE_CHECKING:
    from collections.abc import Mapping


class Allowed(NamedTuple):
    """The values of a parameter that change nothing here, and why no other one is possible."""

    values: frozenset[str]
    reason: str


def _allowed(values: str, reason: str) -> Allowed:
    return Allowed(frozenset(values.split()), reason)


_WITHOUT_EFFECT = {
    "channel_binding": _allowed(
        "disable prefer",
        "the driver has no channel binding; write prefer, and sslmode=verify-full to be sure of "
        "the server",
    ),
    "gssencmode": _allowed("disable prefer", "the driver has no GSSAPI encryption; write disable"),
    "gssdelegation": _allowed("0", "the driver delegates no credentials; write 0"),
    "load_balance_hosts": _allowed(
        "disable", "hosts are tried in the order that is written; write disable"
    ),
    "replication": _allowed("false off no 0", "this is no replication connection; remove it"),
    "require_auth": _allowed("", "the driver cannot restrict how it authenticates; remove it"),
    "requirepeer": _allowed("", "the driver does not check the server's user; remove it"),
    "requiressl": _allowed("0", "write sslmode=require instead"),
    "sslcertmode": _allowed("allow", "the driver sends a certificate if asked; write allow"),
    "sslcompression": _allowed("0 1", "it must be 0 or 1; neither compresses"),
    "sslcrldir": _allowed("", "write sslcrl and the name of a file instead"),
    "sslsni": _allowed("1", "the driver always sends the server's name; write 1"),
    "client_encoding": _allowed("UTF8 utf8 UTF-8 utf-8 auto", "texts are in UTF8; remove it"),
}
"""Parameters that are taken out of the URL, if their value is allowed."""

_ONE_OF = {
    "sslmode": "disable allow prefer require verify-ca verify-full",
    "sslnegotiation": "postgres direct",
    "ssl_min_protocol_version": "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
    "ssl_max_protocol_version": "TLSv1 TLSv1.1 TLSv1.2 TLSv1.3",
    "target_session_attrs": "any read-write read-only primary standby prefer-standby",
    "gsslib": "gssapi sspi",
}
"""The values that the driver accepts."""

_NUMBERS: Mapping[str, tuple[int, int]] = {
    "connect_timeout": (-(2**31), 2**31 - 1),
    "keepalives": (0, 1),
    "keepalives_idle": (0, 32767),
    "keepalives_interval": (0, 32767),
    "keepalives_count": (0, 127),
    "tcp_user_timeout": (0, 2**31 - 1),
}
"""The least and the greatest value, as Linux accepts them for a socket; 0 is its own default."""

_SOCKET_OPTIONS = {
    "keepalives_idle": "TCP_KEEPIDLE",
    "keepalives_interval": "TCP_KEEPINTVL",
    "keepalives_count": "TCP_KEEPCNT",
    "tcp_user_timeout": "TCP_USER_TIMEOUT",
}

_USER_NAMES = ("PGUSER", "PGSERVICE")


class Host(NamedTuple):
    """One of the hosts that a URL lists."""

    url: str
    """A URL with this host alone, and with the parameters that the driver knows."""
    address: str
    """The IP address to connect to. Empty: that of the host's name."""


@dataclass(frozen=True, slots=True)
class UrlParameters:
    """What a URL says, for a driver that does not know the parameters of libpq."""

    hosts: tuple[Host, ...]
    names: frozenset[str]
    """The parameters that the driver gets."""
    connect_timeout: int | None
    """Seconds for each host; ``None`` if the URL does not limit them."""
    socket_options: tuple[tuple[int, int, int], ...]
    """Level, option and value, as ``setsockopt`` takes them."""


def read_url(url: str) -> UrlParameters:
    """Return what a URL says. Raises ``ValueError``, without repeating a value, if it cannot be."""
    parts = _split(url)
    # In these URLs a plus is no blank.
    query = dict(parse_qsl(parts.query.replace("+", "%2B"), strict_parsing=bool(parts.query)))
    if query.pop("ssl", "") == "true":
        query.setdefault("sslmode", "require")
    for name, allowed in _WITHOUT_EFFECT.items():
        if query.pop(name, "") not in {"", *allowed.values}:
            raise ValueError(f"{name}: not possible here: {allowed.reason}")
    for name, values in _ONE_OF.items():
        if name in query and query[name] not in values.split():
            raise ValueError(f"{name}: must be one of {', '.join(values.split())}")
    if not all(port.isdecimal() for port in filter(None, query.get("port", "").split(","))):
        raise ValueError("port: must be a number")
    numbers = {name: _number(name, query.pop(name)) for name in _NUMBERS if name in query}
    fallback = query.pop("fallback_application_name", "")
    if fallback:
        query.setdefault("application_name", fallback)
    _check_certificates(query)
    addresses = query.pop("hostaddr", "")
    netloc = parts.netloc
    if addresses and not _names_a_host(netloc, query):
        netloc = _with_hosts(netloc, addresses)
    encoded = urlencode(query, quote_via=quote)
    urls = _urls_of_hosts(urlunsplit(parts._replace(netloc=netloc, query=encoded)))
    _check_user(parts.username, query)
    limit = numbers.get("connect_timeout", 0)
    return UrlParameters(
        hosts=tuple(map(Host, urls, _addresses(addresses, len(urls)))),
        names=frozenset(query),
        connect_timeout=limit if limit > 0 else None,
        socket_options=tuple(_socket_options(numbers)),
    )


def _number(name: str, text: str) -> int:
    least, most = _NUMBERS[name]
    try:
        number = int(text)
    except ValueError:
        number = most + 1
    if not least <= number <= most:
        raise ValueError(f"{name}: must be a whole number from {max(0, least)} to {most}")
    return number


def _socket_options(numbers: Mapping[str, int]) -> list[tuple[int, int, int]]:
    """Return the options of the socket. libpq turns keepalives on unless the URL turns them off."""
    options = []
    keepalives = numbers.get("keepalives", 1)
    if keepalives:
        options.append((socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    for name, constant in _SOCKET_OPTIONS.items():
        value, option = numbers.get(name, 0), getattr(socket, constant, None)
        if value and option is not None and (keepalives or name == "tcp_user_timeout"):
            options.append((socket.IPPROTO_TCP, option, value))
    return options


def _check_certificates(query: dict[str, str]) -> None:
    """Leave out files that libpq does without. Raises ``ValueError`` for one that must be there."""
    if "sslcert" in query and not _is_there(query["sslcert"]):
        del query["sslcert"]
        query.pop("sslkey", None)
    authorities = query.get("sslrootcert")
    if authorities == "system":
        raise ValueError("sslrootcert: not possible here: name the file with the certificates")
    verified = query.get("sslmode", "").startswith("verify")
    if authorities and not _is_there(authorities):
        if verified:
            raise ValueError("sslrootcert: there is no such file, or it cannot be read")
        del query["sslrootcert"]
    named = authorities or os.environ.get("PGSSLROOTCERT") or "service" in query
    usual = os.path.expanduser("~/.postgresql/root.crt")  # noqa: PTH111  # Path needs a home
    if verified and not named and not _is_there(usual):
        raise ValueError(
            "sslmode: there is no ~/.postgresql/root.crt to verify the server with: write "
            "sslrootcert= and the file with its certificates"
        )


def _is_there(path: str) -> bool:
    return os.access(path, os.R_OK)


def _check_user(user: str | None, query: Mapping[str, str]) -> None:
    """Raise ``ValueError`` if no user is named and the process has no user name either."""
    if user or "user" in query or "service" in query or any(map(os.environ.get, _USER_NAMES)):
        return
    try:
        getpass.getuser()
    except (KeyError, OSError, ImportError):  # which one depends on the version of Python
        raise ValueError(
            "names no user, and this process has no user name: write postgresql://USER@..., "
            "or set PGUSER"
        ) from None


def _names_a_host(netloc: str, query: Mapping[str, str]) -> bool:
    host = netloc.rpartition("@")[2]
    return "host" in query or not (host == "" or host.startswith(":"))


def _with_hosts(netloc: str, addresses: str) -> str:
    """Return the part of a URL with user and hosts, with addresses in place of hosts."""
    user, at, port = netloc.rpartition("@")
    hosts = (f"[{each}]" if ":" in each else each for each in addresses.split(","))
    return user + at + ",".join(f"{host}{port}" for host in hosts)


def _addresses(addresses: str, hosts: int) -> list[str]:
    """Return the address of each host. Raises ``ValueError``."""
    if not addresses:
        return [""] * hosts
    found = addresses.split(",")
    if len(found) != hosts:
        raise ValueError(f"hostaddr: must have one address for each of the {hosts} hosts")
    for address in filter(None, found):
        try:
            ip_address(address)
        except ValueError:
            raise ValueError("hostaddr: must be IP addresses; a name is written as host") from None
    return found


def _split(url: str) -> SplitResult:
    """Split a URL as ``urlsplit`` does, which refuses ``a,[::1]`` in patched versions of Python."""
    scheme, _, rest = url.partition("://")
    netloc = re.split("[/?#]", rest, maxsplit=1)[0]
    return urlsplit(f"{scheme}://{rest.removeprefix(netloc)}")._replace(netloc=netloc)


def _urls_of_hosts(url: str) -> list[str]:
    """Return one URL for each host that a URL lists."""
    parts = _split(url)
    user, at, hosts = parts.netloc.rpartition("@")
    if "," in hosts:
        return [urlunsplit(parts._replace(netloc=user + at + host)) for host in hosts.split(",")]
    query = dict(parse_qsl(parts.query))
    named, ports = (query.get(name, "").split(",") for name in ("host", "port"))
    if len(named) == 1 or len(ports) not in {1, len(named)}:
        return [url]
    if len(ports) == 1:
        ports *= len(named)
    queries = [query | {"host": h, "port": p} for h, p in zip(named, ports, strict=True)]
    return [
        urlunsplit(
            parts._replace(query=urlencode({k: v for k, v in each.items() if v}, quote_via=quote))
        )
        for each in queries
    ]


def forget_unreadable_home() -> None:
    """Make an unreadable home folder count as none, as for libpq.

    The driver looks there for certificates, and would fail. systemd makes the home folder
    unreadable with ``ProtectHome=yes``.
    """
    try:
        home = Path.home()
        for name in (".pgpass", ".pg_service.conf", ".postgresql/postgresql.key"):
            home.joinpath(name).exists()
    except RuntimeError:  # there is no home folder
        return
    except OSError:
        os.environ["HOME"] = os.devnull
