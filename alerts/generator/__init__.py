"""Write the rules, the routes and the table of alerts: ``make alerts``.

``config`` has every threshold and name. ``usage`` and ``forecast`` have the rules about single
eSIMs, ``fleet`` those about packages and the fleet, ``feed`` those about incoming events,
``exporter`` those about the exporter. ``routing`` has Alertmanager's routes. Only developers run
this; users take the YAML.
"""

from __future__ import annotations

from alerts.generator.bundle import FILES, groups
from alerts.generator.config import Config
from alerts.generator.documents import README, documents
from alerts.generator.rules import Alert, Group, Recording

__all__ = ["FILES", "README", "Alert", "Config", "Group", "Recording", "documents", "groups"]
