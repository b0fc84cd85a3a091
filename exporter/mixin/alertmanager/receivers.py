"""Receivers: where notifications go, and what they say."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.mixin.values import MixinValues


def receivers(values: MixinValues) -> list[dict[str, Any]]:
    """Return all receivers that the routes name."""
    return [
        {"name": "null"},
        _receiver(values, "deadman", send_resolved=False),
        _receiver(values, "pager", max_alerts=50),
        _receiver(values, "tickets", max_alerts=50),
    ]


def _receiver(values: MixinValues, name: str, **options: object) -> dict[str, Any]:
    webhook = {"url": f"{values.receivers_url}/{name}", **options}
    return {"name": name, "webhook_configs": [webhook]}
