"""The environment that make installs runs the code of the checkout, whatever happened to it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ".venv/lib/python3.11/site-packages"
FRESH = "python3 -m venv --clear .venv"


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A checkout after ``make run``, with what make looks at."""
    checkout = tmp_path / "the checkout"
    checkout.mkdir()
    for name in ("Makefile", "pyproject.toml"):
        shutil.copy(ROOT / name, checkout)
    (checkout / PACKAGES).mkdir(parents=True)
    (checkout / ".venv/bin").mkdir()
    (checkout / ".venv/bin/python").symlink_to("/bin/true")
    (checkout / PACKAGES / "_editable_impl_esim_exporter.pth").write_text(str(checkout))
    later = time.time() + 1
    for name in (".installed", ".installed-dev"):
        (checkout / ".venv" / name).touch()
        os.utime(checkout / ".venv" / name, (later, later))
    return checkout


def planned(checkout: Path, target: str = "run") -> list[str]:
    """Return the commands that make would run, also if make runs this test."""
    environ = {k: v for k, v in os.environ.items() if not k.startswith("MAKE") and k != "MFLAGS"}
    done = subprocess.run(
        ["make", "--dry-run", "PYTHON=python3", target],
        cwd=checkout,
        env=environ,
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.splitlines()


def test_nothing_is_installed_twice(checkout: Path) -> None:
    assert planned(checkout) == [".venv/bin/esim-exporter demo"]


def test_a_fresh_clone_gets_an_environment(checkout: Path) -> None:
    shutil.rmtree(checkout / ".venv")
    assert planned(checkout)[0] == FRESH


def test_after_a_pull_with_other_dependencies_they_are_installed(checkout: Path) -> None:
    later = time.time() + 2
    os.utime(checkout / "pyproject.toml", (later, later))
    assert planned(checkout)[0] == "python3 -m venv .venv"
    assert any("--group dev" in command for command in planned(checkout, "lint"))


def test_after_pip_install_in_the_environment_the_checkout_is_used_again(checkout: Path) -> None:
    (checkout / PACKAGES / "_editable_impl_esim_exporter.pth").unlink()  # as pip does
    (checkout / PACKAGES / "exporter").mkdir()
    assert planned(checkout)[0] == FRESH
    assert any("--group dev" in command for command in planned(checkout, "lint"))


def test_an_environment_is_made_again_although_it_is_activated(checkout: Path) -> None:
    environment = checkout / ".venv"
    shutil.rmtree(environment)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", environment], check=True)
    (environment / "old").touch()
    (command, *_) = planned(checkout)
    activated = {"PATH": f"{environment}/bin:{os.environ['PATH']}"}

    subprocess.run(["sh", "-ec", command], cwd=checkout, env=activated, check=True)

    assert not (environment / "old").exists()
    subprocess.run([environment / "bin/python", "-m", "pip", "--version"], check=True)


def test_a_checkout_that_was_moved_gets_another_environment(checkout: Path) -> None:
    moved = checkout.rename(checkout.with_name("moved"))
    assert planned(moved)[0] == FRESH


def test_an_environment_whose_python_was_removed_is_made_again(checkout: Path) -> None:
    python = checkout / ".venv/bin/python"
    python.unlink()
    python.symlink_to("/usr/bin/python-that-was-removed")
    assert planned(checkout)[0] == FRESH
