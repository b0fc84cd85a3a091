"""The shell steps of the release, run on a small repository: versions, and the notes."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

RELEASE = Path(__file__).resolve().parents[2] / ".github" / "workflows" / "release.yml"
STEPS = {
    step["name"]: step["run"]
    for job in yaml.safe_load(RELEASE.read_text())["jobs"].values()
    for step in job.get("steps", [])
    if "run" in step
}
CHECK = "Check that the tag, the program, the chart and the changelog have one version"
NOTES = "Create it with the section of the changelog"

FILES = {
    "exporter/__init__.py": '__version__ = "1.2.0"\n',
    "deploy/helm/Chart.yaml": "name: esim-exporter\nversion: 1.2.0\nappVersion: 1.2.0\n",
    "CHANGELOG.md": "# Changelog\n\n## Unreleased\n\n- later\n\n## 1.2.0 - 2026-12-01\n\n- new\n"
    "\n### Fixed\n\n- old\n\n## 1.1.0 - 2026-11-01\n\n- since 1.2.0 of another program\n",
}


def run(step: str, folder: Path, tag: str) -> subprocess.CompletedProcess[str]:
    gh = folder / "bin" / "gh"
    gh.parent.mkdir()
    gh.write_text("#!/bin/sh\necho gh\n")
    gh.chmod(0o755)
    environ = {
        "PATH": f"{gh.parent}:{os.environ['PATH']}",
        "GITHUB_REF_NAME": tag,
        "GITHUB_OUTPUT": str(folder / "output"),
    }
    # As GitHub runs it.
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", STEPS[step]]
    return subprocess.run(
        command, cwd=folder, env=environ, capture_output=True, text=True, check=False
    )


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path


def test_one_version_everywhere_is_taken(repository: Path) -> None:
    done = run(CHECK, repository, "v1.2.0")
    assert done.returncode == 0, done.stderr
    assert (repository / "output").read_text() == "version=1.2.0\n"


@pytest.mark.parametrize("name", FILES)
def test_another_version_in_a_file_stops_the_release(name: str, repository: Path) -> None:
    (repository / name).write_text(FILES[name].replace("1.2.0", "1.3.0"))
    assert run(CHECK, repository, "v1.2.0").returncode != 0


def test_another_tag_stops_the_release(repository: Path) -> None:
    assert run(CHECK, repository, "v1.2.1").returncode != 0


def test_a_version_without_a_date_stops_the_release(repository: Path) -> None:
    changelog = FILES["CHANGELOG.md"].replace("1.2.0 - 2026-12-01", "1.2.0")
    (repository / "CHANGELOG.md").write_text(changelog)
    assert run(CHECK, repository, "v1.2.0").returncode != 0


def test_the_notes_are_the_section_of_the_version(repository: Path) -> None:
    done = run(NOTES, repository, "v1.2.0")
    assert done.returncode == 0, done.stderr
    assert (repository / "notes.md").read_text() == "\n- new\n\n### Fixed\n\n- old\n\n"
