"""Prometheus gateway for travel eSIM webhook feeds."""

from __future__ import annotations

__version__ = "0.1.0"

PROJECT_URL = "https://github.com/esim-exporter/esim-exporter"
"""Where the source and the runbooks are published."""
