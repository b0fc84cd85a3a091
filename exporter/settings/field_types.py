"""The types of setting values: how users write them, what is checked, and what is kept."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field

from exporter.exposition.info_labels import INFO_LABELS, InfoLabel
from exporter.settings.addresses import ListenAddress
from exporter.settings.durations import parse_duration
from exporter.settings.options import Confidential, Kind
from exporter.storage.urls import parse_storage_url

AUTO = "auto"
"""Value of ``--shard`` that stands for the number at the end of the host name."""

_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._~-]+)+")

RESERVED_PATHS = frozenset(
    {"-", "api", "deliveries", "esims", "packages", "rejected", "search", "webhooks"}
)
"""First segments of the paths of all endpoints but metrics, on both listeners. A test compares them
with the routes."""


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


def _address_or_none(value: object) -> ListenAddress | None:
    return None if value in {None, ""} else _address(value)


def _path_or_none(value: object) -> object:
    return None if value == "" else value


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
NotNegative = Field(ge=0)
Positive = Field(gt=0)

Duration = Annotated[float, BeforeValidator(_duration), Kind("duration")]
"""Seconds."""

Address = Annotated[ListenAddress, BeforeValidator(_address), Kind("address")]
OptionalAddress = Annotated[
    ListenAddress | None, BeforeValidator(_address_or_none), Kind("address")
]
OptionalPath = Annotated[Path | None, BeforeValidator(_path_or_none), Kind("file")]
OptionalFolder = Annotated[Path | None, BeforeValidator(_path_or_none), Kind("folder")]

TelemetryPath = Annotated[str, AfterValidator(_telemetry_path), Kind("path")]
ExternalUrl = Annotated[str, AfterValidator(_external_url), Kind("url"), Confidential.VALUE]
RoutePrefix = Annotated[str, AfterValidator(_route_prefix), Kind("path")]
ShardNumber = Annotated[str, AfterValidator(_shard), Kind("number")]
StorageUrl = Annotated[str, AfterValidator(_storage_url), Kind("url"), Confidential.VALUE]
EsimLabels = Annotated[
    tuple[InfoLabel, ...],
    BeforeValidator(_esim_labels),
    Kind("list"),
]
UnitBase = Annotated[Literal[1024, 1000], BeforeValidator(_number)]
