"""From a vendor's event to a page and its resolution, with real processes and the shipped files.

The generator divides every duration of rules and routes by the same factor.
"""

from __future__ import annotations

import time
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import monitoring_stack
import pytest
from running import Serving, event, serving, until

from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.value_groups import LinkValues
from exporter.mixin.values import MixinValues, RoutingValues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

PACKAGE = "esim-france-7days-3gb-all"
LINKS = LinkValues(grafana="http://grafana.test", status_page="http://esim.test/exporter/")


@dataclass(frozen=True)
class Stack:
    """An exporter with Prometheus, Alertmanager and a receiver of notifications."""

    receiver: monitoring_stack.Receiver
    exporter: Serving
    prometheus: Any

    def report(self, esim_id: str, left: int, *, package_id: str = PACKAGE, ago: int = 0) -> None:
        """Send a report about an eSIM: what is left of a gigabyte, and how old the report is."""
        document = event(package_id=package_id, timestamp=int(time.time()) - ago, esim_id=esim_id)
        document["data"]["reference_id"] = f"ref-{esim_id}"
        document["data"]["usage_data"] |= {
            "allowed_data": 1024,
            "remaining_data": left,
        }
        document["data"]["usage_data"] |= dict.fromkeys(
            ("allowed_sms", "remaining_sms", "allowed_voice", "remaining_voice"), 0
        )
        assert self.exporter.post(document).status_code == 200

    def told(self, status: str, name: str = "EsimOutOfData") -> list[str]:
        """Return the eSIMs of the notified alerts of a name, in order.

        At this speed a busy machine misses evaluations and scrapes, and other alerts report that.
        """
        return [
            alert["labels"].get("esim_id", "")
            for each in list(self.receiver.received)
            for alert in each.alerts
            if (alert["labels"]["alertname"], alert["status"]) == (name, status)
        ]


@contextmanager
def stack(folder: Path, faster: float = 60, **routing: Any) -> Iterator[Stack]:
    with ExitStack() as running:
        receiver = running.enter_context(monitoring_stack.receiving())
        exporter = running.enter_context(serving(folder))
        values = MixinValues(
            faster=faster,
            receivers=ReceiversValues.below(receiver.url),
            links=LINKS,
            routing=RoutingValues(**routing),
        )
        alertmanager = running.enter_context(monitoring_stack.alertmanager(folder, values))
        prometheus = running.enter_context(
            monitoring_stack.prometheus(
                folder,
                values,
                exporter=exporter.internal,
                alertmanager_url=str(alertmanager.base_url),
            )
        )
        yield Stack(receiver, exporter, prometheus)


def test_each_esim_without_data_pages_on_its_own_and_again_after_a_top_up(tmp_path: Path) -> None:
    with stack(tmp_path) as running:
        running.report("has-another", 0)
        running.report("has-another", 500, package_id="another")
        running.report("first", 0, ago=20)
        until(lambda: running.told("firing") == ["first"])
        running.report("second", 0)
        until(lambda: running.told("firing") == ["first", "second"])
        running.report("first", 100, ago=10)
        until(lambda: running.told("resolved") == ["first"])
        running.report("first", 0)
        until(lambda: running.told("firing") == ["first", "second", "first"])

    alert, *_ = (
        alert
        for each in running.receiver.received
        for alert in each.alerts
        if each.receiver == "pager" and alert["labels"]["alertname"] == "EsimOutOfData"
    )
    assert alert["labels"] == {
        "alertname": "EsimOutOfData",
        "severity": "critical",
        "scope": "esim",
        "job": "esim-exporter",
        "vendor": "roamify",
        "esim_id": "first",
        "package_id": PACKAGE,
    }
    told = alert["annotations"]
    assert told["summary"] == "An eSIM has no data left."
    assert told["description"].startswith("eSIM first (reference ref-first) of roamify has had")
    assert told["description"].endswith(f" Package {PACKAGE} ran out last.")
    assert told["dashboard_url"] == (
        f"{LINKS.grafana}/d/esim-esim?var-vendor=roamify&var-esim=first"
    )
    assert told["status_page_url"] == "http://esim.test/exporter/esims/roamify/first"
