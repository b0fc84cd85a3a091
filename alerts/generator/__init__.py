"""Write the rules, the routes and the table of alerts: ``make alerts``.

``config`` has every threshold and name. The rules are in five modules: ``usage`` and ``forecast``
for single eSIMs, ``fleet`` for packages and the fleet, ``feed`` for incoming events, and
``exporter`` for the exporter. ``routing`` has Alertmanager's routes. Only developers run this;
users take the YAML.
"""

from __future__ import annotations

from alerts.generator.bundle import FILES, groups
from alerts.generator.config import Config
from alerts.generator.documents import README, documents
from alerts.generator.rules import Alert, Group, Recording

__all__ = ["FILES", "README", "Alert", "Config", "Group", "Recording", "documents", "groups"]
