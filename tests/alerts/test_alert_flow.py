"""From a vendor's event to a page and its resolution, with real processes and the shipped files.

``python -m benchmarks.paging`` measures how long it takes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from paging_stack import LINKS, OF_FLEET, OF_PACKAGE, PACKAGE, SINGLE, paging_stack
from running import until

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow


def test_each_esim_without_data_pages_on_its_own_and_again_after_a_top_up(tmp_path: Path) -> None:
    with paging_stack(tmp_path) as running:
        running.report("has-another", 0)
        running.report("has-another", 500, package_id="another")
        running.report("first", 0, ago=20)
        until(lambda: running.told() == ["first"])
        running.report("second", 0)
        until(lambda: running.told() == ["first", "second"])
        running.report("first", 100, ago=10)
        until(lambda: running.told("resolved") == ["first"])
        running.report("first", 0)
        until(lambda: running.told() == ["first", "second", "first"])
        assert all(each.receiver == "pager" for each in running.notifications(SINGLE))
        alert = running.notifications(SINGLE)[0].alerts[0]

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


STORMS = {
    "5000 eSIMs of three packages": {f"e{n}": f"p{n % 3}" for n in range(5000)},
    "540 eSIMs of 60 packages": {f"e{n}": f"p{n % 60}" for n in range(540)},
}


@pytest.mark.parametrize("large_fleet", [False, True], ids=["usual", "large fleet"])
@pytest.mark.parametrize("package_of", STORMS.values(), ids=STORMS)
def test_a_storm_is_a_few_notifications_that_tell_of_every_esim(
    tmp_path: Path, package_of: dict[str, str], *, large_fleet: bool
) -> None:
    with paging_stack(tmp_path, large_fleet=large_fleet) as running:
        # Rules remember, so they must have seen the fleet before.
        until(lambda: running.query("vendor:esim_fleet_shards:count"))
        running.storm(package_of).result()
        until(lambda: running.decided(package_of) and running.notifications(OF_FLEET))
        found = running.notifications(SINGLE, OF_PACKAGE, OF_FLEET)
        assert running.untold(package_of) == set()
        about_many = running.notifications(OF_PACKAGE, OF_FLEET)

    assert len(found) <= 10
    assert {each.receiver for each in about_many} == {"pager"}
