"""Prometheus gateway for travel eSIM webhook feeds."""

from __future__ import annotations

__version__ = "0.1.0"
