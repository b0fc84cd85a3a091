"""Alerting. ``alerts.generator`` writes the YAML files in this folder."""

from __future__ import annotations
