from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path
from platform import python_version
from typing import TYPE_CHECKING

import pytest
import pythons
import yaml
from packaging.requirements import Requirement
from pythons import Interpreter, Outcome, interpreters, run, status, table, unproven
from running import until

if TYPE_CHECKING:
    from collections.abc import Sequence

PROJECT = tomllib.loads((pythons.ROOT / "pyproject.toml").read_text())["project"]
NO_PYENV = Path("/no/pyenv")
FINE = Outcome("3.11.2", "newest", "0.22.0", 7, (), ())


def install(path: Path, version: str, missing: Sequence[str] = (), *, then: str = "") -> Path:
    """Write a stand-in for a Python, which answers what it is asked."""
    path.parent.mkdir(parents=True, exist_ok=True)
    answer = json.dumps([version, list(missing)])
    path.write_text(f"#!/bin/sh\n{then}\necho '{answer}'\n")
    path.chmod(0o755)
    return path


def test_pythons_on_the_path_and_of_pyenv_are_found_once_each_in_order(tmp_path: Path) -> None:
    here, there, pyenv = tmp_path / "bin", tmp_path / "usr" / "bin", tmp_path / "pyenv"
    first = install(here / "python3.13", "3.13.0")
    install(there / "python3.13", "3.13.0")
    debian = install(there / "python3.11", "3.11.2")
    newer = install(pyenv / "versions" / "3.11.10" / "bin" / "python3.11", "3.11.10")
    install(pyenv / "versions" / "3.13.0" / "bin" / "python3.13", "3.13.0")
    install(pyenv / "versions" / "3.10.1" / "bin" / "python3.10", "3.10.1")
    install(pyenv / "shims" / "python3.12", "3.12.1", then="exit 127")
    install(there / "python3.12-config", "3.12.1")
    install(there / "python3.12", "3.12.1").chmod(0o644)

    found = interpreters(f"{pyenv / 'shims'}:{here}:{tmp_path / 'none'}:{there}", pyenv)

    assert [each.path for each in found] == [debian, newer, first]
    assert not any(each.problem for each in found)


def test_a_python_without_a_module_is_named_with_what_to_do(tmp_path: Path) -> None:
    install(tmp_path / "python3.12", "3.12.1", ["sqlite3", "ssl"])
    (found,) = interpreters(str(tmp_path), NO_PYENV)
    assert found.problem == (
        "it has no sqlite3, ssl; install the package of your system that holds it (Debian: "
        "libpython3.12-stdlib), or build this Python again with the headers of SQLite, OpenSSL"
    )


def test_a_complete_python_is_preferred_to_one_of_its_version(tmp_path: Path) -> None:
    install(tmp_path / "a" / "python3.12", "3.12.1", ["sqlite3"])
    complete = install(tmp_path / "b" / "python3.12", "3.12.1")
    (found,) = interpreters(f"{tmp_path}/a:{tmp_path}/b", NO_PYENV)
    assert found == Interpreter(complete, "3.12.1", "")


@pytest.mark.parametrize("then", ["exit 3", "echo no JSON"])
def test_a_python_that_does_not_run_is_named(then: str, tmp_path: Path) -> None:
    python = install(tmp_path / "python3.12", "3.12.1", then=then)
    (found,) = interpreters(str(tmp_path), NO_PYENV)
    assert (found.path, found.version) == (python, "")
    assert "it does not run" in found.problem
    assert f"{python}: not tested: it does not run" in table([], [found])


def test_the_python_of_this_test_can_be_used(tmp_path: Path) -> None:
    name = f"python3.{sys.version_info.minor}"
    (tmp_path / name).symlink_to(sys.executable)
    (found,) = interpreters(str(tmp_path), NO_PYENV)
    assert found == Interpreter(tmp_path / name, python_version(), "")


TESTS = """\
import pytest, threading

def test_passes(): pass
def test_fails(): assert False
@pytest.mark.skip
def test_is_skipped(): pass
@pytest.fixture
def broken():
    yield
    raise OSError
def test_breaks_afterwards(broken): pass
def test_hangs(): threading.Event().wait()
def test_passes_too(): pass
"""


def pytest_of(folder: Path, text: str) -> list[str]:
    """Return the command that runs tests with our configuration, but a short limit of time."""
    (folder / "test_it.py").write_text(text)
    configured = (f"--config-file={pythons.ROOT / 'pyproject.toml'}", f"--rootdir={folder}")
    limit = ("-o", "faulthandler_timeout=5")
    return [
        *(sys.executable, "-m", "pytest", "-q", "-n1", "-p", "no:cacheprovider"),
        *(*configured, *limit, str(folder)),
    ]


