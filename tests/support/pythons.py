"""Run the quick tests on every Python of this machine: ``make test-pythons``.

Each Python runs them twice: with the newest packages that ``pyproject.toml`` allows, and with the
lowest. Each run has its own environment below ``.cache/pythons``, which stays, so that a test that
failed can be run again there. The table at the end says what passed. The exit status is 1 if a test
failed, or a run gave no result. In CI it is 1 as well if a Python could not be used.

A test that hangs is named, because ``faulthandler_exit_on_timeout`` (pyproject.toml) ends the
process of the test, and pytest-xdist says which test that was and goes on with the others. A signal
or an exception, as pytest-timeout raises it, would not do: an event loop, or code in C, can swallow
it or never see it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple
from xml.etree import ElementTree as ET

from packaging.requirements import Requirement
from packaging.version import Version

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

ROOT: Final = Path(__file__).resolve().parents[2]
CACHE: Final = ROOT / ".cache" / "pythons"

OLDEST: Final = (3, 11)
"""The oldest Python that ``requires-python`` allows."""

PACKAGES: Final = {"newest": "highest", "lowest": "lowest-direct"}
"""The two sets of packages, and uv's names of how to choose them."""

NEEDED: Final = {
    "ctypes": "libffi",
    "sqlite3": "SQLite",
    "ssl": "OpenSSL",
    "zlib": "zlib",
}
"""Modules that some builds of Python lack, with the library whose headers they are built with.

Debian has venv and ensurepip in a package of their own. Nothing needs them here, because uv makes
the environments.
"""

LONGEST_RUN: Final = 5400.0
"""Seconds for one run. Only what hangs outside of any test takes so long."""

_ASKED: Final = """\
import importlib, json, platform, sys
missing = []
for name in sys.argv[1:]:
    try:
        importlib.import_module(name)
    except ImportError:
        missing.append(name)
print(json.dumps([platform.python_version(), missing]))
"""


class Interpreter(NamedTuple):
    """A Python of this machine."""

    path: Path
    version: str
    """All three parts; empty if it did not run."""
    problem: str
    """Why it cannot run the tests, and what to do; empty if it can."""


class Outcome(NamedTuple):
    """What one run gave. Tests are named as pytest's report names them."""

    python: str
    packages: str
    quart: str
    """Its version. It is the dependency of which each Python may get another one."""
    passed: int
    failed: tuple[str, ...]
    skipped: tuple[str, ...]
    problem: str = ""
    """Why there is no complete result; empty if there is one."""


def interpreters(path: str, pyenv: Path) -> list[Interpreter]:
    """Return the Pythons in the folders of ``path`` and of pyenv, one of each version.

    Pyenv's shims are left out: they start what is in its folders.
    """
    folders = [Path(each) for each in path.split(":") if each]
    folders = [each for each in folders if each != pyenv / "shims"]
    folders += sorted(pyenv.glob("versions/*/bin"))
    found: dict[str, Interpreter] = {}
    for python in _named(folders):
        asked = _ask(python)
        key = asked.version or str(asked.path)
        if key not in found or (found[key].problem and not asked.problem):
            found[key] = asked
    return sorted(found.values(), key=lambda each: Version(each.version or "0"))


def _named(folders: Iterable[Path]) -> Iterator[Path]:
    for folder in folders:
        for python in sorted(folder.glob("python3.*")):
            minor = re.fullmatch(r"python3\.(\d+)", python.name)
            if minor and (3, int(minor[1])) >= OLDEST and os.access(python, os.X_OK):
                yield python


def _ask(python: Path) -> Interpreter:
    """Let a Python tell its version, and which modules it lacks."""
    command = [str(python), "-I", "-c", _ASKED, *NEEDED]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
        version, missing = json.loads(done.stdout)
    except (OSError, subprocess.SubprocessError, ValueError) as error:
        return Interpreter(python, "", f"it does not run ({error}); mend it or remove it")
    if not missing:
        return Interpreter(python, version, "")
    headers = ", ".join(NEEDED[name] for name in missing)
    return Interpreter(
        python,
        version,
        f"it has no {', '.join(missing)}; install the package of your system that holds it "
        f"(Debian: lib{python.name}-stdlib), or build this Python again with the headers of "
        f"{headers}",
    )


def prepare(python: Interpreter, packages: str, folder: Path) -> tuple[Path, dict[str, str]]:
    """Make a fresh environment in ``folder`` with the exporter, editable, and what tests need.

    Return the path of its Python and the versions of its packages. Raises
    ``subprocess.CalledProcessError``.
    """
    shutil.rmtree(folder, ignore_errors=True)
    mine, wanted = folder / "bin" / "python", folder / "requirements.txt"
    _uv("venv", "--seed", f"--python={python.path}", folder)
    chosen = (f"--resolution={PACKAGES[packages]}", f"--python={mine}", "--no-header")
    sources = ("pyproject.toml", "--extra=postgresql", "--group=dev")
    _uv("pip", "compile", *chosen, "--no-annotate", f"--output-file={wanted}", *sources)
    _uv("pip", "install", f"--python={mine}", f"--requirement={wanted}")
    _uv("pip", "install", f"--python={mine}", "--no-deps", "--editable=.")
    lines = wanted.read_text(encoding="utf-8").splitlines()
    versions = (line.partition(" ")[0].partition("==") for line in lines if "==" in line)
    return mine, {name: version for name, _, version in versions}


