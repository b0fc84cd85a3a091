"""Dashboards for Grafana. :mod:`grafana.generator` writes the JSON."""

from __future__ import annotations
