"""The settings of ``esim-exporter serve``, from flags, environment, a YAML file, and defaults.

Flags win over environment variables, these over the YAML file, and the file over defaults.
"""

from __future__ import annotations

import codecs
import platform
import re
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import SecretStr, ValidationError

from exporter import __version__
from exporter.errors import SettingsError
from exporter.model.shards import Shard
from exporter.settings.definitions import Settings
from exporter.settings.field_types import AUTO, format_duration
from exporter.settings.options import as_users_write, help_text, options_of
from exporter.settings.small_files import read_small_file
from exporter.settings.sources import (
    Given,
    Values,
    read_environment,
    read_file,
    read_flags,
    refuse_utf16,
    secrets_in_file,
    secrets_in_variable,
)
from exporter.settings.vendor_settings import secret_variable
from exporter.vendors.registry import FIRST

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from exporter.settings.groups import WebhookSettings
    from exporter.settings.options import Option
    from exporter.settings.vendor_settings import VendorSettings
    from exporter.vendors.vendor import Vendor

OPTIONS = options_of(Settings)
"""Every setting, in the order of the help page."""

_TOKEN = re.compile(rb"[A-Za-z0-9._~-]+")

_BY_PATH: dict[tuple[object, ...], Option] = {option.path: option for option in OPTIONS}


def load(
    argv: Sequence[str], environ: Mapping[str, str], prog: str = "esim-exporter serve"
) -> Settings:
    """Read the settings. ``--help`` and ``--version`` print and raise ``SystemExit(0)``.

    Raises ``SettingsError`` with one line for each problem. The line names the flag, variable or
    key and never shows a secret.
    """
    version = f"esim-exporter, version {__version__} (Python {platform.python_version()})\n"
    flags, problems = read_flags(
        OPTIONS, argv, help_text=help_text(Settings, prog), version=version
    )
    variables, unknown = read_environment(OPTIONS, environ)
    problems += unknown
    given = variables | flags
    if named := given.get(_BY_PATH["config", "file"]):
        from_file, misplaced = read_file(OPTIONS, Path(str(named.value)))
        problems += misplaced
        given = from_file | given
    try:
        settings = Settings.model_validate(_nested(given))
    except ValidationError as error:
        problems += _explained(error, given)
    if problems:
        raise SettingsError("\n".join(problems))
    return settings


def read_secrets(settings: Settings, vendor: Vendor) -> tuple[bytes, ...]:
    """Return a vendor's secrets, those of files first; none if unsigned deliveries are allowed.

    Files are read at each call. Raises ``SettingsError``, which names the file, if it cannot be
    read, holds no secret, or holds a token that cannot be part of a path.
    """
    groups: dict[str, WebhookSettings | VendorSettings] = {vendor.name: settings.of(vendor)}
    if vendor is FIRST:
        groups = {"webhook": settings.webhook, **groups}
    secrets: list[bytes] = []
    for name, group in groups.items():
        if path := group.secret_file:
            secrets += _secrets_of_file(f"--{name}.secret-file", path, vendor)
    for group in groups.values():
        given = secrets_in_variable(group.secret.get_secret_value())
        secrets += _usable(given, secret_variable(vendor), vendor)
    return tuple(dict.fromkeys(secrets))


def secret_files(settings: Settings) -> list[Path]:
    """Return the files that hold secrets of vendors that are on."""
    named = [settings.webhook.secret_file]
    named += [settings.of(vendor).secret_file for vendor in settings.vendors_on]
    return [path for path in named if path]


def _secrets_of_file(flag: str, path: Path, vendor: Vendor) -> tuple[bytes, ...]:
    content = _contents(flag, path)
    try:
        secrets = secrets_in_file(content)
    except ValueError as error:
        raise SettingsError(f"{flag}: {path}: {error}") from None
    if not secrets:
        raise SettingsError(f"{flag}: {path}: holds no secret")
    return _usable(secrets, f"{flag}: {path}", vendor)


