"""What docs/add-a-vendor.md says is done to a copy of the program, and then holds there.

The vendor that the page writes out is placed with its tests, registered, served and tried.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from guide_reading import ROOT, Reader, blocks

PAGE = "docs/add-a-vendor.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
FILE = re.compile(r"`([\w/.-]+)`:\n\n((?: {4}.*\n|\n(?=\n? {4}))+)")
"""A path at the end of a sentence, and the block below it, which is the content of the file."""

REGISTRY = "exporter/vendors/registry.py"
ENTRY = "exporter/vendors/acme/__init__.py"
IMPORT, CONTRACT = "from exporter.vendors.", '"exporter.vendors.'
"""How the blocks begin that are lines of other files."""


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a copy of the program and its tests that has the vendor of the page."""
    for folder in ("exporter", "tests"):
        left_out = shutil.ignore_patterns("__pycache__", "node_modules")
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=left_out)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for name, content in FILE.findall(TEXT):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists(), name
        path.write_text(textwrap.dedent(content))
    (line,) = (block for block in blocks(PAGE) if block.startswith(IMPORT))
    insert(tmp_path / REGISTRY, "from exporter.vendors.", f"{line}\n")
    end_with(tmp_path / REGISTRY, "ACME")
    add_habits(tmp_path / ENTRY)
    (line,) = (block for block in blocks(PAGE) if block.startswith(CONTRACT))
    insert(tmp_path / "pyproject.toml", '    "exporter.vendors.', f"    {line}\n")
    # The copy is no part of what is measured.
    monkeypatch.delenv("COVERAGE_PROCESS_CONFIG", raising=False)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def insert(path: Path, first: str, line: str) -> None:
    """Insert a line before the first one that begins so."""
    text = path.read_text()
    at = text.index(f"\n{first}") + 1
    path.write_text(text[:at] + line + text[at:])


def end_with(path: Path, name: str) -> None:
    """Write a name at the end of ``VENDORS``."""
    text = path.read_text()
    changed = re.sub(
        r"^(VENDORS\b.*= \(.*?),?\)$", rf"\1, {name})", text, count=1, flags=re.MULTILINE
    )
    assert changed != text
    path.write_text(changed)


def add_habits(path: Path) -> None:
    """Add the habits to the entry."""
    function, argument = (
        next(block for block in blocks(PAGE) if block.startswith(first))
        for first in ("def _habits", "habits=")
    )
    insert(path, ")\n", f"    {argument}\n")
    for_types = "if TYPE_CHECKING:\n    from exporter.vendors.simulation import Habits"
    insert(path, "ACME = ", f"{for_types}\n\n\n{function}\n\n\n")
    insert(path, "from exporter.", "from typing import TYPE_CHECKING\n\n")


def typed(first: str) -> list[str]:
    """Return the commands of the block that begins so."""
    (block,) = (block for block in blocks(PAGE) if block.startswith(first))
    return re.split(r"(?<!\\)\n", block)


def done(checkout: Path, *command: str) -> str:
    """Run a program of the tests' environment, which must succeed; return what it prints."""
    program, *arguments = command
    ended = subprocess.run(
        [Path(sys.executable).parent / program, *arguments],
        cwd=checkout,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return ended.stdout


def test_the_vendor_of_the_page_is_served_and_its_gauges_are_found(checkout: Path) -> None:
    reader = Reader(checkout)
    write_secret, serve = typed("echo a-secret-of-acme")
    reader.run(write_secret)
    with reader.serve(serve):
        for command in typed("SIGNATURE="):
            reader.run(command)

    (answer,) = re.findall(r"The answer is `(.+?)`", TEXT)
    assert answer in reader.printed
    (shown,) = (block for block in blocks(PAGE) if block.startswith("esim_data_remaining_bytes{"))
    assert f"\n{shown}\n" in reader.printed


def test_the_vendor_of_the_page_is_simulated(checkout: Path) -> None:
    reader = Reader(checkout)
    write_secret, serve = typed("echo a-secret-of-acme")
    reader.run(write_secret)
    (simulate,) = typed("esim-exporter simulate")
    with reader.serve(serve) as running:
        reader.interrupt(f"{simulate} --url={running.public}", lambda: running.own()["esims"] > 50)
        assert running.rejected("invalid", "acme") == 0


def test_a_wrong_secret_is_refused(checkout: Path) -> None:
    reader = Reader(checkout)
    write_secret, serve = typed("echo a-secret-of-acme")
    reader.run(write_secret)
    sign, send, _ = typed("SIGNATURE=")
    with reader.serve(serve):
        reader.run(sign.replace("cat acme-secrets", "echo another"))
        with pytest.raises(AssertionError, match="401"):
            reader.run(send)


def test_the_tests_of_the_page_pass_for_its_vendor(checkout: Path) -> None:
    (command,) = re.findall(r"^    \.venv/bin/python -m (pytest(?:.*\\\n)*.*)$", TEXT, re.MULTILINE)
    words = command.replace("\\\n", " ").split()
    printed = done(checkout, *words, "-v", "-p", "no:cacheprovider")
    for name in ("test_acme.py::test_translates", "test_registry.py::", "simulated_vendors.py"):
        assert name in printed


@pytest.mark.slow
def test_the_code_of_the_page_satisfies_the_linters(checkout: Path) -> None:
    files = [name for name, _ in FILE.findall(TEXT) if name.endswith(".py")]
    done(checkout, "ruff", "check", "--no-cache", *files)
    done(checkout, "ruff", "format", "--check", "--no-cache", *files)
    done(checkout, "mypy", "--cache-dir=/dev/null", *files)
    assert "Vendors are known by the registry only KEPT" in done(
        checkout, "lint-imports", "--no-cache"
    )
