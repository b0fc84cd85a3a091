"""Dashboards for Grafana; the JSON is written by :mod:`grafana.generator`."""

from __future__ import annotations
