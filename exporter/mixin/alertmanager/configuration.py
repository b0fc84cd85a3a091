"""The whole configuration of Alertmanager."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from exporter.mixin.alertmanager.inhibition import inhibit_rules
from exporter.mixin.alertmanager.receivers import receivers
from exporter.mixin.alertmanager.routes import route

if TYPE_CHECKING:
    from exporter.mixin.values import MixinValues


def alertmanager(values: MixinValues) -> dict[str, Any]:
    """Return the configuration."""
    return {
        "route": route(values),
        "receivers": receivers(values),
        "inhibit_rules": inhibit_rules(values),
    }