def _uv(*arguments: str | Path) -> None:
    environ = os.environ | {
        "UV_CACHE_DIR": str(ROOT / ".cache" / "uv"),
        "UV_PYTHON_DOWNLOADS": "never",
    }
    subprocess.run(
        [sys.executable, "-m", "uv", "--quiet", *arguments], cwd=ROOT, env=environ, check=True
    )


def unproven(claims: Iterable[str], versions: Mapping[str, str]) -> list[str]:
    """Return the lower bounds among ``claims`` below which lie the versions that were chosen.

    Then another package forbids the bound, and nothing has tested it.
    """
    wrong = []
    for claim in map(Requirement, claims):
        got = versions.get(claim.name.lower())
        bounds = [each.version for each in claim.specifier if each.operator in {">=", "=="}]
        if got and bounds and Version(got) != Version(bounds[0]):
            wrong.append(f"{claim.name}: pyproject.toml says {bounds[0]}, the lowest was {got}")
    return wrong


def run(command: Sequence[str], report: Path, seconds: float = LONGEST_RUN) -> Outcome:
    """Run pytest, which writes ``report``. Return what it gave, without names of the run.

    After ``seconds``, all its processes are killed.
    """
    report.unlink(missing_ok=True)
    late = ""
    process = subprocess.Popen([*command, f"--junitxml={report}"], cwd=ROOT, start_new_session=True)
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        late = f"did not end within {seconds:g} s"
    finally:
        with suppress(ProcessLookupError):  # kill also what an ended test process left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    return _read(report, late or ("" if process.returncode in {0, 1} else "pytest failed itself"))


def _read(report: Path, problem: str) -> Outcome:
    if not report.exists():
        return Outcome("", "", "", 0, (), (), problem or "pytest wrote no report")
    passed, failed, skipped = 0, [], []
    for case in ET.parse(report).iter("testcase"):
        name = "::".join(filter(None, (case.get("classname"), case.get("name"))))
        if case.find("failure") is not None or case.find("error") is not None:
            failed.append(name)
        elif case.find("skipped") is not None:
            skipped.append(name)
        else:
            passed += 1
    if not (passed or failed or problem):
        problem = "no test ran"
    return Outcome("", "", "", passed, tuple(failed), tuple(skipped), problem)


def table(outcomes: Sequence[Outcome], unusable: Sequence[Interpreter]) -> str:
    """Return the results: one line for each run, then the names of what did not pass."""
    rows = [["Python", "packages", "Quart", "passed", "failed", "skipped"]]
    for each in outcomes:
        counts = (each.passed, len(each.failed), len(each.skipped))
        rows.append([each.python, each.packages, each.quart, *map(str, counts)])
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.ljust, row, widths)).rstrip() for row in rows]
    for each in outcomes:
        run_name = f"{each.python} {each.packages}"
        lines += [f"{run_name}: {each.problem}"] if each.problem else []
        lines += [f"{run_name}: failed: {name}" for name in each.failed]
        lines += [f"{run_name}: skipped: {name}" for name in each.skipped]
    lines += [f"{each.version or each.path}: not tested: {each.problem}" for each in unusable]
    return "\n".join(lines) + "\n"


def status(
    outcomes: Sequence[Outcome], unusable: Sequence[Interpreter], environ: Mapping[str, str]
) -> int:
    """Return the exit status."""
    bad = any(each.failed or each.problem for each in outcomes)
    return int(bad or not outcomes or (bool(unusable) and environ.get("CI") == "true"))


def _claims() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return [*project["dependencies"], *project["optional-dependencies"]["postgresql"]]


def _tested(python: Interpreter, packages: str, arguments: Sequence[str]) -> Outcome:
    folder = CACHE / f"{python.version}-{packages}"
    sys.stdout.write(f"\nPython {python.version} with the {packages} packages: {folder}\n")
    sys.stdout.flush()
    try:
        mine, versions = prepare(python, packages, folder)
    except subprocess.CalledProcessError:
        return Outcome(python.version, packages, "?", 0, (), (), "no environment; see above")
    command = [str(mine), "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    outcome = run(command, folder / "report.xml")
    wrong = unproven(_claims(), versions) if packages == "lowest" else []
    return outcome._replace(
        python=python.version,
        packages=packages,
        quart=versions["quart"],
        problem="; ".join(filter(None, (outcome.problem, *wrong))),
    )


def main(arguments: Sequence[str]) -> int:
    """Run the tests on every Python; ``arguments`` are for pytest."""
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    found = interpreters(os.environ.get("PATH", ""), pyenv)
    unusable = [each for each in found if each.problem]
    outcomes = [
        _tested(each, packages, arguments)
        for each in found
        if not each.problem
        for packages in PACKAGES
    ]
    sys.stdout.write("\n" + table(outcomes, unusable))
    return status(outcomes, unusable, os.environ)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
