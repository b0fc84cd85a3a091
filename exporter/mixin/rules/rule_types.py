"""The types of rules. Each can return the document that Prometheus reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from exporter.model import events

if TYPE_CHECKING:
    from collections.abc import Mapping

    from exporter.mixin.value_groups import LinkValues
    from exporter.mixin.values import MixinValues

TERMINAL = "|".join(sorted(events.TERMINAL))
"""Statuses that an eSIM never leaves, as a regular expression for a matcher."""


class Severity(StrEnum):
    """How urgent an alert is."""

    CRITICAL = "critical"
    """A page, now."""
    WARNING = "warning"
    """A ticket."""
    INFO = "info"
    """Sent to nobody; shown in Prometheus, in Alertmanager and on dashboards."""
    NONE = "none"
    """Not for people: for another machine, or to mute other alerts."""


class Scope(StrEnum):
    """What an alert is about. It decides the route and the dashboard that the alert links to."""

    ESIM = "esim"
    PACKAGE = "package"
    FLEET = "fleet"
    EXPORTER = "exporter"


_VARIABLES: Final[Mapping[Scope, Mapping[str, str]]] = {
    Scope.ESIM: {"var-vendor": "vendor", "var-esim": "esim_id"},
    Scope.PACKAGE: {"var-vendor": "vendor", "var-package": "package_id"},
    Scope.FLEET: {"var-vendor": "vendor"},
    Scope.EXPORTER: {},
}
"""Variables of the dashboard ``esim-<scope>``, and the labels that fill them."""

ESIM_ID: Final = "eSIM {{ $labels.esim_id }}"
"""An eSIM in the description of an alert. In a page, the reference that people know follows."""

_REFERENCE: Final = (
    '{{ range printf "max by (reference_id) (last_over_time(esim_attention_info'
    '{@target_matchers,vendor=%q,esim_id=%q}[10m]))" '
    "@target_values $labels.vendor $labels.esim_id | query }}"
    '{{ with . | label "reference_id" }} (reference {{ . }}){{ end }}{{ end }}'
)
"""The reference of an eSIM, or nothing where ``--metrics.esim-labels`` leaves it out.

Prometheus runs the query for each alert at each evaluation. There are few pages at a time, but
there may be thousands of tickets, so only pages have it. The window spans a restart. A matcher for
references that are not empty would look at every reference.
"""

_STATUS_PAGES: Final[Mapping[Scope, str]] = {
    # In a path, a plus sign is no space.
    Scope.ESIM: "/esims/{{ $labels.vendor | urlquery }}"
    '/{{ $labels.esim_id | urlquery | reReplaceAll "[+]" "%20" }}',
    Scope.PACKAGE: "/esims?sort=data_used_share&package_id={{ $labels.package_id | urlquery }}",
    Scope.FLEET: "/",
    Scope.EXPORTER: "/",
}
"""Pages of the exporter, below the address of the status page."""

_OUT_OF_DATA: Final[Mapping[Scope, str]] = {
    Scope.PACKAGE: "/esims?out_of_data=true&vendor={{ $labels.vendor | urlquery }}"
    "&package_id={{ $labels.package_id | urlquery }}",
    Scope.FLEET: "/esims?out_of_data=true&vendor={{ $labels.vendor | urlquery }}",
}
"""Pages with the list of eSIMs out of data, newest first."""


@dataclass(frozen=True, slots=True)
class Recording:
    """A recording rule. The expression is a source for :meth:`MixinValues.expression`."""

    record: str
    expr: str
    why: str = ""
    """A comment above the rule."""

    def document(self, values: MixinValues) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        return {"record": self.record, "expr": values.expression(self.expr)}


@dataclass(frozen=True, slots=True)
class Alert:
    """An alerting rule. The expression is a source for :meth:`MixinValues.expression`."""

    name: str
    severity: Severity | str
    """A severity, or a source for :meth:`MixinValues.text` such as ``@severity.sms.full``."""
    scope: Scope
    expr: str
    summary: str
    """One sentence, the same for every alert that is notified together."""
    description: str
    """A template that names the eSIM, package, vendor or job, and the value."""
    for_: str = ""
    keep: str = ""
    """How long it keeps firing after the condition is gone."""
    labels: Mapping[str, str] = field(default_factory=dict)
    """Further labels."""
    lists_out_of_data: bool = False
    """Whether the status page to open is the list of eSIMs out of data, not that of the scope."""
    why: str = ""
    """A comment above the rule."""

    def document(self, values: MixinValues) -> dict[str, Any]:
        """Return the rule as Prometheus reads it."""
        document: dict[str, Any] = {"alert": self.name, "expr": values.expression(self.expr)}
        if pending := values.pending.get(self.name, self.for_):
            document["for"] = values.duration(values.text(pending))
        if self.keep:
            document["keep_firing_for"] = values.duration(values.text(self.keep))
        labels = {"severity": str(self.severity), "scope": str(self.scope), **self.labels}
        document["labels"] = {name: values.text(value) for name, value in labels.items()}
        description = values.text(self.description)
        if document["labels"]["severity"] == Severity.CRITICAL:
            description = description.replace(ESIM_ID, ESIM_ID + values.text(_REFERENCE))
        document["annotations"] = {
            "summary": values.text(self.summary),
            "description": description,
            "runbook_url": f"{values.links.runbooks}/{self.name}.md",
            **self._known_links(values.links),
        }
        return document

    def _known_links(self, links: LinkValues) -> dict[str, str]:
        """Return the links whose beginnings users have given."""
        known = {}
        if links.grafana:
            page = f"{links.grafana.rstrip('/')}/d/esim-{self.scope}"
            known["dashboard_url"] = page + _query(_VARIABLES[self.scope])
        if links.status_page:
            pages = _OUT_OF_DATA if self.lists_out_of_data else _STATUS_PAGES
            known["status_page_url"] = links.status_page.rstrip("/") + pages[self.scope]
        return known


def _query(labels: Mapping[str, str]) -> str:
    """Return the part of a URL that gives the values of labels to parameters."""
    pairs = (f"{name}={{{{ $labels.{label} | urlquery }}}}" for name, label in labels.items())
    return "?" + "&".join(pairs) if labels else ""


@dataclass(frozen=True, slots=True)
class Group:
    """Rules that are evaluated one after the other, at the same times."""

    name: str
    interval: str
    rules: tuple[Recording | Alert, ...]
    why: str = ""
    """A comment above the group."""

    @property
    def alerts(self) -> tuple[Alert, ...]:
        """Return the rules that are alerts."""
        return tuple(rule for rule in self.rules if isinstance(rule, Alert))

    def document(self, values: MixinValues) -> dict[str, Any]:
        """Return the group as Prometheus reads it."""
        return {
            "name": self.name,
            "interval": values.duration(self.interval),
            "rules": [rule.document(values) for rule in self.rules],
        }
