"""Variables, the matchers that use them, and links that keep them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from grafana_foundation_sdk.builders import dashboard as builders
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models.common import DataSourceRef

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.mixin.values import MixinValues

DATASOURCE: Final = DataSourceRef(type_val="prometheus", uid="${datasource}")
TAG: Final = "esim-exporter"

_EXPORTER: Final = 'job=~"$job", instance=~"$instance"'
_FLEET: Final = _EXPORTER + ', vendor=~"$vendor"'
_RULES: Final = 'job=~"$job", vendor=~"$vendor"'

SELECTIONS: Final[Mapping[str, str]] = {
    "exporter": _EXPORTER,
    "fleet": _FLEET,
    "package": _FLEET + ', package_id=~"$package"',
    "esim": _FLEET + ', esim_id="$esim"',
    "job": 'job=~"$job"',
    "alerts": 'job=~"$job", vendor=~"$vendor|"',  # some alerts are about no vendor
    "rules": _RULES,
    "package_rules": _RULES + ', package_id=~"$package"',
    "esim_rules": _RULES + ', esim_id="$esim"',
}
"""Matchers for ``@name`` in an expression. Recorded series have no label ``instance``."""

_KEPT: Final = "${__url_time_range}&${datasource:queryparam}&${job:queryparam}"


def expression(source: str) -> str:
    """Return PromQL from a source in which ``@name`` stands for the matchers of a selection."""
    return re.sub(r"@(\w+)(?=[,}])", lambda found: SELECTIONS[found[1]], " ".join(source.split()))


def datasource() -> builders.DatasourceVariable:
    """Return the variable for the data source."""
    return builders.DatasourceVariable("datasource").label("Data source").type("prometheus")


def query(name: str, label: str, source: str) -> builders.QueryVariable:
    """Return a variable with the values of a label. Several or all of them can be chosen."""
    text = expression(source)
    return (
        builders.QueryVariable(name)
        .label(label)
        .datasource(DATASOURCE)
        .query({"query": text, "refId": name, "qryType": 5})
        .definition(text)
        .multi(True)  # noqa: FBT003  # the SDK's own signatures, here and below
        .include_all(True)  # noqa: FBT003  # the SDK takes it by position
        .all_value(".+")
        .current(models.VariableOption(text=["All"], value=["$__all"], selected=True))
        .refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(models.VariableSort.ALPHABETICAL_ASC)
    )


def job() -> builders.QueryVariable:
    """Return the variable for the two scrape jobs, of the fleet and of single eSIMs."""
    # Jobs may have any name: a job with one of these metrics is a job of the exporter.
    names = "esim_exporter_build_info|esim_last_event_timestamp_seconds"
    return query("job", "Job", f'label_values({{__name__=~"{names}"}}, job)').description(
        "The two jobs of an exporter belong together: one for the fleet, one for single eSIMs."
    )


def instance() -> builders.QueryVariable:
    """Return the variable for instances of the exporter."""
    names = "label_values(esim_exporter_build_info{@job}, instance)"
    return query("instance", "Instance", names).description(
        "Replicas of one shard show the same. With several shards, an instance shows its part."
    )


def vendor() -> builders.QueryVariable:
    """Return the variable for vendors."""
    return query("vendor", "Vendor", "label_values(esim_fleet_esims{@exporter}, vendor)")


def package() -> builders.QueryVariable:
    """Return the variable for packages."""
    return query("package", "Package", "label_values(esim_package_info{@fleet}, package_id)")


def esim() -> builders.TextBoxVariable:
    """Return the variable for one eSIM. The user types it, because a list would be too long."""
    return (
        builders.TextBoxVariable("esim")
        .label("eSIM id")
        .default_value("")
        .current(models.VariableOption(text="", value="", selected=True))
    )


def to_dashboard(name: str, variable: str = "", field: str = "") -> str:
    """Return a dashboard's address with the chosen variables and a field of the same row."""
    address = f"/d/esim-{name}?{_KEPT}&${{vendor:queryparam}}"
    return address + (f"&var-{variable}=${{__data.fields.{field}}}" if variable else "")


def to_runbook(values: MixinValues, alert: str = "${__data.fields.alertname}") -> str:
    """Return the address of the runbook of an alert: of a field of the same row, or by its name."""
    return f"{values.links.runbooks}/{alert}.md"


def to_esim_page(values: MixinValues, esim: str = "__data.fields.esim_id") -> str:
    """Return the address of an eSIM on the status page, with the vendor of the same row.

    The id comes from the same row, or from a variable.
    """
    vendor = "${__data.fields.vendor:percentencode}"
    return f"{values.links.status_page}/esims/{vendor}/${{{esim}:percentencode}}"


def link(title: str, url: str) -> builders.DashboardLink:
    """Return a link to a page in the same tab."""
    return builders.DashboardLink(title).type(models.DashboardLinkType.LINK).url(url)
