"""Runs everything between an event and a page, and says which eSIMs somebody was told of."""

from __future__ import annotations

import time
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import httpx
import monitoring_stack
from running import SIGNED, Serving, event, serving, until

from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.value_groups import LinkValues
from exporter.mixin.values import MixinValues, RoutingValues

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from monitoring_stack import Notification, Receiver

FASTER = 60
"""Every duration of rules and routes is divided by it, without rounding to seconds."""

PACKAGE = "esim-france-7days-3gb-all"
LINKS = LinkValues(grafana="http://grafana.test", status_page="http://esim.test/exporter/")
SINGLE = "EsimOutOfData"
OF_PACKAGE = "EsimPackageOutOfData"
OF_FLEET = "EsimFleetOutOfData"


@dataclass(frozen=True)
class PagingStack:
    """An exporter with Prometheus, Alertmanager and a receiver of notifications."""

    receiver: Receiver
    exporter: Serving
    prometheus: httpx.Client

    def report(self, esim_id: str, left: int, *, package_id: str = PACKAGE, ago: int = 0) -> None:
        """Send a report: how many of 1024 MB are left, and how many seconds ago it was made.

        Like the vendor, it sends the report again if the exporter is too busy to take it.
        """
        document = event(package_id=package_id, timestamp=int(time.time()) - ago, esim_id=esim_id)
        document["data"]["reference_id"] = f"ref-{esim_id}"
        document["data"]["usage_data"] |= {
            "allowed_data": 1024,
            "remaining_data": left,
            **dict.fromkeys(
                ("allowed_sms", "remaining_sms", "allowed_voice", "remaining_voice"), 0
            ),
        }
        until(lambda: self.exporter.post(document).status_code == httpx.codes.OK)

    def storm(self, package_of: dict[str, str]) -> Future[None]:
        """Begin to let eSIMs run out of data, as fast as the exporter takes the events."""

        def report(item: tuple[str, str]) -> None:
            self.report(item[0], 0, package_id=item[1])

        def send() -> None:
            with ThreadPoolExecutor(4) as sending:
                for _ in sending.map(report, package_of.items()):
                    pass

        sender = ThreadPoolExecutor(1)
        begun = sender.submit(send)
        sender.shutdown(wait=False)
        return begun

    def notifications(self, *names: str) -> list[Notification]:
        """Return the notifications of alerts with these names.

        At this speed a busy machine misses evaluations and scrapes, and other alerts report that.
        """
        return [
            each
            for each in list(self.receiver.received)
            if each.alerts[0]["labels"]["alertname"] in names
        ]

    def told(self, status: str = "firing") -> list[str]:
        """Return the eSIMs that had a notification of their own, in order."""
        return [
            alert["labels"]["esim_id"]
            for each in self.notifications(SINGLE)
            for alert in each.alerts
            if alert["status"] == status
        ]

    def untold(self, package_of: dict[str, str]) -> set[str]:
        """Return the eSIMs of which no notification tells, not even one about many."""
        if self.notifications(OF_FLEET):
            return set()
        packages = {
            alert["labels"]["package_id"]
            for each in self.notifications(OF_PACKAGE)
            for alert in each.alerts
        }
        return {e for e, package in package_of.items() if package not in packages} - {*self.told()}

    def query(self, query: str) -> float:
        """Return the value of the only series of a result, 0 if there is none."""
        answer = self.prometheus.get("/api/v1/query", params={"query": query})
        result = answer.json()["data"]["result"]
        return float(result[0]["value"][1]) if result else 0.0

    def decided(self, esims: Iterable[str]) -> bool:
        """Return whether it is decided for all eSIMs how they are told of, and the pages sent.

        An eSIM that a page about many covers never gets one of its own.
        """
        alone = self.query('count(ALERTS{alertname="EsimOutOfData",alertstate="firing"})')
        covered = self.query("count(esim_package:esim_out_of_data_seen_timestamp_seconds:covered)")
        return covered + alone == len(list(esims)) and len({*self.told()}) >= alone


@contextmanager
def paging_stack(
    folder: Path,
    *flags: str,
    environ: Mapping[str, str] = SIGNED,
    large_fleet: bool = False,
) -> Iterator[PagingStack]:
    """Run everything until the end of the block. The exporter runs with ``flags``."""
    with ExitStack() as running:
        receiver = running.enter_context(monitoring_stack.receiving())
        exporter = running.enter_context(serving(folder, *flags, environ=environ))
        values = MixinValues(
            faster=FASTER,
            receivers=ReceiversValues.below(receiver.url),
            links=LINKS,
            routing=RoutingValues(large_fleet=large_fleet),
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
        yield PagingStack(receiver, exporter, prometheus)
