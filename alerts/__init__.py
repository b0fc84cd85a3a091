"""Alerting: the files in this folder are written by ``alerts.generator``."""

from __future__ import annotations
