"""The table of the settings in force."""

from __future__ import annotations

from typing import TYPE_CHECKING

from exporter.settings import loading
from exporter.settings.loading import settings_in_force

if TYPE_CHECKING:
    from exporter.settings.definitions import Settings

SECRET = "a-secret-of-the-vendor"


def settings(*flags: str) -> Settings:
    return loading.load(flags, {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET})


def test_values_are_written_as_a_user_writes_them() -> None:
    chosen = settings("--web.enable-lifecycle", "--metrics.esim-labels=reference_id,iccid")

    table = dict(settings_in_force(chosen, chosen))

    assert table["--retention.silent"] == "30d"
    assert table["--web.enable-lifecycle"] == "true"
    assert table["--metrics.esim-labels"] == "reference_id,iccid"
    assert table["--webhook.secret-file"] == ""
    assert [*table] == [option.flag for option in loading.OPTIONS]


def test_secrets_are_not_shown() -> None:
    chosen = settings("--storage.url=postgresql://user:password@host/db")

    table = dict(settings_in_force(chosen, chosen))

    assert table["--webhook.secret"] == table["--storage.url"] == "set, not shown"
    assert SECRET not in str(table)
    assert "password" not in str(table)


def test_a_reload_shows_only_in_settings_that_it_applies() -> None:
    started = settings()
    reloaded = settings("--fleet.stale-after=2h", "--limits.max-esims=7")

    table = dict(settings_in_force(started, reloaded))

    assert table["--fleet.stale-after"] == "2h"
    assert table["--limits.max-esims"] == "100000"
