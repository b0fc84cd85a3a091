"""The parts of an exporter fit together."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from running import LOOPBACK

from exporter.app.build import build
from exporter.app.listener_applications import build_applications, build_status_pages
from exporter.settings import loading
from exporter.settings.field_types import RESERVED_PATHS
from exporter.storage.sqlite.storage import SqliteStorage
from exporter.vendors.registry import NAMES

if TYPE_CHECKING:
    from pathlib import Path

SETTINGS = loading.load((*LOOPBACK, "--webhook.allow-unsigned"), {})


async def test_the_telemetry_path_cannot_hide_an_endpoint(tmp_path: Path) -> None:
    storage = await SqliteStorage.open(tmp_path / "exporter.db")
    exporter = build(SETTINGS, storage, time.time, lambda: SETTINGS)
    sites = build_applications(exporter, build_status_pages(exporter))
    paths = {rule.rule for site in sites for rule in site.app.url_map.iter_rules()}
    assert {path.split("/")[1] for path in paths - {"/", "/metrics"}} == RESERVED_PATHS
    await storage.close()


def test_every_vendor_has_a_unit_base() -> None:
    assert set(SETTINGS.unit_bases) == set(NAMES)
