"""The types of values that settings have (addresses, durations, URLs), and how each is written."""

from __future__ import annotations

import re
from contextlib import suppress
from dataclasses import dataclass
from ipaddress import (
    AddressValueError,
    IPv4Network,
    IPv6Address,
    IPv6Network,
    ip_address,
    ip_network,
)
from pathlib import Path
from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from exporter.exposition.families import INFO_LABELS, InfoLabel
from exporter.settings.options import Kind, Mark
from exporter.storage.urls import parse_storage_url

WEB_PORT = 10877
"""Default port of the internal listener."""

WEBHOOK_PORT = 10878
"""Default port of the public listener."""

_MAX_PORT = 65535

_ADDRESS = re.compile(r"(?:\[(?P<ipv6>[^\[\]]+)\]|(?P<host>[A-Za-z0-9._-]*)):(?P<port>[0-9]{1,5})")

_HOST_NAME = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*")


@dataclass(frozen=True, slots=True)
class ListenAddress:
    """The address that a listener binds."""

    host: str
    """A name or an IP address (IPv6 without brackets). Empty or ``::`` for all interfaces, IPv4 and
    IPv6."""
    port: int
    """0 lets the system choose a free port."""

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read ``:10877``, ``127.0.0.1:10877``, ``[::1]:10877`` or ``localhost:0``.

        Raises ``ValueError`` for any other text. It does not resolve names.
        """
        match = _ADDRESS.fullmatch(text)
        if match and int(match["port"]) <= _MAX_PORT:
            with suppress(AddressValueError):
                if match["ipv6"] is not None:
                    IPv6Address(match["ipv6"])
                return cls(match["ipv6"] or match["host"], int(match["port"]))
        raise ValueError(
            f"not an address: {text!r} (write it like :{WEB_PORT}, "
            f"127.0.0.1:{WEB_PORT} or [::1]:{WEB_PORT})"
        )

    @property
    def is_loopback(self) -> bool:
        """Return whether only programs of this machine can reach the address."""
        if self.host == "localhost":
            return True
        with suppress(ValueError):
            address = ip_address(self.host)
            return (getattr(address, "ipv4_mapped", None) or address).is_loopback
        return False

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


_UNITS = {
    "y": 365 * 24 * 3600 * 1000,
    "w": 7 * 24 * 3600 * 1000,
    "d": 24 * 3600 * 1000,
    "h": 3600 * 1000,
    "m": 60 * 1000,
    "s": 1000,
    "ms": 1,
}
"""Milliseconds in each unit. Durations are written in this order, greatest unit first."""

_DURATION = re.compile("".join(f"(?:([0-9]+){unit})?" for unit in _UNITS))

_MAX_MILLISECONDS = (2**63 - 1) // 1_000_000
"""Prometheus keeps durations as signed 64-bit nanoseconds: about 292 years."""

_MAX_LENGTH = 64
"""Characters. Every duration below the limit needs far fewer."""


def parse_duration(text: str) -> float:
    """Return the seconds that ``text`` stands for.

    Units are ``y w d h m s ms``, greatest first, each at most once. Only zero may have no unit.
    Raises ``ValueError`` for any other text and for more than about 292 years.
    """
    match = _DURATION.fullmatch(text) if len(text) <= _MAX_LENGTH else None
    if text == "0":
        return 0.0
    if match is None or not text:
        raise ValueError(f"not a duration: {text!r} (write it like 500ms, 30s, 1h30m or 30d)")
    parts = zip(match.groups(default="0"), _UNITS.values(), strict=True)
    milliseconds = sum(int(count) * size for count, size in parts)
    if milliseconds > _MAX_MILLISECONDS:
        raise ValueError(f"duration too long: {text!r} (at most 292y)")
    return milliseconds / 1000


def format_duration(seconds: float) -> str:
    """Return ``seconds`` (not negative) as a duration, exact to the millisecond.

    Years and weeks are used only if nothing is left over, as in Prometheus: 8 days are ``8d``, 14
    days ``2w``.
    """
    rest = round(seconds * 1000)
    if rest == 0:
        return "0s"
    written = []
    for unit, size in _UNITS.items():
        if unit in {"y", "w"} and rest % size:
            continue
        count, rest = divmod(rest, size)
        if count:
            written.append(f"{count}{unit}")
    return "".join(written)


AUTO = "auto"
"""Value of ``--shard`` that stands for the number at the end of the host name."""

_CONTROL_CHARACTER = re.compile(r"[\x00-\x1f\x7f]")

_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")

RESERVED_PATHS = frozenset(
    {"-", "api", "deliveries", "esims", "packages", "rejected", "search", "webhooks"}
)
"""First segments of the paths of all endpoints except metrics, on both listeners. A test compares
them with the routes."""


def written(text: str) -> Any:
    """Return a default that is written as users write it. Validation turns it into a value."""
    return text


def prefix_of_external_url(validated: dict[str, str]) -> str:
    """Return the path of the external URL, which was validated before this field."""
    return urlsplit(validated.get("external_url", "")).path


def _duration(value: object) -> object:
    return parse_duration(value) if isinstance(value, str) else value


def _address(value: object) -> ListenAddress:
    return value if isinstance(value, ListenAddress) else ListenAddress.parse(str(value))


def _none_if_empty(value: object) -> object:
    return None if value == "" else value


def _path(value: object) -> object:
    if isinstance(value, str) and _CONTROL_CHARACTER.search(value):
        raise ValueError("must not contain a line end or another control character")
    return _none_if_empty(value)


def _number(value: object) -> object:
    return int(value) if value in {"1024", "1000"} else value


def _external_url(text: str) -> str:
    """Return the URL without the slash at its end."""
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        usable = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        usable = False
    if not usable:
        raise ValueError("must be a URL such as https://metrics.example.org/esim")
    if parts.query or parts.fragment or parts.username is not None:
        raise ValueError("must be a URL without user, query or fragment")
    return text.rstrip("/")


def _route_prefix(text: str) -> str:
    """Return ``/``, or a path that starts with a slash and does not end with one."""
    prefix = f"/{text.strip('/')}"
    if prefix != "/" and not _PATH.fullmatch(prefix):
        raise ValueError(f"not a path: {text!r}")
    return prefix


def _telemetry_path(text: str) -> str:
    if not _PATH.fullmatch(text):
        raise ValueError(f"not a path: {text!r} (write it like /metrics)")
    first = text.split("/")[1]
    if first in RESERVED_PATHS:
        raise ValueError(f"{text!r} cannot be used: other endpoints are under /{first}")
    return text


def _storage_url(url: str) -> str:
    parse_storage_url(url)
    return url


def _shard(text: str) -> str:
    if text != AUTO and not (text.isascii() and text.isdigit()):
        raise ValueError(f"must be a number from 0 on, or {AUTO}")
    return text


def _host_names(value: object) -> object:
    """Split at commas, in lower case, as a ``Host`` header is compared."""
    names = value.split(",") if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        return value
    names = [name for each in names if (name := str(each).strip().lower())]
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(f"not a host name: {name!r} (write it without scheme, port and path)")
    return tuple(dict.fromkeys(names))


def _networks(value: object) -> object:
    """Split at commas. An address is a network of one."""
    texts = value.split(",") if isinstance(value, str) else value
    if not isinstance(texts, (list, tuple)):
        return value
    networks = []
    for text in (stripped for each in texts if (stripped := str(each).strip())):
        try:
            networks.append(ip_network(text))
        except ValueError:
            raise ValueError(
                f"not an IP address or network: {text!r} (write it like 192.0.2.7 or 192.0.2.0/24)"
            ) from None
    return tuple(dict.fromkeys(networks))


def _esim_labels(value: object) -> object:
    """Split at commas and sort the labels in the order of ``INFO_LABELS``."""
    labels = value.split(",") if isinstance(value, str) else value
    if not isinstance(labels, (list, tuple)):
        return value
    names = {str(label).strip() for label in labels} - {""}
    if unknown := sorted(names.difference(INFO_LABELS)):
        raise ValueError(f"no such label: {unknown[0]!r} (use some of {', '.join(INFO_LABELS)})")
    if {"iccid", "iccid_hash"} <= names:
        raise ValueError("must not hold both iccid and iccid_hash")
    return tuple(label for label in INFO_LABELS if label in names)


Count = Annotated[int, Kind("number")]
Bytes = Annotated[int, Kind("bytes")]
Ratio = Annotated[float, Kind("number")]
NotNegative = Field(ge=0)
NotAboveOne = Field(le=1)
Positive = Field(gt=0)

Duration = Annotated[float, BeforeValidator(_duration), Kind("duration")]
"""Seconds."""

Address = Annotated[ListenAddress, BeforeValidator(_address), Kind("address")]
OptionalAddress = Annotated[Address | None, BeforeValidator(_none_if_empty), Kind("address")]
OptionalPath = Annotated[Path | None, BeforeValidator(_path), Kind("file")]
OptionalFolder = Annotated[Path | None, BeforeValidator(_path), Kind("folder")]

TelemetryPath = Annotated[str, AfterValidator(_telemetry_path), Kind("path")]
ExternalUrl = Annotated[str, AfterValidator(_external_url), Kind("url"), Mark.CONFIDENTIAL]
RoutePrefix = Annotated[str, AfterValidator(_route_prefix), Kind("path")]
ShardNumber = Annotated[str, AfterValidator(_shard), Kind("number")]
StorageUrl = Annotated[str, AfterValidator(_storage_url), Kind("url"), Mark.CONFIDENTIAL]
Networks = Annotated[
    tuple[IPv4Network | IPv6Network, ...], BeforeValidator(_networks), Kind("list")
]
HostNames = Annotated[tuple[str, ...], BeforeValidator(_host_names), Kind("list")]
EsimLabels = Annotated[tuple[InfoLabel, ...], BeforeValidator(_esim_labels), Kind("list")]
UnitBase = Annotated[Literal[1024, 1000], BeforeValidator(_number)]
