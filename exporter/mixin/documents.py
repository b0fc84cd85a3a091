"""The text of the YAML files: rules, PrometheusRule and the configuration of Alertmanager."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING, Any, Final

import yaml

from exporter.mixin.alertmanager.configuration import alertmanager
from exporter.mixin.rules.rule_files import FILES

if TYPE_CHECKING:
    from exporter.mixin.rules.rule_types import Group
    from exporter.mixin.values import MixinValues

_HEADER = "# Written by `esim-exporter mixin`. Change its values instead of this file.\n"
_LARGE_FLEET = "# For large fleets: single eSIMs without data are tickets, and many at once page.\n"
_OPERATOR = """\
# All rule files as one object for the Prometheus Operator, @operator or later (earlier versions
# drop keep_firing_for). It leaves out watchdog.rules.yml: kube-prometheus has its own.
"""
OPERATOR_VERSION: Final = "v0.67.0"
WATCHDOG_FILE: Final = "watchdog.rules.yml"


class _Dumper(yaml.SafeDumper):
    """Writes lists indented, and texts of several lines as blocks."""

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:  # noqa: ARG002, FBT001, FBT002  # yaml's own signature
        super().increase_indent(flow, indentless=False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def documents(values: MixinValues) -> dict[str, str]:
    """Return the text of each YAML file by its name."""
    large_fleet = _LARGE_FLEET if values.routing.large_fleet else ""
    rules = {name: _HEADER + _rules(in_file, values) for name, in_file in FILES.items()}
    return rules | {
        "prometheusrule.yaml": _HEADER
        + _OPERATOR.replace("@operator", OPERATOR_VERSION)
        + _dump(_prometheus_rule(values)),
        "alertmanager.yml": _HEADER + large_fleet + _dump(alertmanager(values)),
    }


def _prometheus_rule(values: MixinValues) -> dict[str, Any]:
    shipped = [group for name, file in FILES.items() if name != WATCHDOG_FILE for group in file]
    return {
        "apiVersion": "monitoring.coreos.com/v1",
        "kind": "PrometheusRule",
        "metadata": {
            "name": "esim-exporter",
            "labels": {"app.kubernetes.io/name": "esim-exporter"},
        },
        "spec": {"groups": [_operator_group(group, values) for group in shipped]},
    }


def _operator_group(group: Group, values: MixinValues) -> dict[str, Any]:
    document = group.document(values)
    return document | {"rules": [_stripped(rule) for rule in document["rules"]]}


def _stripped(rule: dict[str, Any]) -> dict[str, Any]:
    return rule | {"expr": rule["expr"].strip()}


def _rules(in_file: tuple[Group, ...], values: MixinValues) -> str:
    """Return the text of a rule file, with the reason for a rule as a comment above it."""
    text = "groups:\n"
    for group in in_file:
        document = group.document(values)
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
