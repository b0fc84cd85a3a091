"""The text of the generated files."""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import yaml

from alerts.generator.bundle import FILES, groups
from alerts.generator.routing import alertmanager
from alerts.generator.rules import Severity

if TYPE_CHECKING:
    from alerts.generator.config import Config
    from alerts.generator.rules import Alert, Group

FOLDER: Final = Path(__file__).resolve().parent.parent
README: Final = FOLDER / "README.md"

_HEADER = "# Written by `make alerts` from alerts/generator/config.py and the files beside it.\n"
_LARGE_FLEET = """\
# For large fleets: packages page, single eSIMs are tickets. The rest is as in alertmanager.yml.
"""
_OPERATOR = """\
# All rule files as one object for the Prometheus Operator, @operator or later (earlier versions
# drop keep_firing_for). It leaves out watchdog.rules.yml: kube-prometheus has its own.
"""
OPERATOR_VERSION: Final = "v0.67.0"
WATCHDOG_FILE: Final = "watchdog.rules.yml"

_SENT = {
    Severity.CRITICAL: "page",
    Severity.WARNING: "ticket",
    Severity.INFO: "nowhere",
    Severity.NONE: "machines",
}


class _Dumper(yaml.SafeDumper):
    """Writes lists indented, and texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # yaml's own signature
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def documents(config: Config) -> dict[str, str]:
    """Return the text of each generated YAML file by its name."""
    plain, large = (alertmanager(config, large_fleet=large) for large in (False, True))
    rules = {name: _HEADER + _rules(in_file, config) for name, in_file in FILES.items()}
    return rules | {
        "prometheusrule.yaml": _HEADER
        + _OPERATOR.replace("@operator", OPERATOR_VERSION)
        + _dump(_prometheus_rule(config)),
        "alertmanager.yml": _HEADER + _dump(plain),
        "alertmanager-large-fleet.yml": _HEADER + _LARGE_FLEET + _dump(large),
    }


def table() -> str:
    """Return the table of alerts for alerts/README.md."""
    lines = ["| Alert | Sent as | About | When | For |", "|---|---|---|---|---|"]
    lines += [_row(alert) for group in groups() for alert in group.alerts]
    return "\n".join(lines) + "\n"


def filled(readme: str, config: Config) -> str:
    """Return the text of alerts/README.md with the current table of alerts."""
    start, end = "<!-- alerts -->", "<!-- /alerts -->"
    before, opening, rest = readme.partition(start)
    _, closing, after = rest.partition(end)
    assert opening, "alerts/README.md has no line <!-- alerts -->"
    assert closing, "alerts/README.md has no line <!-- /alerts -->"
    return f"{before}{start}\n\n{config.text(table())}\n{end}{after}"


def _row(alert: Alert) -> str:
    link = f"[{alert.name}](runbooks/{alert.name}.md)"
    distinct = " ".join(f"{name}={value}" for name, value in alert.labels.items())
    about = f"{alert.scope}, {distinct}" if distinct else str(alert.scope)
    cells = (link, _SENT[alert.severity], about, alert.summary, alert.for_ or "at once")
    return f"| {' | '.join(cells)} |"


def _prometheus_rule(config: Config) -> dict[str, Any]:
    shipped = [group for name, file in FILES.items() if name != WATCHDOG_FILE for group in file]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "esim-exporter",
            "labels": {"app.kubernetes.io/name": "esim-exporter"},
        },
        "spec": {"groups": [_operator_group(group, config) for group in shipped]},
    }


def _operator_group(group: Group, config: Config) -> dict[str, Any]:
    document = group.document(config)
    return document | {"rules": [_stripped(rule) for rule in document["rules"]]}


def _stripped(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"expr": rule["expr"].strip()}


def _rules(in_file: tuple[Group, ...], config: Config) -> str:
    """Return the text of a rule file, with the reason for a rule as a comment above it."""
    text = "groups:\n"
    for group in in_file:
        document = group.document(config)
        rules = document.pop("rules")
        text += "\n" + _indented(_comment(group.why) + _item(document), 2)
        text += _indented("rules:\n", 4)
        for rule, plain in zip(group.rules, rules, strict=True):
            text += _indented(_comment(rule.why) + _item(_stripped(plain)), 6)
    return text


def _item(document: dict[str, Any]) -> str:
    """Return a document as an item of a list."""
    return "- " + textwrap.indent(_dump(document), "  ")[2:]


def _comment(reason: str) -> str:
    return "".join(f"# {line}\n" for line in textwrap.wrap(reason, 88))


def _indented(text: str, columns: int) -> str:
    return textwrap.indent(text, " " * columns)


def _dump(document: dict[str, Any]) -> str:
    return yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=10_000)