def _usable(secrets: tuple[bytes, ...], where: str, vendor: Vendor) -> tuple[bytes, ...]:
    """Return the secrets. Raises ``SettingsError`` if a token cannot be part of a path."""
    if vendor.authentication.token_in_path and not all(map(_TOKEN.fullmatch, secrets)):
        raise SettingsError(
            f"{where}: a token is part of a path: use only letters, digits and the signs - . _ ~"
        )
    return secrets


def read_iccid_hash_key(settings: Settings) -> bytes | None:
    """Return the key that ICCIDs are hashed with, ``None`` if none is set.

    Raises ``SettingsError``, which names the file, if it cannot be read or is empty.
    """
    path = settings.metrics.iccid_hash_key_file
    if path is None:
        return None
    content = _contents("--metrics.iccid-hash-key-file", path)
    try:
        refuse_utf16(content)
    except ValueError as error:
        raise SettingsError(f"--metrics.iccid-hash-key-file: {path}: {error}") from None
    key = content.removeprefix(codecs.BOM_UTF8).strip()
    if not key:
        raise SettingsError(f"--metrics.iccid-hash-key-file: {path}: holds no key")
    return key


def shard_of(settings: Settings, host: str = "") -> Shard:
    """Return the shard of this process. ``host`` is the host name, by default of this machine.

    Raises ``SettingsError`` if the number must come from the host name and is not in it.
    """
    number, total = settings.shards.number, settings.shards.total
    if number != AUTO:
        return Shard(int(number), total)
    ordinal = re.search(r"-([0-9]+)(\.|$)", host or socket.gethostname())
    if ordinal is None:
        raise SettingsError(
            f"--shard: {AUTO} needs a host name that ends in a number, such as esim-exporter-0"
        )
    return Shard(int(ordinal[1]) % total, total)


def changed_but_fixed(old: Settings, new: Settings) -> list[str]:
    """Return the flags of settings that differ but need a restart to be applied."""
    return [
        option.flag
        for option in OPTIONS
        if not option.reloadable and option.value(old) != option.value(new)
    ]


def _nested(given: Values) -> dict[str, dict[str, object]]:
    nested: dict[str, dict[str, object]] = {}
    for option, value in given.items():
        group, field = option.path
        nested.setdefault(group, {})[field] = value.value
    return nested


def _explained(error: ValidationError, given: Values) -> list[str]:
    """Turn pydantic's errors into lines that say which setting is wrong, and why."""
    lines = []
    for detail in error.errors(include_url=False, include_input=False):
        if detail["type"] == "default_factory_not_called":
            continue  # caused by the error of another setting, which is reported too
        message = str(detail.get("ctx", {}).get("error", "")) or detail["msg"]
        option = _BY_PATH.get(detail["loc"][:2])
        # The error of a rule between settings has no option; its message names the flags.
        lines.append(_line(given[option], option, message) if option in given else message)
    return lines


def _line(given: Given, option: Option, message: str) -> str:
    shown = repr(given.value)
    hidden = option.confidential or shown in message
    return f"{given.where}: {message.removeprefix('Input ')}{'' if hidden else f', not {shown}'}"


def _contents(flag: str, path: Path) -> bytes:
    try:
        return read_small_file(path)
    except OSError as error:
        raise SettingsError(f"{flag}: {path}: {error.strerror or error}") from None


def settings_in_force(started: Settings, reloaded: Settings) -> list[tuple[str, str]]:
    """Return each flag with its value in force, written as a user would write it.

    ``started`` are the settings that the process started with, ``reloaded`` those of the last
    reload. A reload changes only some settings; all others keep the value of the start. For a
    setting that may hold a secret, the table says only whether it is set. The value of a setting
    that is not set is empty.
    """
    return [
        (option.flag, _written(option, option.value(reloaded if option.reloadable else started)))
        for option in OPTIONS
    ]


def _written(option: Option, value: Any) -> str:
    if option.confidential:
        given = value.get_secret_value() if isinstance(value, SecretStr) else value
        return "set, not shown" if given else ""
    if option.kind == "duration":
        return format_duration(value)
    return as_users_write(value)
