"""Routes: which alert goes to which receiver, grouped how, and when."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.mixin.values import MixinValues, TimingValues


def route(values: MixinValues) -> dict[str, Any]:
    """Return the tree of routes.

    Each eSIM without data is a group of its own. So Alertmanager tells of each within its
    group_wait, and of its end. For a large fleet, only the receiver of these groups differs.
    """
    timings = values.routing

    def grouped(timing: TimingValues, *labels: str) -> dict[str, Any]:
        return {
            "group_by": ["alertname", *values.target, *labels],
            "group_wait": values.duration(timing.group_wait),
            "group_interval": values.duration(timing.group_interval),
            "repeat_interval": values.duration(timing.repeat_interval),
        }

    esim_pages = {
        "matchers": ['alertname="EsimOutOfData"', 'severity="critical"'],
        "receiver": "tickets" if timings.large_fleet else "pager",
        **grouped(timings.esim_pages, "vendor", "esim_id"),
    }
    storms = {
        "matchers": ['alertname=~"EsimPackageOutOfData|EsimFleetOutOfData"'],
        "receiver": "pager",
        **grouped(timings.storms, "vendor", "package_id"),
    }
    pages = {
        "matchers": ['severity="critical"'],
        "receiver": "pager",
        **grouped(timings.pages, "vendor"),
    }
    esim_tickets = {
        "matchers": ['scope="esim"'],
        "receiver": "tickets",
        **grouped(timings.esim_tickets, "vendor"),
    }
    package_tickets = {
        "matchers": ['scope="package"'],
        "receiver": "tickets",
        **grouped(timings.package_tickets, "vendor"),
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
            *(esim_pages, storms, pages, esim_tickets, package_tickets),
        ],
    }