def test_a_test_that_hangs_is_named_and_the_others_are_run(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    outcome = run(pytest_of(tmp_path, TESTS), tmp_path / "report.xml")

    assert outcome.passed == 2
    names = {name.rpartition("::")[2] for name in outcome.failed}
    assert names == {"test_fails", "test_breaks_afterwards", "test_hangs"}
    assert [name.rpartition("::")[2] for name in outcome.skipped] == ["test_is_skipped"]
    assert outcome.problem == ""
    assert "in test_hangs" in capfd.readouterr().err, "where it hung"


def test_a_run_that_never_ends_is_ended(tmp_path: Path) -> None:
    script = 'sleep 1000 & echo $! > "$0"; wait'
    command = ["sh", "-c", script, str(tmp_path / "child")]
    outcome = run(command, tmp_path / "report.xml", 1)
    assert outcome.problem == "did not end within 1 s"
    child = Path("/proc") / (tmp_path / "child").read_text().strip() / "status"
    until(lambda: not child.exists() or "State:\tZ" in child.read_text())


def test_a_run_without_tests_or_report_is_no_success(tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    report.write_text('<testsuite><testcase name="of another run"/></testsuite>')
    assert run(["true"], report).problem == "pytest wrote no report"
    assert run(pytest_of(tmp_path, ""), report).problem


def test_the_table_has_a_line_for_each_run_and_names_what_did_not_pass() -> None:
    outcomes = [
        FINE._replace(skipped=("test_c",)),
        FINE._replace(packages="lowest", quart="0.20.0", failed=("test_a", "test_b")),
        Outcome("3.13.0", "newest", "?", 0, (), (), "no environment; see above"),
    ]
    lacking = Interpreter(Path("/bin/python3.12"), "3.12.1", "it has no ssl")
    assert table(outcomes, [lacking]).splitlines() == [
        "Python  packages  Quart   passed  failed  skipped",
        "3.11.2  newest    0.22.0  7       0       1",
        "3.11.2  lowest    0.20.0  7       2       0",
        "3.13.0  newest    ?       0       0       0",
        "3.11.2 newest: skipped: test_c",
        "3.11.2 lowest: failed: test_a",
        "3.11.2 lowest: failed: test_b",
        "3.13.0 newest: no environment; see above",
        "3.12.1: not tested: it has no ssl",
    ]


@pytest.mark.parametrize(
    ("outcomes", "environ", "lacking", "expected"),
    [
        ([FINE], {}, 0, 0),
        ([FINE, FINE._replace(failed=("test_a",))], {}, 0, 1),
        ([FINE, FINE._replace(problem="pytest wrote no report")], {}, 0, 1),
        ([FINE], {}, 1, 0),
        ([FINE], {"CI": "true"}, 1, 1),
        ([], {}, 0, 1),
    ],
)
def test_the_exit_status_says_whether_all_passed(
    outcomes: list[Outcome], environ: dict[str, str], lacking: int, expected: int
) -> None:
    unusable = [Interpreter(Path("/bin/python3.12"), "3.12.1", "it has no ssl")] * lacking
    assert status(outcomes, unusable, environ) == expected


def test_a_lower_bound_that_no_environment_had_is_named() -> None:
    claims = ["jinja2>=3.1", "Quart>=0.20,<0.24", "sdk==1.0", 'uvloop>=1; sys_platform == "none"']
    versions = {"jinja2": "3.1.2", "quart": "0.20.0", "sdk": "1.0.0"}
    assert unproven(claims, versions) == ["jinja2: pyproject.toml says 3.1, the lowest was 3.1.2"]


def test_every_dependency_has_a_lower_bound() -> None:
    claims = [*PROJECT["dependencies"], *PROJECT["optional-dependencies"]["postgresql"]]
    operators = {claim: {e.operator for e in Requirement(claim).specifier} for claim in claims}
    assert [claim for claim, found in operators.items() if not found & {">=", "=="}] == []


@pytest.mark.parametrize("name", ["quart", "hypercorn", "h11"])
def test_packages_of_which_undocumented_parts_are_used_have_an_upper_bound(name: str) -> None:
    (claim,) = (each for each in map(Requirement, PROJECT["dependencies"]) if each.name == name)
    assert "<" in {each.operator for each in claim.specifier}


def test_the_classifiers_are_the_pythons_of_ci() -> None:
    start = "Programming Language :: Python :: "
    named = [each.removeprefix(start) for each in PROJECT["classifiers"] if each.startswith(start)]
    workflow = yaml.safe_load((pythons.ROOT / ".github" / "workflows" / "ci.yml").read_text())
    matrix = workflow["jobs"]["test"]["strategy"]["matrix"]["include"]
    assert [each for each in named if each != "3 :: Only"] == [each["python"] for each in matrix]
    assert PROJECT["requires-python"] == f">={matrix[0]['python']}"
