"""Every value that users can set reaches what is written."""

from __future__ import annotations

import subprocess
import typing
from typing import TYPE_CHECKING, Any

import programs
import pytest
import yaml
from looping import for_every
from pydantic import BaseModel

from exporter.mixin.command import files
from exporter.mixin.documents import documents
from exporter.mixin.receiver_values import ReceiverKinds, ReceiversValues
from exporter.mixin.rules.rule_files import groups
from exporter.mixin.values import MixinValues
from exporter.mixin.values_file import read_values
from exporter.settings.field_types import parse_duration

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RECEIVERS: dict[str, Any] = {
    "pager": {
        "webhook": {"url": "https://webhook.test/1", "credentials_file": "/secrets/1"},
        "pagerduty": {"routing_key_file": "/secrets/2", "url": "https://pagerduty.test/2"},
        "opsgenie": {
            "api_key_file": "/secrets/3",
            "api_url": "https://opsgenie.test/3",
            "priority": "P2",
        },
        "slack": {"api_url_file": "/secrets/4", "channel": "#channel-4"},
        "email": {
            "to": "to@mail.test",
            "sender": "from@mail.test",
            "smarthost": "smtp.mail.test:587",
            "auth_username": "user-5",
            "auth_password_file": "/secrets/5",
            "require_tls": "false",
        },
    },
    "tickets": {"webhook": {"url_file": "/secrets/6"}},
    "deadman": {"webhook": {"url": "https://webhook.test/7"}},
}


def leaves(group: BaseModel, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Yield the path and the default of every value but receivers."""
    for name, value in group:
        if isinstance(value, BaseModel) and not isinstance(value, ReceiversValues):
            yield from leaves(value, (*path, name))
        elif not isinstance(value, BaseModel):
            yield (*path, name), value


LEAVES = dict(leaves(MixinValues()))
CHOICES = [path for path, value in LEAVES.items() if value in ("critical", "warning", "info")]
FASTER = ("faster",)
"""It changes the durations, and appears nowhere itself."""


def another(path: tuple[str, ...], default: Any, number: int) -> Any:
    """Return a value that no other leaf has, by the form of the default."""
    special = {
        ("target_labels",): [f"zone{number}"],
        ("pending",): {"EsimReplicaDown": f"{600 + number}m"},
        ("routing", "large_fleet"): "true",
        **dict.fromkeys(CHOICES, "critical"),
    }
    if path in special:
        return special[path]
    if path[0] in {"links", "jobs"}:
        return f"https://link-{number}.test/path" if path[0] == "links" else f"job-{number}"
    if isinstance(default, str):
        return f"{parse_duration(default) // 60 + number + 100:.0f}m"
    if isinstance(default, int) and default > 1:
        return str(default + 1000 + number)
    return f"{0.3 + number / 1000 + 0.0007:.4f}" if default <= 1 else f"{default + 0.1037:g}"


CHANGED = {path: another(path, LEAVES[path], number) for number, path in enumerate(LEAVES)}


def nested(values: dict[tuple[str, ...], Any]) -> dict[str, Any]:
    document: dict[str, Any] = {}
    for path, value in values.items():
        group = document
        for name in path[:-1]:
            group = group.setdefault(name, {})
        group[path[-1]] = value
    return document


def written(folder: Path, values: dict[str, Any]) -> dict[str, str]:
    path = folder / "values.yml"
    path.write_text(yaml.safe_dump(values))
    return files(read_values(path))


def forms(value: Any) -> set[str]:
    """Return how a value can be written in the output."""
    if isinstance(value, list | dict):
        return set(value) if isinstance(value, list) else set(value.values())
    found = {value}
    if value.endswith("m") and value[:-1].isdigit():
        found.add(f"{parse_duration(value):g}")
    return found


ALL_CHANGED = nested({path: value for path, value in CHANGED.items() if path != FASTER})


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return what is written for values that all differ from the defaults."""
    folder = tmp_path_factory.mktemp("values")
    return "\n".join(written(folder, ALL_CHANGED | {"receivers": RECEIVERS}).values())


def test_prometheus_and_alertmanager_take_what_is_written(tmp_path: Path) -> None:
    # Alertmanager 0.25 knows no url_file.
    receivers = RECEIVERS | {"tickets": RECEIVERS["deadman"]}
    for name, text in written(tmp_path, ALL_CHANGED | {"receivers": receivers}).items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    rules = map(str, tmp_path.glob("*.rules.yml"))
    for program, *arguments in (
        ["promtool", "check", "rules", "--lint=all", "--lint-fatal", *rules],
        ["amtool", "check-config", str(tmp_path / "alertmanager.yml")],
    ):
        command = [str(programs.require(program)), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


@for_every("path", [path for path in LEAVES if path not in {*CHOICES, FASTER}], ".".join)
def test_a_value_is_found_in_the_output(path: tuple[str, ...], everything: str) -> None:
    if path == ("routing", "large_fleet"):
        found = "# For large fleets" in everything
        assert found
    else:
        found = any(form in everything for form in forms(CHANGED[path]))
        assert found, CHANGED[path]


@for_every("path", CHOICES, ".".join)
def test_a_severity_changes_the_rules(path: tuple[str, ...], tmp_path: Path) -> None:
    values = tmp_path / "values.yml"
    values.write_text(yaml.safe_dump(nested({path: "critical"})))
    changes = documents(read_values(values)) != documents(MixinValues())
    assert changes


def test_every_field_of_every_kind_of_receiver_is_found_in_the_output(everything: str) -> None:
    given: dict[str, set[str]] = {}
    for kinds in RECEIVERS.values():
        for kind, values in kinds.items():
            given.setdefault(kind, set()).update(values)
            assert all(str(value) in everything for value in values.values())
    for kind, field in ReceiverKinds.model_fields.items():
        model = next(t for t in typing.get_args(field.annotation) if t is not type(None))
        assert given[kind] == set(model.model_fields), kind


def test_no_url_of_an_example_is_written_unless_the_values_say_so() -> None:
    assert "example.com" not in "\n".join(files(MixinValues()).values())


def test_links_that_are_not_known_are_left_out() -> None:
    rules = (alert.document(MixinValues()) for group in groups() for alert in group.alerts)
    assert all("dashboard_url" not in rule["annotations"] for rule in rules)


def test_faster_divides_durations_and_nothing_else() -> None:
    text = MixinValues(faster=60).expression("rate(x[1h30m]) > 2h and y offset 6m > 3 > 1h30m")
    assert text == "rate(x[90000ms]) > 120 and y offset 6000ms > 3 > 90"


def test_target_labels_are_kept_where_installations_could_be_mixed() -> None:
    values = MixinValues(target_labels=("cluster",))
    assert values.expression("a * on (job, vendor) b") == "a * on (job, cluster, vendor) b"
    assert values.expression("sum by (job) (a)") == "sum by (job, cluster) (a)"
    routes = yaml.safe_load(documents(values)["alertmanager.yml"])
    assert all("cluster" in rule["equal"] for rule in routes["inhibit_rules"])
    assert "cluster" in routes["route"]["group_by"]


def test_a_name_that_is_no_value_is_an_error() -> None:
    with pytest.raises(AttributeError):
        MixinValues().text("more than @feed.silense")
