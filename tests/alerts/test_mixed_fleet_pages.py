"""A fleet of 30,000 eSIMs of all vendors: one scrape, and a page for whoever runs out of data."""

from __future__ import annotations

import asyncio
import copy
import json
import time
from datetime import UTC, datetime
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import mixed_fleet
import pytest
from paging_stack import SINGLE, paging_stack
from running import PAYLOADS, WAIT, encoded, until

from exporter.simulate.deliveries import SimulatedDelivery
from exporter.simulate.sender import WebhookClient, WebhookUrl
from exporter.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from running import Serving

    from exporter.vendors.vendor import Vendor

pytestmark = pytest.mark.slow

ESIMS = 10_000
"""Of each vendor."""

SAMPLES = {
    "roamify": "usage.json",
    "esim-access": "esim-access/data-usage.json",
    "esim-go": "esim-go/utilisation-v3.json",
}
DOCUMENTS = {name: json.loads((PAYLOADS / file).read_bytes()) for name, file in SAMPLES.items()}


def report(vendor: Vendor, number: int, left: int, *, ago: int = 60) -> SimulatedDelivery:
    """Return a report of so many seconds ago: that many percent of an eSIM's data are left."""
    document: dict[str, Any] = copy.deepcopy(DOCUMENTS[vendor.name])
    now, iccid = time.time() - ago, esim_id(vendor, number)
    written = datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    match vendor.name:
        case "roamify":
            document["data"] |= {"esim_id": iccid, "timestamp": int(now)}
            document["data"]["usage_data"]["remaining_data"] = 1024 * left // 100
        case "esim-access":
            document |= {"eventGenerateTime": written}
            document["content"] |= {
                "esimTranNo": iccid,
                "lastUpdateTime": written,
                "remain": document["content"]["totalVolume"] * left // 100,
            }
        case "esim-go":
            document["iccid"] = iccid
            document["bundle"]["remainingQuantity"] = 10**9 * left // 100
    return SimulatedDelivery(now, encoded(document), vendor=vendor)


def esim_id(vendor: Vendor, number: int) -> str:
    return f"89445000000{[*SAMPLES].index(vendor.name)}{number:07d}"


def is_accepted(deliver: Callable[[], httpx.Response]) -> bool:
    """Deliver once and return whether the answer is 200."""
    return deliver().status_code == HTTPStatus.OK


def shows_all(exporter: Serving, vendor: Vendor) -> bool:
    """Return whether one scrape has every eSIM of a vendor."""
    allowances = f'esim_data_remaining_bytes{{vendor="{vendor.name}"'
    return exporter.state().count(allowances) == ESIMS


async def report_all(public: str) -> None:
    """Report every eSIM, on several connections for each vendor, again after a 503."""

    async def send(vendor: Vendor, numbers: Iterator[int]) -> None:
        client = WebhookClient(WebhookUrl.parse(public), timeout=WAIT)
        for number in numbers:
            delivery = report(vendor, number, 50)
            path, headers = mixed_fleet.addressed(delivery)
            while (code := await client.post(path, delivery.body, headers)) != HTTPStatus.OK:
                assert code == HTTPStatus.SERVICE_UNAVAILABLE
        client.close()

    async with asyncio.TaskGroup() as sending:
        for vendor in VENDORS:
            numbers = iter(range(ESIMS))
            for _ in range(4):
                sending.create_task(send(vendor, numbers))


def test_an_exhaustion_of_each_vendor_pages_in_a_mixed_fleet(tmp_path: Path) -> None:
    assert set(SAMPLES) == {vendor.name for vendor in VENDORS}, "a new vendor needs a sample"
    flags, environ = mixed_fleet.flags(), mixed_fleet.environ()
    with paging_stack(tmp_path, *flags, environ=environ) as running:
        exporter = running.exporter
        asyncio.run(report_all(exporter.public))
        for vendor in VENDORS:
            until(partial(shows_all, exporter, vendor))  # rendering may be some seconds behind
        until(lambda: running.query("sum(esim_exporter_esims)") == ESIMS * len(VENDORS))

        for vendor in VENDORS:
            # The last one comes late.
            for left, ago in ((10, 20), (0, 10), (20, 30)):
                deliver = partial(
                    mixed_fleet.deliver, exporter, report(vendor, 4711, left, ago=ago)
                )
                until(partial(is_accepted, deliver))  # a busy exporter answers 503
        wanted = {esim_id(vendor, 4711): vendor for vendor in VENDORS}
        until(lambda: set(running.told()) == wanted.keys())
        assert len(running.told()) == len(VENDORS)
        alerts = [alert for each in running.notifications(SINGLE) for alert in each.alerts]
        for alert in alerts:
            labels = alert["labels"]
            assert labels["vendor"] == wanted[labels["esim_id"]].name
            assert labels["esim_id"] in alert["annotations"]["description"]
            assert {each.receiver for each in running.notifications(SINGLE)} == {"pager"}
