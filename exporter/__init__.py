"""Prometheus gateway for travel eSIM webhook feeds."""

from __future__ import annotations

from pathlib import Path

from exporter.app.revision import revision

__version__ = "0.1.0"
__revision__ = revision(Path(__file__).resolve().parent)
