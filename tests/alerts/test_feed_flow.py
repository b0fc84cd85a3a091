"""Pages about the feed and about a lost storage, with real processes and the shipped files."""

from __future__ import annotations

import random
import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import monitoring_stack
import pytest
from running import Serving, event, serving, until

from exporter.mixin.receiver_values import ReceiversValues
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    import httpx
    from monitoring_stack import Receiver

pytestmark = pytest.mark.slow

REJECTED = "esim_exporter_webhook_rejected_total"
SIGNATURES = "EsimWebhookSignatureFailures"


@dataclass(frozen=True)
class Watched:
    """Who is told about an exporter that listens at a fixed address."""

    folder: Path
    address: str
    receiver: Receiver
    prometheus: httpx.Client

    def serving(self) -> AbstractContextManager[Serving]:
        return serving(self.folder, f"--web.listen-address={self.address}")

    def found(self, query: str) -> bool:
        """Return whether a query of Prometheus has a result."""
        answer = self.prometheus.get("/api/v1/query", params={"query": query}).json()
        return bool(answer["data"]["result"])

    def told(self, name: str, severity: str = "critical", status: str = "firing") -> bool:
        """Return whether a receiver was notified of such an alert."""
        return any(
            (alert["labels"]["alertname"], alert["labels"]["severity"], alert["status"])
            == (name, severity, status)
            for each in list(self.receiver.received)
            for alert in each.alerts
        )


def _address_for_restarts() -> str:
    """Return a free address that no other program gets by asking for any free one.

    The exporter listens there later, and again after a restart. Linux gives ports from 32768 on to
    those who ask for any.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return f"127.0.0.1:{port}"


@contextmanager
def watched(folder: Path, faster: float) -> Iterator[Watched]:
    """Run Prometheus and Alertmanager for an exporter that the test starts."""
    address = _address_for_restarts()
    with ExitStack() as running:
        receiver = running.enter_context(monitoring_stack.receiving())
        values = MixinValues(faster=faster, receivers=ReceiversValues.below(receiver.url))
        alertmanager = running.enter_context(monitoring_stack.alertmanager(folder, values))
        prometheus = running.enter_context(
            monitoring_stack.prometheus(
                folder,
                values,
                exporter=f"http://{address}",
                alertmanager_url=str(alertmanager.base_url),
            )
        )
        yield Watched(folder, address, receiver, prometheus)


def test_a_changed_secret_pages_and_a_scanner_is_at_most_a_ticket(tmp_path: Path) -> None:
    with watched(tmp_path, faster=60) as watch, watch.serving() as exporter:
        exporter.post(event(esim_id="known"))
        # Prometheus must have seen the counters at 0.
        until(lambda: watch.found(f'{REJECTED}{{reason="signature"}}'))
        for _ in range(20):
            exporter.client.post(exporter.webhook, json=event(esim_id="known"))  # no signature
            exporter.post(event(), secret=b"a scanner's")
        # The page waits five minutes and the ticket ten. So a page would have come before it.
        until(lambda: watch.told(SIGNATURES, "warning"))
        assert not watch.told(SIGNATURES)

        exporter.post(event(esim_id="known"), secret=b"the new secret")
        until(lambda: watch.told(SIGNATURES))
        exporter.post(event(esim_id="known"))
        until(lambda: watch.told(SIGNATURES, status="resolved"))


def test_a_restart_is_no_lost_storage_and_a_lost_one_pages(tmp_path: Path) -> None:
    known = 'vendor:esim_fleet_esims:sum{vendor="roamify"} == 25'
    with watched(tmp_path, faster=600) as watch:
        with watch.serving() as exporter:
            for _ in range(25):
                exporter.post(event())
            until(lambda: watch.found(known))
        until(lambda: watch.told("EsimExporterDown"))
        with watch.serving():
            until(lambda: watch.found(known) and watch.told("EsimExporterDown", status="resolved"))
        assert not watch.found('max_over_time(ALERTS{alertname="EsimFleetShrunk"}[10m])')

        for file in tmp_path.glob("*.db*"):
            file.unlink()
        with watch.serving():
            until(lambda: watch.told("EsimFleetShrunk"))


def test_nothing_ever_received_pages_and_later_a_silence_until_an_event_ends_it(
    tmp_path: Path,
) -> None:
    with watched(tmp_path, faster=600) as watch, watch.serving() as exporter:
        until(lambda: watch.told("EsimWebhookNeverReceived"))
        assert not watch.told("EsimWebhookFeedSilent")
        for page in ("EsimWebhookNeverReceived", "EsimWebhookFeedSilent"):
            until(lambda page=page: watch.told(page))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
            exporter.post(event(timestamp=int(time.time())))
            until(lambda page=page: watch.told(page, status="resolved"))  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        assert not watch.told("EsimWebhookUsageSilent")
