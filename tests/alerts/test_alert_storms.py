"""How many notifications a real Alertmanager makes of very many alerts.

The tests send it alerts of the shipped rules, as Prometheus does. The generator divides every
duration by the same factor.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import monitoring_stack
from running import until

from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.rules.rule_files import groups
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    import httpx

FASTER = 1200

PACKAGES = ("france-3gb", "japan-5gb", "spain-1gb")


def firing(name: str, severity: str, **more: str) -> dict[str, Any]:
    """Return an alert of the shipped rules, as Prometheus sends it to Alertmanager."""
    values = MixinValues()
    esims = {"EsimFairUseExceeded", "EsimReportingStale"}
    labels = {
        "vendor": "roamify",
        "job": values.jobs.esims if name in esims else values.jobs.exporter,
    }
    rule = next(
        document
        for group in groups()
        for alert in group.alerts
        if (alert.name, alert.severity) == (name, severity)
        for document in [alert.document(values)]
    )
    return {
        "labels": labels | rule["labels"] | {"alertname": name} | more,
        "annotations": rule["annotations"],
    }


def out_of_data(severity: str, numbers: Iterable[int]) -> list[dict[str, Any]]:
    """Return alerts of single eSIMs with three packages."""
    return [
        firing("EsimOutOfData", severity, esim_id=f"esim-{n}", package_id=PACKAGES[n % 3])
        for n in numbers
    ]


def of_packages(name: str, severity: str) -> list[dict[str, Any]]:
    return [firing(name, severity, package_id=package) for package in PACKAGES]


def send(alertmanager: httpx.Client, alerts: list[dict[str, Any]]) -> None:
    alertmanager.post("/api/v2/alerts", json=alerts).raise_for_status()


def test_thousands_of_tickets_are_one_notification(tmp_path: Path) -> None:
    with monitoring_stack.receiving() as receiver:
        values = MixinValues(faster=FASTER, receivers=ReceiversValues.below(receiver.url))
        with monitoring_stack.alertmanager(tmp_path, values) as alertmanager:
            send(alertmanager, out_of_data("warning", range(5000)))
            until(lambda: receiver.received)

    (ticket,) = receiver.received
    assert ticket.receiver == "tickets"
    assert len(ticket.alerts) + ticket.truncated == 5000


def test_a_page_that_ends_before_alertmanager_sends_it_is_never_sent(tmp_path: Path) -> None:
    """So a page about many can still take the place of pages about single eSIMs."""
    with monitoring_stack.receiving() as receiver:
        values = MixinValues(faster=60, receivers=ReceiversValues.below(receiver.url))
        with monitoring_stack.alertmanager(tmp_path, values) as alertmanager:
            single = out_of_data("critical", range(9))
            send(alertmanager, single)
            now = datetime.now(UTC).isoformat()
            send(alertmanager, [alert | {"endsAt": now} for alert in single])
            send(alertmanager, of_packages("EsimPackageOutOfData", "critical"))
            until(lambda: len(receiver.received) == len(PACKAGES))
            # Alertmanager decided about the alert of another vendor after those of the nine.
            send(alertmanager, [firing("EsimOutOfData", "critical", vendor="other", esim_id="a")])
            until(lambda: len(receiver.received) > len(PACKAGES))

    *storms, other = receiver.received
    told = [alert["labels"] for storm in storms for alert in storm.alerts]
    assert {each["alertname"] for each in told} == {"EsimPackageOutOfData"}
    assert sorted(each["package_id"] for each in told) == sorted(PACKAGES)
    assert other.alerts[0]["labels"]["vendor"] == "other"


FOLLOWING = [
    *(firing("EsimReportingStale", "info", esim_id=f"esim-{n}") for n in range(500)),
    firing("EsimWebhookFeedLow", "warning"),
    firing("EsimFleetReportingStale", "warning"),
    firing("EsimUsageNotMoving", "warning"),
]
"""Alerts that fire because the feed is silent."""


def test_a_silent_feed_is_one_notification_with_all_that_follows_from_it(tmp_path: Path) -> None:
    with monitoring_stack.receiving() as receiver:
        values = MixinValues(faster=FASTER, receivers=ReceiversValues.below(receiver.url))
        with monitoring_stack.alertmanager(tmp_path, values) as alertmanager:
            send(alertmanager, [firing("EsimWebhookFeedSilent", "critical")])
            send(alertmanager, FOLLOWING)
            until(lambda: receiver.received)
            # These two alerts belong to the route whose groups wait longest. When the second one
            # is notified, Alertmanager has handled the muted alerts long before.
            for count, vendor in enumerate(("other", "another"), 1):
                send(alertmanager, [firing("EsimFairUseExceeded", "warning", vendor=vendor)])
                until(lambda count=count: len(receiver.of("tickets")) >= count)  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    page, *tickets = receiver.received
    assert [alert["labels"]["alertname"] for alert in page.alerts] == ["EsimWebhookFeedSilent"]
    assert [ticket.alerts[0]["labels"]["vendor"] for ticket in tickets] == ["other", "another"]


STORAGE_DOWN = [
    firing("EsimStorageNotCommitting", "critical"),
    firing("EsimWebhookFeedSilent", "critical"),
    *(firing("EsimWebhookErrorBudgetBurn", severity) for severity in ("critical", "warning")),
    firing("EsimUsageNotMoving", "warning"),
]
"""Alerts that fire because nothing can be stored."""

SHARD_MISSING = [firing("EsimFleetShrunk", "critical"), firing("EsimReplicaDown", "warning")]
"""Alerts that fire because a part of the fleet is missing."""


def test_a_storage_that_is_down_and_a_missing_shard_page_once_each(tmp_path: Path) -> None:
    with monitoring_stack.receiving() as receiver:
        values = MixinValues(faster=FASTER, receivers=ReceiversValues.below(receiver.url))
        with monitoring_stack.alertmanager(tmp_path, values) as alertmanager:
            causes = ["EsimStorageDown", "EsimShardMissing"]
            send(alertmanager, [firing(cause, "critical") for cause in causes])
            send(alertmanager, STORAGE_DOWN + SHARD_MISSING)
            until(lambda: len(receiver.of("pager")) >= 2)
            # The route of these alerts waits longer than the routes of the muted ones.
            for count, vendor in enumerate(("other", "another"), 1):
                send(alertmanager, [firing("EsimFairUseExceeded", "warning", vendor=vendor)])
                until(lambda count=count: len(receiver.of("tickets")) >= count)  # type: ignore[misc]  # mypy cannot infer a lambda with a default

    notified = [a["labels"]["alertname"] for each in receiver.received for a in each.alerts]
    assert sorted(notified) == sorted([*causes, *2 * ["EsimFairUseExceeded"]])


def test_without_the_silence_the_same_alerts_are_notified(tmp_path: Path) -> None:
    with monitoring_stack.receiving() as receiver:
        values = MixinValues(faster=FASTER, receivers=ReceiversValues.below(receiver.url))
        with monitoring_stack.alertmanager(tmp_path, values) as alertmanager:
            send(alertmanager, FOLLOWING)
            expected = {
                *("EsimWebhookFeedLow", "EsimFleetReportingStale", "EsimUsageNotMoving"),
            }

            def names() -> set[str]:
                tickets = receiver.of("tickets")
                return {each.alerts[0]["labels"]["alertname"] for each in tickets}

            until(lambda: names() == expected)
