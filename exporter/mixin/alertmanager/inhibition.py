"""Inhibition: which alert mutes which others."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from exporter.mixin.values import MixinValues


def inhibit_rules(values: MixinValues) -> list[dict[str, list[str]]]:
    """Return the rules. None mutes alerts of another job or of another installation.

    Only EsimExporterDown mutes alerts about eSIMs without data: a feed that falls silent makes no
    eSIM run out. No rule has many alerts as its source, because Alertmanager compares them all.
    """
    mute = partial(_mute, values.target)
    refused = "EsimWebhookSignatureFailures|EsimWebhookInvalidPayloads"
    follows = "EsimWebhookFeedLow|EsimUsageNotMoving|EsimFleetReportingStale"
    packages = "EsimPackageUsageHigh|EsimPackageExhaustionForecast"
    silences = "EsimWebhookFeedSilent|EsimWebhookUsageSilent|EsimWebhookNeverReceived"
    return [
        mute(
            ['alertname="EsimExporterDown"'],
            [f'job=~"{values.jobs.exporter}|{values.jobs.esims}"', 'alertname!="EsimExporterDown"'],
        ),
        # A vendor that still sends other events sends no usage. If they stop as well, that is no
        # news.
        mute(
            ['alertname="EsimWebhookUsageSilent"'],
            [f'alertname=~"EsimWebhookFeedSilent|{follows}"'],
            "vendor",
        ),
        mute(['alertname="EsimWebhookFeedSilent"'], [f'alertname=~"{follows}"'], "vendor"),
        mute(
            ['alertname=~"EsimStorageDown|EsimStorageNotCommitting"'],
            [f'alertname=~"{silences}|EsimWebhookErrorBudgetBurn|{follows}"'],
        ),
        mute(['alertname="EsimStorageDown"'], ['alertname="EsimStorageNotCommitting"']),
        mute(['alertname="EsimShardMissing"'], ['alertname=~"EsimFleetShrunk|EsimReplicaDown"']),
        mute(
            [f'alertname=~"{refused}"', 'severity="critical"'],
            [f'alertname=~"{silences}|{follows}"'],
            "vendor",
        ),
        mute(
            ['alertname="EsimPackageOutOfData"'],
            [f'alertname=~"{packages}"'],
            *("vendor", "package_id"),
        ),
        mute(
            ['alertname="EsimPartnerBalanceInsufficient"'],
            ['alertname="EsimPartnerBalanceLow"'],
            "vendor",
        ),
        mute(
            ['severity="critical"', 'scope="exporter"'],
            ['severity="warning"', 'scope="exporter"'],
            *("alertname", "vendor"),
        ),
    ]


def _mute(
    same: tuple[str, ...], source: list[str], target: list[str], *equal: str
) -> dict[str, list[str]]:
    """Return an inhibition rule. It never mutes alerts of another scrape job."""
    return {
        "source_matchers": source,
        "target_matchers": target,
        "equal": [*same, *equal],
    }
