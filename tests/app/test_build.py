"""The parts of an exporter fit together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import bcrypt
import pytest
from running import LOOPBACK

from exporter.app.build import build
from exporter.app.listener_applications import (
    build_applications,
    build_status_pages,
    warn_of_unprotected_changes,
)
from exporter.app.reload import reload, reload_unasked
from exporter.errors import SettingsError
from exporter.settings import loading
from exporter.settings.field_types import RESERVED_PATHS
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from pathlib import Path

    from exporter.settings.definitions import Settings

SETTINGS = loading.load((*LOOPBACK, "--webhook.allow-unsigned"), {})


async def test_the_telemetry_path_cannot_hide_an_endpoint(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "exporter.db")
    exporter = build(SETTINGS, storage, time.time, lambda: SETTINGS)
    sites = build_applications(exporter, build_status_pages(exporter))
    paths = {rule.rule for site in sites for rule in site.app.url_map.iter_rules()}
    assert {path.split("/")[1] for path in paths - {"/", "/metrics"}} == RESERVED_PATHS
    await storage.close()


@pytest.mark.parametrize(
    ("flags", "because"),
    [
        (("--web.enable-admin-api",), "--web.enable-admin-api"),
        (
            ("--web.enable-lifecycle", "--web.enable-admin-api"),
            "--web.enable-admin-api --web.enable-lifecycle",
        ),
        ((), None),
        (("--web.enable-admin-api", "--web.listen-address=127.0.0.1:0"), None),
        (("--web.enable-admin-api", "--web.config.file=web.yml"), None),
    ],
)
async def test_a_start_warns_if_everybody_may_change_something(
    flags: tuple[str, ...],
    because: str | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.chdir(tmp_path)
    hashed = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{someone: '{hashed}'}}\n")
    settings = loading.load(("--webhook.allow-unsigned", *flags), {})
    storage = await SqliteStorage.open(tmp_path / "exporter.db")
    warn_of_unprotected_changes(build(settings, storage, time.time, lambda: settings))
    await storage.close()
    told = [r.__dict__["fields"]["because"] for r in caplog.records if r.levelname == "WARNING"]
    assert told == ([because] if because else [])


async def test_whatever_fails_in_a_reload_the_last_good_settings_stay(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    broken = True

    def load() -> Settings:
        if broken:
            raise ZeroDivisionError
        return SETTINGS

    storage = await SqliteStorage.open(tmp_path / "exporter.db")
    exporter = build(SETTINGS, storage, time.time, load)
    succeeded = exporter.metrics.registry.get_sample_value
    gauge = "esim_exporter_config_last_reload_successful"
    with pytest.raises(SettingsError, match="unexpected"):
        reload(exporter)
    reload_unasked(exporter)  # raises nothing, so that the files are watched on
    assert (succeeded(gauge), caplog.messages) == (0, ["reload failed"] * 2)
    assert exporter.settings.current is SETTINGS
    broken = False
    reload_unasked(exporter)
    assert succeeded(gauge) == 1
    await storage.close()
