"""The command esim-exporter mixin, as a user runs it."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest
import yaml

from exporter.cli import main
from exporter.mixin.values import MixinValues
from exporter.mixin.values_file import read_values

FILES = {
    "alertmanager.yml",
    "esim-exporter.rules.yml",
    "esim-fleet.rules.yml",
    "esim-forecast.rules.yml",
    "esim-usage.rules.yml",
    "prometheusrule.yaml",
    "watchdog.rules.yml",
    "dashboards/esim-esim.json",
    "dashboards/esim-exporter.json",
    "dashboards/esim-fleet.json",
    "dashboards/esim-package.json",
}


def run(*arguments: str) -> int:
    return main(["mixin", *arguments], {})


def written(folder: Path) -> dict[str, str]:
    paths = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_text() for path in paths}


def test_it_writes_its_files_and_says_which(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "not" / "there"
    assert run(f"--output={folder}") == 0
    assert set(written(folder)) == FILES
    assert set(capsys.readouterr().out.splitlines()) == {str(folder / name) for name in FILES}


def test_it_says_which_receivers_are_not_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values = tmp_path / "values.yml"
    values.write_text("receivers: {pager: {webhook: {url: 'http://on-call.test'}}, tickets: }")
    assert run(f"--output={tmp_path / 'out'}", f"--values={values}") == 0
    assert [line.split(": ")[1] for line in capsys.readouterr().err.splitlines()] == [
        "receivers.tickets is not set",
        "receivers.deadman is not set",
    ]


def test_a_folder_in_the_place_of_a_file_is_named_and_nothing_is_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "prometheusrule.yaml"
    folder.mkdir()
    assert run(f"--output={tmp_path}") == 1
    assert capsys.readouterr().err == f"esim-exporter mixin: {folder}: is a folder\n"
    assert written(tmp_path) == {}


def test_a_second_run_overwrites(tmp_path: Path) -> None:
    run(f"--output={tmp_path}")
    before = written(tmp_path)
    (tmp_path / "alertmanager.yml").write_text("edited")
    run(f"--output={tmp_path}")
    assert written(tmp_path) == before


def test_a_disk_that_is_full_leaves_the_files_of_an_earlier_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run(f"--output={tmp_path}")
    before = written(tmp_path)
    values = tmp_path.with_suffix(".yml")
    values.write_text("routing: {large_fleet: true}")
    write_text = Path.write_text

    def full(path: Path, text: str, encoding: str) -> int:
        if path.name == "esim-package.json":
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        return write_text(path, text, encoding)

    monkeypatch.setattr(Path, "write_text", full)
    assert run(f"--output={tmp_path}", f"--values={values}") == 1
    assert "No space left on device" in capsys.readouterr().err
    assert written(tmp_path) == before


def test_the_printed_defaults_are_values_that_change_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("--values=-") == 0
    values = tmp_path / "values.yml"
    values.write_text(capsys.readouterr().out)
    assert values.read_text().endswith("\nfaster: 1\n")
    for name, arguments in (("fed", [f"--values={values}"]), ("default", [])):
        assert run(f"--output={tmp_path / name}", *arguments) == 0
    assert written(tmp_path / "fed") == written(tmp_path / "default")


def test_an_example_that_is_in_a_comment_can_be_uncommented(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run("--values=-")
    text = capsys.readouterr().out
    kept, commented, rest = text.partition("    # pagerduty:\n")
    block, after = rest.split("    # Opsgenie", 1)
    lines = block.replace("    #   ", "      ")
    values = tmp_path / "values.yml"
    values.write_text(f"{kept}{commented.replace('# ', '')}{lines}    # Opsgenie{after}")
    assert run(f"--output={tmp_path / 'out'}", f"--values={values}") == 0
    routes = yaml.safe_load((tmp_path / "out" / "alertmanager.yml").read_text())
    (pager,) = (each for each in routes["receivers"] if each["name"] == "pager")
    assert pager.keys() == {"name", "webhook_configs", "pagerduty_configs"}


BAD = {
    "usage: {lo: 0.5}": "usage.lo: unknown key; known here: low, high, full",
    "jop: x": "jop: unknown key; known here: jobs, target_labels, links,",
    "page_for: 9hours": "page_for: not a duration: '9hours' (write it like",
    "storm: {window: 0s}": "storm.window: not a duration above zero: '0s'",
    "usage: {low: much}": "usage.low: must be a number, not 'much'",
    "usage: {low: 75}": "usage.low: must be less than or equal to 1, not '75'",
    "usage: {low: 0.95}": "usage: low must be below high, and high below full",
    "storm: {package_esims: 30}": "storm: package_esims must not exceed fleet_esims",
    "storm: {package_esims: 2.5}": "storm.package_esims: must be a whole number, not '2.5'",
    "routing: {large_fleet: perhaps}": "routing.large_fleet: must be true or false, not 'perhaps'",
    "routing: {pages: {repeat_interval: 1m}}": "routing.pages: repeat_interval must be from",
    "severity: {sms: {full: urgent}}": "severity.sms.full: must be 'critical', 'warning' or",
    "jobs: {exporter: 'a\"b'}": "jobs.exporter: must be a name of letters, digits and _ . / : -",
    "jobs: {exporter: same, esims: same}": "jobs: exporter and esims must be different jobs",
    "links: {grafana: grafana.test}": "links.grafana: not a URL: 'grafana.test' (write it like",
    "links: {grafana: 'https://x/{{ .Labels }}'}": "links.grafana: not a URL:",
    "target_labels: [zone, instance]": "target_labels.1: not a label that tells installations",
    "target_labels: zone": "target_labels: must be a list, such as [cluster], not 'zone'",
    "receivers: {pager: {}}": "receivers.pager: give one of webhook, pagerduty, opsgenie, slack",
    "receivers: {pager: {pagerduty: {routing_key: x}}}": "receivers.pager.pagerduty.routing_key: "
    "unknown key; known here: routing_key_file, url",
    "receivers: {pager: {slack: {channel: x}}}": "receivers.pager.slack.api_url_file: missing",
    "receivers: {pager: {webhook: {}}}": "receivers.pager.webhook: give url or url_file, and not",
    "exporter: {certificate_ends: 1d}": "exporter: certificate_ends_soon must be shorter than",
    "pending: {EsimX: 5m}": "pending.EsimX: no alert has this name",
    "faster: 0": "faster: must be greater than 0, not '0'",
    "usage: 7": "usage: must have keys below it; known here: low, high, full",
    "receivers: {pager: {email: {to: x, sender: a@b, smarthost: 'h:25'}}}": "must be an e-mail",
    "receivers: {pager: {email: {to: a@b, sender: a@b, smarthost: h}}}": "must be a host with a",
    "receivers: {pager: {opsgenie: {api_key_file: 'https://x/SECRET'}}}": "receivers.pager."
    "opsgenie.api_key_file: must be an absolute path without spaces",
    "pending: [a]": "pending: must be a mapping of names to values",
    "- a": "not a mapping of keys to values",
    "usage: {low: 0.1, low: 0.2}": "not valid YAML: the key 'low' is given twice",
}


@pytest.mark.parametrize("text", BAD)
def test_a_wrong_value_is_explained_in_a_line_and_nothing_is_written(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, folder = tmp_path / "values.yml", tmp_path / "out"
    values.write_text(text)
    assert run(f"--output={folder}", f"--values={values}") == 2
    printed = capsys.readouterr()
    first, *others = printed.err.splitlines()
    assert first.startswith(f"esim-exporter mixin: {values}")
    assert BAD[text] in printed.err
    assert not [line for line in others if not line.startswith("esim-exporter mixin: ")]
    assert "SECRET" not in printed.err
    assert printed.out == ""
    assert not folder.exists()


def test_each_wrong_value_has_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = tmp_path / "values.yml"
    values.write_text("usage: {low: 2}\npage_for: x\nunknown: 1\n")
    assert run(f"--output={tmp_path / 'out'}", f"--values={values}") == 2
    assert len(capsys.readouterr().err.splitlines()) == 3


@pytest.mark.parametrize("text", ["", "usage:\n", "usage:\n  low:\n"])
def test_a_key_without_a_value_keeps_its_default(text: str, tmp_path: Path) -> None:
    values = tmp_path / "values.yml"
    values.write_text(text)
    assert run(f"--output={tmp_path / 'out'}", f"--values={values}") == 0


def test_a_value_leaves_its_neighbours_at_their_defaults(tmp_path: Path) -> None:
    """Also where groups of the same form have different defaults."""
    path = tmp_path / "values.yml"
    path.write_text("severity: {data: {low: warning}}\nrouting: {pages: {group_wait: 1m}}\n")
    default, values = MixinValues(), read_values(path)
    assert values.severity.data == default.severity.data.model_copy(update={"low": "warning"})
    assert values.routing.pages == default.routing.pages.model_copy(update={"group_wait": "1m"})


def test_a_receiver_replaces_the_default_one(tmp_path: Path) -> None:
    path = tmp_path / "values.yml"
    path.write_text("receivers: {pager: {slack: {api_url_file: /url, channel: '#esim'}}}\n")
    receivers = read_values(path).receivers
    assert receivers.pager.webhook is None
    assert receivers.tickets == MixinValues().receivers.tickets


def test_a_file_that_is_not_there_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(f"--output={tmp_path}", f"--values={tmp_path / 'values.yml'}") == 2
    assert "values.yml: No such file" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    assert run(f"--output={tmp_path / 'file'}") == 1
    assert capsys.readouterr().err.startswith(f"esim-exporter mixin: {tmp_path / 'file'}")


@pytest.mark.parametrize("arguments", [[], ["--values=-", "--output=x"]])
def test_arguments_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        run(*arguments)
    assert ended.value.code == 2
