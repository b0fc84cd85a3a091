"""Writes the rules, the routes and the table of alerts: ``make alerts``.

``config`` holds every fixed value; ``usage``, ``forecast``, ``fleet``, ``feed``, ``exporter``
and ``budget`` hold the rules by what they are about, ``routing`` what is sent where. Used
when developing only; users take the YAML.
"""

from __future__ import annotations

from alerts.generator.bundle import FILES, groups
from alerts.generator.config import Config
from alerts.generator.documents import README, documents
from alerts.generator.rules import Alert, Group, Recording

__all__ = ["FILES", "README", "Alert", "Config", "Group", "Recording", "documents", "groups"]
