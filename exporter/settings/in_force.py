"""The table of the settings in force, for people. Secrets are never shown."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from pydantic import SecretStr

from exporter.settings.durations import format_duration
from exporter.settings.loading import OPTIONS

if TYPE_CHECKING:
    from exporter.settings.model import Settings
    from exporter.settings.options import Option


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
    if option.switch:
        return str(value).lower()
    if option.many:
        return ", ".join(value)
    return "" if value is None else str(value)
