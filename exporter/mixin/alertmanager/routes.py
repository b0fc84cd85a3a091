"""Routes: which alert goes to which receiver, grouped how, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.mixin.values import MixinValues, TimingValues


def route(values: MixinValues) -> dict[str, Any]:
    """Return the tree of routes.

    For a large fleet, critical alerts about packages page, and alerts about single eSIMs are
    tickets. Otherwise critical alerts about single eSIMs page, and alerts about packages are
    tickets.
    """
    timings = values.routing

    def grouped(timing: TimingValues, *labels: str) -> dict[str, Any]:
        return {
            "group_by": ["alertname", *values.target_labels, *labels],
            "group_wait": values.duration(timing.group_wait),
            "group_interval": values.duration(timing.group_interval),
            "repeat_interval": values.duration(timing.repeat_interval),
        }

    esim_tickets = {
        "matchers": ['scope="esim"'],
        "receiver": "tickets",
        **grouped(timings.esim_tickets, "vendor"),
    }
    esim_pages = {
        "matchers": ['scope="esim"', 'severity="critical"'],
        "receiver": "pager",
        **grouped(timings.esim_pages, "vendor", "package_id"),
    }
    package_tickets = {
        "matchers": ['scope="package"'],
        "receiver": "tickets",
        **grouped(timings.package_tickets, "vendor"),
    }
    package_pages = {
        "matchers": ['scope="package"', 'severity="critical"'],
        "receiver": "pager",
        **grouped(timings.esim_pages, "vendor", "package_id"),
    }
    return {
        "receiver": "tickets",
        **grouped(timings.tickets, "vendor", "package_id"),
        "routes": [
            {
                "matchers": ['alertname="Watchdog"'],
                "receiver": "deadman",
                **grouped(timings.watchdog),
            },
            {"matchers": ['severity=~"info|none"'], "receiver": "null"},
            package_pages if timings.large_fleet else esim_pages,
            esim_tickets,
            package_tickets,
            {
                "matchers": ['severity="critical"'],
                "receiver": "pager",
                **grouped(timings.pages, "vendor"),
            },
        ],
    }
