"""From a vendor's event to a page and its resolution, with real processes and the shipped files.

The generator divides every duration of rules and routes by the same factor.
"""

from __future__ import annotations

import time
from contextlib import ExitStack
from typing import TYPE_CHECKING

import monitoring_stack
import pytest
from running import event, serving, until

from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.value_groups import LinkValues
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

PACKAGE = "esim-france-7days-3gb-all"


def about(receiver: monitoring_stack.Receiver, esim_id: str) -> list[monitoring_stack.Notification]:
    """Return the notifications about an eSIM.

    At this speed a busy machine misses evaluations and scrapes, and other alerts report that.
    """
    return [
        each
        for each in receiver.received
        if any(alert["labels"].get("esim_id") == esim_id for alert in each.alerts)
    ]


def test_an_exhausted_esim_pages_once_and_a_top_up_resolves_it(tmp_path: Path) -> None:
    with ExitStack() as running:
        receiver = running.enter_context(monitoring_stack.receiving())
        exporter = running.enter_context(serving(tmp_path))
        links = LinkValues(grafana="http://grafana.test", status_page="http://esim.test/exporter/")
        values = MixinValues(faster=600, receivers=ReceiversValues.below(receiver.url), links=links)
        alertmanager = running.enter_context(monitoring_stack.alertmanager(tmp_path, values))
        running.enter_context(
            monitoring_stack.prometheus(
                tmp_path,
                values,
                exporter=exporter.internal,
                alertmanager_url=str(alertmanager.base_url),
            )
        )
        now = int(time.time())
        document = event(package_id=PACKAGE, timestamp=now)
        esim_id = document["data"]["esim_id"]
        usage = document["data"]["usage_data"]
        usage |= {"allowed_data": 1024, "remaining_data": 0}
        assert exporter.post(document).status_code == 200
        until(lambda: about(receiver, esim_id))
        usage |= {"allowed_data": 2048, "remaining_data": 1024}
        document["data"]["timestamp"] = now + 1
        assert exporter.post(document).status_code == 200
        until(lambda: len(about(receiver, esim_id)) > 1)

    page, resolution = about(receiver, esim_id)
    assert (page.receiver, page.status) == ("pager", "firing")
    assert (resolution.receiver, resolution.status) == ("pager", "resolved")
    (alert,) = page.alerts
    assert alert["labels"] == {
        "alertname": "EsimDataUsageHigh",
        "severity": "critical",
        "scope": "esim",
        "resource": "data",
        "threshold": "1",
        "job": "esim-exporter-esims",
        "vendor": "roamify",
        "esim_id": esim_id,
        "package_id": PACKAGE,
    }
    dashboard = f"{values.links.grafana}/d/esim-esim?var-vendor=roamify&var-esim={esim_id}"
    assert alert["annotations"] == {
        "summary": "An eSIM has used all of its data.",
        "description": f"eSIM {esim_id} with package {PACKAGE} has used 100% of its data.",
        "runbook_url": f"{values.links.runbooks}/EsimDataUsageHigh.md",
        "dashboard_url": dashboard,
        "status_page_url": f"http://esim.test/exporter/esims/roamify/{esim_id}",
    }
