"""The links of alerts lead to pages of a real exporter, and to runbooks and dashboards."""

from __future__ import annotations

import json
import re
import time
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote_plus

import httpx
import pytest
from running import event, serving

from exporter import PROJECT_URL
from exporter.mixin.dashboards.dashboards import dashboards
from exporter.mixin.rules.rule_files import groups
from exporter.mixin.rules.rule_types import Alert, Scope
from exporter.mixin.value_groups import LinkValues
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Serving

ALERTS = [alert for group in groups() for alert in group.alerts]
ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "esim-iceland-7days-1gb-all"


def links_of(alert: Alert, **links: str) -> dict[str, str]:
    """Return the annotations of an alert about the eSIM of the sample event."""
    document = alert.document(MixinValues(links=LinkValues(**links)))
    labels = {"vendor": "roamify", "package_id": PACKAGE, "esim_id": ESIM}
    return {
        name: _FILLED.sub(lambda match: _encoded(labels[match[1]], match[2]), text)
        for name, text in document["annotations"].items()
    }


_FILLED = re.compile(r"""\{\{ \$labels\.(\w+) \| urlquery( \| reReplaceAll "\[\+\]" "%20")? \}\}""")


def _encoded(value: str, in_path: str | None) -> str:
    """Do what Prometheus's templates do."""
    encoded = quote_plus(value)
    return encoded.replace("+", "%20") if in_path else encoded


SAMPLE = event(package_id=PACKAGE, esim_id="é 7+&?", timestamp=int(time.time()))
ESIM: str = SAMPLE["data"]["esim_id"]


@pytest.fixture(scope="module")
def exporter(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("exporter")) as running:
        assert running.post(SAMPLE).status_code == 200
        yield running


@pytest.mark.parametrize("scope", Scope)
def test_a_status_page_is_there(scope: Scope, exporter: Serving) -> None:
    alert = next(each for each in ALERTS if each.scope is scope)
    url = links_of(alert, status_page=exporter.internal)["status_page_url"]
    page = httpx.get(url, trust_env=False)
    assert page.status_code == 200
    assert (escape(ESIM) in page.text) == (scope in {Scope.ESIM, Scope.PACKAGE})


def test_a_runbook_is_in_the_repository() -> None:
    for alert in ALERTS:
        url = links_of(alert)["runbook_url"]
        path = url.removeprefix(f"{PROJECT_URL}/blob/main/")
        assert (ROOT / path).is_file()


def test_a_dashboard_has_the_variables_that_a_link_fills() -> None:
    boards = [json.loads(text) for text in dashboards(MixinValues()).values()]
    variables = {
        board["uid"]: {each["name"] for each in board["templating"]["list"]} for board in boards
    }
    for alert in ALERTS:
        url = links_of(alert, grafana="https://grafana.test/")["dashboard_url"]
        found = re.fullmatch(r"https://grafana\.test/d/([a-z-]+)(?:\?(.+))?", url)
        assert found
        asked = re.findall(r"var-(\w+)=", found[2] or "")
        assert set(asked) <= variables[found[1]]
