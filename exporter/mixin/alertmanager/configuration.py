"""Alertmanager's configuration: receivers, grouping, and which alert mutes which."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from exporter.mixin.values import Values


def alertmanager(values: Values) -> dict[str, Any]:
    """Return the configuration.

    For a large fleet, critical alerts about packages page, and alerts about single eSIMs are
    tickets. Otherwise critical alerts about single eSIMs page, and alerts about packages are
    tickets.
    """
    return {
        "route": _route(values),
        "receivers": [
            {"name": "null"},
            _receiver(values, "deadman", send_resolved=False),
            _receiver(values, "pager", max_alerts=50),
            _receiver(values, "tickets", max_alerts=50),
        ],
        "inhibit_rules": _inhibit_rules(values),
    }


def _receiver(values: Values, name: str, **options: object) -> dict[str, Any]:
    webhook = {"url": f"{values.receivers_url}/{name}", **options}
    return {"name": name, "webhook_configs": [webhook]}


def _route(values: Values) -> dict[str, Any]:
    def waits(group: str, interval: str, repeat: str) -> dict[str, str]:
        return {
            "group_wait": values.duration(group),
            "group_interval": values.duration(interval),
            "repeat_interval": values.duration(repeat),
        }

    esim_tickets = {
        "matchers": ['scope="esim"'],
        "receiver": "tickets",
        "group_by": ["alertname", "vendor"],
        **waits("10m", "4h", "7d"),
    }
    esim_pages = {
        "matchers": ['scope="esim"', 'severity="critical"'],
        "receiver": "pager",
        "group_by": ["alertname", "vendor", "package_id"],
        **waits("30s", "2h", "1d"),
    }
    package_tickets = {
        "matchers": ['scope="package"'],
        "receiver": "tickets",
        "group_by": ["alertname", "vendor"],
        **waits("5m", "4h", "1d"),
    }
    package_pages = {
        "matchers": ['scope="package"', 'severity="critical"'],
        "receiver": "pager",
        "group_by": ["alertname", "vendor", "package_id"],
        **waits("30s", "2h", "1d"),
    }
    return {
        "receiver": "tickets",
        "group_by": ["alertname", "vendor", "package_id"],
        **waits("1m", "10m", "1d"),
        "routes": [
            {
                "matchers": ['alertname="Watchdog"'],
                "receiver": "deadman",
                "group_by": ["alertname"],
                **waits("0s", "1m", "5m"),
            },
            {"matchers": ['severity=~"info|none"'], "receiver": "null"},
            package_pages if values.routing.large_fleet else esim_pages,
            esim_tickets,
            package_tickets,
            {
                "matchers": ['severity="critical"'],
                "receiver": "pager",
                "group_by": ["alertname", "vendor"],
                **waits("30s", "10m", "4h"),
            },
        ],
    }


def _inhibit_rules(values: Values) -> list[dict[str, list[str]]]:
    refused = "EsimWebhookSignatureFailures|EsimWebhookInvalidPayloads"
    follows = "EsimUsageNotMoving|EsimFleetReportingStale"
    return [
        _mute(
            ['alertname="EsimExporterDown"'],
            [f'job=~"{values.jobs.exporter}|{values.jobs.esims}"', 'alertname!="EsimExporterDown"'],
        ),
        _mute(
            ['alertname="EsimWebhookFeedSilent"'],
            [f'alertname=~"EsimWebhookFeedLow|{follows}|EsimPackage.+"'],
            "vendor",
        ),
        _mute(['alertname="EsimEventsSilent"'], ['scope="esim"', 'severity!="none"'], "vendor"),
        _mute(
            ['alertname=~"EsimStorageDown|EsimStorageNotCommitting"'],
            [f'alertname=~"EsimWebhookFeed.+|EsimWebhookErrorBudgetBurn|{follows}"'],
        ),
        _mute(['alertname="EsimStorageDown"'], ['alertname="EsimStorageNotCommitting"']),
        _mute(['alertname="EsimShardMissing"'], ['alertname=~"EsimFleetShrunk|EsimReplicaDown"']),
        _mute(
            [f'alertname=~"{refused}"', 'severity="critical"'],
            [f'alertname=~"EsimWebhookFeed.+|{follows}"'],
            "vendor",
        ),
        _mute(
            ['alertname="EsimPackageExhausted"'],
            ['alertname=~"EsimPackageUsageHigh|EsimPackageExhaustionForecast"'],
            *("vendor", "package_id"),
        ),
        _mute(
            ['alertname="EsimPartnerBalanceInsufficient"'],
            ['alertname="EsimPartnerBalanceLow"'],
            "vendor",
        ),
        _mute(
            ['severity="critical"', 'scope="exporter"'],
            ['severity="warning"', 'scope="exporter"'],
            *("alertname", "vendor"),
        ),
    ]


def _mute(source: list[str], target: list[str], *equal: str) -> dict[str, list[str]]:
    """Return an inhibition rule. It never mutes alerts of another scrape job."""
    return {
        "source_matchers": source,
        "target_matchers": target,
        "equal": ["job", *equal],
    }
