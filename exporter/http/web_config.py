"""The file that ``--web.config.file`` names: the web configuration of the Prometheus project.

It has the format of the project's exporter toolkit, so a file of another exporter works here too.
A key that this server cannot support is an error when the file is read. No key is ignored.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import bcrypt
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    model_validator,
)

from exporter.errors import SettingsError
from exporter.settings.sources import hint

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails

_HASH = re.compile(r"\$2[aby]\$(0[4-9]|[12][0-9]|3[01])\$([./A-Za-z0-9]{22})[./A-Za-z0-9]{31}")

_UNVERIFIED = ("RequestClientCert", "RequireAnyClientCert", "RequireClientCert")

_NOT_OFFERED = {
    "tls_server_config.cert": "cannot be written here, use cert_file",
    "tls_server_config.key": "cannot be written here, use key_file",
    "tls_server_config.client_ca": "cannot be written here, use client_ca_file",
    "rate_limit": "not offered; use --web.max-requests and --web.max-connections",
}
"""Keys of newer versions of the format, and what to use instead."""


def _path_beside_file(value: str, info: ValidationInfo) -> Path:
    return Path(info.context["folder"] if info.context else "") / value


def _verified_auth_type(value: str) -> str:
    if value in _UNVERIFIED:
        raise ValueError(
            f"{value} is not offered: Python's ssl verifies every certificate that it asks for; "
            "use VerifyClientCertIfGiven or RequireAndVerifyClientCert"
        )
    return value


def _secure_version(value: str) -> str:
    if value in {"TLS10", "TLS11"}:
        raise ValueError(f"{value} is not offered: it is not secure (RFC 8996), use TLS12 or TLS13")
    return value


def _no_http2(value: bool) -> bool:  # noqa: FBT001  # the signature of a validator
    if value:
        raise ValueError("HTTP/2 is not offered; remove the key or set it to false")
    return value


def _usable_hash(value: str) -> str:
    """Return a hash that bcrypt accepts. It is tried at the lowest cost, 4."""
    match = _HASH.fullmatch(value)
    try:
        if match:
            bcrypt.hashpw(b"", f"$2b$04${match[2]}".encode())
            return value
    except ValueError:  # unused bits of the salt are set
        pass
    raise ValueError("not a bcrypt hash; make one with htpasswd -nBC 10 USER")


_File = Annotated[Path, BeforeValidator(_path_beside_file)]
_Version = Annotated[Literal["TLS12", "TLS13"], BeforeValidator(_secure_version)]
_HeaderText = Annotated[str, Field(pattern=r"^[\x20-\x7e]*$")]
_UserName = Annotated[str, Field(pattern=r"^[^:\x00-\x1f\x7f]+$")]  # RFC 7617, section 2
_Hash = Annotated[str, AfterValidator(_usable_hash)]


class _Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, values: object) -> object:
        return _without_empty(cls, values, "")


class TlsServer(_Section):
    """The section ``tls_server_config``."""

    cert_file: _File
    key_file: _File
    client_auth_type: Annotated[
        Literal["NoClientCert", "VerifyClientCertIfGiven", "RequireAndVerifyClientCert"],
        BeforeValidator(_verified_auth_type),
    ] = "NoClientCert"
    client_ca_file: _File | None = None
    client_allowed_sans: Annotated[tuple[str, ...], Field(min_length=1)] | None = None
    min_version: _Version = "TLS12"
    max_version: _Version = "TLS13"
    cipher_suites: tuple[str, ...] = ()
    prefer_server_cipher_suites: bool = True
    curve_preferences: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _fits_together(self) -> TlsServer:
        if self.min_version > self.max_version:
            raise ValueError("min_version is above max_version")
        asks = self.client_auth_type != "NoClientCert"
        if asks and not self.client_ca_file:
            raise ValueError(f"client_auth_type: {self.client_auth_type} needs client_ca_file")
        if self.client_ca_file and not asks:
            raise ValueError("client_ca_file: has no effect without client_auth_type")
        if self.client_allowed_sans and self.client_auth_type != "RequireAndVerifyClientCert":
            raise ValueError("client_allowed_sans: needs RequireAndVerifyClientCert")
        return self

    @property
    def files(self) -> tuple[Path, ...]:
        """Return the files that the section names."""
        return tuple(filter(None, (self.cert_file, self.key_file, self.client_ca_file)))


class ConfiguredHeaders(_Section):
    """The headers that the format can set."""

    content_security_policy: _HeaderText = Field(default="", alias="Content-Security-Policy")
    x_frame_options: Literal["", "deny", "sameorigin"] = Field(default="", alias="X-Frame-Options")
    x_content_type_options: Literal["", "nosniff"] = Field(
        default="", alias="X-Content-Type-Options"
    )
    x_xss_protection: _HeaderText = Field(default="", alias="X-XSS-Protection")
    strict_transport_security: _HeaderText = Field(default="", alias="Strict-Transport-Security")

    def encoded(self) -> tuple[tuple[bytes, bytes], ...]:
        """Return the headers that are set, with names in lower case."""
        set_ = self.model_dump(by_alias=True, exclude_defaults=True)
        return tuple((name.lower().encode(), value.encode()) for name, value in set_.items())


class HttpServer(_Section):
    """The section ``http_server_config``."""

    http2: Annotated[bool, AfterValidator(_no_http2)] = False
    headers: ConfiguredHeaders = Field(default_factory=ConfiguredHeaders)


class WebConfig(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    tls_server_config: TlsServer | None = None
    http_server_config: HttpServer = Field(default_factory=HttpServer)
    basic_auth_users: dict[_UserName, _Hash] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _empty_is_not_set(cls, values: object) -> object:
        return _without_empty(cls, values, {})


def read_web_config(path: Path) -> WebConfig:
    """Read a file. Raises ``SettingsError`` with one line for each problem, without any hash."""
    from exporter.settings.yaml_file import read_document  # noqa: PLC0415  # most exporters have no file

    document = read_document(path)
    try:
        return WebConfig.model_validate(document or {}, context={"folder": path.parent})
    except ValidationError as error:
        details = error.errors(include_url=False, include_input=False)
        raise SettingsError("\n".join(f"{path}: {_explained(each)}" for each in details)) from None


def _explained(detail: ErrorDetails) -> str:
    loc = detail["loc"]
    place = ".".join(map(str, loc))
    match detail["type"]:
        case "missing":
            message = "not set"
        case "model_type" | "dict_type":
            message = "must be a mapping"
        case "extra_forbidden":
            close = hint(str(loc[-1]), _known_beside(loc))
            message = _NOT_OFFERED.get(place, f"no such key{close}")
        case _:
            reason = str(detail.get("ctx", {}).get("error", ""))
            message = reason or detail["msg"].removeprefix("Input ")
    return f"{place}: {message}" if place else message


def _known_beside(loc: tuple[int | str, ...]) -> list[str]:
    sections: dict[tuple[int | str, ...], type[BaseModel]] = {
        (): WebConfig,
        ("tls_server_config",): TlsServer,
        ("http_server_config",): HttpServer,
        ("http_server_config", "headers"): ConfiguredHeaders,
    }
    return _keys(sections[loc[:-1]])


def _without_empty(model: type[BaseModel], values: object, empty: object) -> object:
    """Leave out keys of ``model`` that have no value. Unknown keys stay, and are an error."""
    if not isinstance(values, dict):
        return values
    keys = _keys(model)
    return {k: v for k, v in values.items() if k not in keys or v not in (None, empty)}


def _keys(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]
