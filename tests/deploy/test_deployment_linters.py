"""make lint checks the Dockerfile and the workflows, and finds planted mistakes."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import deployment_linters
import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


def planted(folder: Path, source: Path, *mistakes: tuple[str, str]) -> Path:
    text = source.read_text()
    for right, wrong in mistakes:
        assert right in text
        text = text.replace(right, wrong, 1)
    path = folder / source.name
    path.write_text(text)
    return path


def jobs() -> list[tuple[str, dict[str, Any]]]:
    return [
        (f"{path.name}: {name}", job)
        for path in WORKFLOWS
        for name, job in yaml.safe_load(path.read_text())["jobs"].items()
    ]


def test_hadolint_finds_planted_mistakes(tmp_path: Path) -> None:
    mistakes = {
        "DL3003": ("RUN python3 -m venv", "RUN cd /opt && python3 -m venv"),
        "DL3006": ("FROM ${BASE} AS build", "FROM debian AS build"),
        "DL3000": ("WORKDIR /src", "WORKDIR src"),
    }
    wrong = planted(tmp_path, ROOT / "Dockerfile", *mistakes.values())
    problems = deployment_linters.hadolint(wrong)
    assert [told for told in mistakes if any(told in each for each in problems)] == [*mistakes]
    assert len(problems) == len(mistakes)


def test_actionlint_finds_planted_mistakes(tmp_path: Path) -> None:
    mistakes = {
        'needs job "buld" which does not exist': ("needs: build", "needs: buld"),
        'property "tokn" is not defined': ("${{ github.token }}", "${{ github.tokn }}"),
        'label "ubuntu-24" is unknown': ("runs-on: ubuntu-24.04", "runs-on: ubuntu-24"),
        'unknown permission scope "package"': ("packages: write", "package: write"),
    }
    (workflow,) = (path for path in WORKFLOWS if path.name == "release.yml")
    wrong = planted(tmp_path, workflow, *mistakes.values())
    problems = deployment_linters.actionlint([wrong])
    assert [told for told in mistakes if any(told in each for each in problems)] == [*mistakes]


@pytest.mark.parametrize("ci", [True, False])
def test_a_linter_that_cannot_be_fetched_is_named_and_fails_in_ci(
    ci: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CI", "true" if ci else "")
    monkeypatch.setattr("programs.find", lambda _name: None)
    assert deployment_linters.main() == (1 if ci else 0)
    assert "hadolint is neither installed nor could it be fetched" in capsys.readouterr().err


def test_everything_that_workflows_use_is_pinned_by_a_digest() -> None:
    used = [
        value
        for path in WORKFLOWS
        for value in re.findall(
            r"^\s*(?:- )?(?:uses|image): (\S.*)$", path.read_text(), re.MULTILINE
        )
        if not value.startswith(("./", "${{ matrix"))
    ]
    assert len(used) > 10
    action = re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40} # v[0-9]+\.[0-9]+\.[0-9]+")
    image = re.compile(r"[\w./-]+:[\w.-]+@sha256:[0-9a-f]{64}")
    assert [each for each in used if not (action.fullmatch(each) or image.fullmatch(each))] == []


def test_a_job_has_the_permissions_it_needs_and_an_end() -> None:
    for path in WORKFLOWS:
        assert yaml.safe_load(path.read_text())["permissions"] == {}
    for name, job in jobs():
        assert "permissions" in job, name
        assert "timeout-minutes" in job or "uses" in job, name
    writing = {
        name: {scope for scope, right in job["permissions"].items() if right == "write"}
        for name, job in jobs()
    }
    assert {name: scopes for name, scopes in writing.items() if scopes} == {
        "release.yml: package": {"id-token"},
        "release.yml: image": {"packages"},
        "release.yml: chart": {"packages"},
        "release.yml: page": {"contents"},
    }


def test_ci_runs_on_every_python_that_the_package_names() -> None:
    classifiers = re.findall(
        r"Programming Language :: Python :: (3\.[0-9]+)", (ROOT / "pyproject.toml").read_text()
    )
    (test,) = (job for name, job in jobs() if name == "ci.yml: test")
    rows = test["strategy"]["matrix"]["include"]
    pythons = [row["python"] for row in rows]
    assert pythons == ["3.11", "3.12", "3.13"]
    assert all(f"python:{row['python']}-bookworm@" in row["image"] for row in rows)
    assert not classifiers or classifiers == pythons
