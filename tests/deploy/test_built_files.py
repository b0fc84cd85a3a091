"""The wheel and the sdist: the same bytes wherever they are built, and they work on their own.

The commands are those of ``.github/workflows/release.yml``. They run in copies of this checkout.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import prerequisites
import pytest
import yaml
from running import SECRET, SUCCESS, USAGE, WAIT, Serving

import exporter

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
RELEASE = ROOT / ".github" / "workflows" / "release.yml"
STEPS = {
    step["name"]: step["run"]
    for step in yaml.safe_load(RELEASE.read_text())["jobs"]["build"]["steps"]
    if "run" in step
}
BUILD = STEPS["Build the wheel and the sdist, with the time of the commit"]
INSTALL = STEPS["Install the wheel, and check that it knows its version and its commit"]
NAME = f"esim_exporter-{exporter.__version__}"
WHEEL = f"{NAME}-py3-none-any.whl"
SDIST = f"{NAME}.tar.gz"


def run(*command: str | Path, folder: Path, **environ: str) -> str:
    # As in another checkout: nothing of this one is found.
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "ESIM_", "COV_"))}
    done = subprocess.run(
        command,
        cwd=folder,
        env=ours | environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def git(folder: Path, *arguments: str) -> str:
    who = ("-c", "user.name=x", "-c", "user.email=x@example.com")
    return run("git", *who, *arguments, folder=folder).strip()


class Built(NamedTuple):
    checkout: Path
    commit: str
    tools: Path
    """The programs of the environment that builds."""

    @property
    def wheel(self) -> Path:
        return self.checkout / "dist" / WHEEL

    @property
    def sdist(self) -> Path:
        return self.checkout / "dist" / SDIST

    def step(self, script: str) -> None:
        """Run a step of the workflow. It needs the network."""
        environ = {
            "PATH": f"{self.tools}:{os.environ['PATH']}",
            "GITHUB_REF_NAME": f"v{exporter.__version__}",
            "GITHUB_SHA": self.commit,
        }
        try:
            run("bash", "-eo", "pipefail", "-c", script, folder=self.checkout, **environ)
        except AssertionError as error:
            if "No matching distribution found" in str(error):
                prerequisites.lack(f"pip cannot reach its index: {str(error)[-300:]}")
            raise


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A checkout of what is here, and what was built from it."""
    folder = tmp_path_factory.mktemp("built")
    checkout = folder / "checkout"
    checkout.mkdir()
    if not (ROOT / ".git").exists():
        prerequisites.lack("this is no git repository")
    git(checkout, "init", "--initial-branch=main")
    listed = git(ROOT, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    for name in filter(None, listed.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            (checkout / name).write_bytes((ROOT / name).read_bytes())
    git(checkout, "add", "--all")
    git(checkout, "commit", "--message=all")
    run(sys.executable, "-m", "venv", folder / "tools", folder=folder)
    made = Built(checkout, git(checkout, "rev-parse", "HEAD"), folder / "tools" / "bin")
    made.step(BUILD)
    return made


@pytest.fixture(scope="module")
def programs(built: Built) -> Path:
    """The programs of an environment that holds the wheel and what it needs."""
    built.step(INSTALL)
    return built.checkout / "installed" / "bin"


@pytest.fixture
def served(programs: Path, tmp_path: Path) -> Iterator[Serving]:
    listeners = (
        "--web.listen-address=127.0.0.1:0",
        "--webhook.listen-address=127.0.0.1:0",
    )
    serving = Serving(
        tmp_path,
        listeners,
        {"ESIM_EXPORTER_WEBHOOK_SECRET": SECRET.decode()},
        (str(programs / "esim-exporter"), "serve"),
    )
    try:
        serving.wait_until_ready()
        yield serving
    finally:
        assert serving.end() == 0


def test_another_checkout_at_another_time_gives_the_same_bytes(
    built: Built, tmp_path: Path
) -> None:
    before = os.umask(0o077)
    try:
        git(tmp_path, "clone", "--quiet", str(built.checkout), "another name")
    finally:
        os.umask(before)
    another = built._replace(checkout=tmp_path / "another name")
    for file in another.checkout.rglob("*"):
        os.utime(file, (1_000_000_000, 1_000_000_000))
    (another.checkout / "fleet.db").write_text("a file that lies about")
    (another.checkout / "notes.txt").write_text("another one")

    another.step(BUILD)

    assert another.wheel.read_bytes() == built.wheel.read_bytes()
    assert another.sdist.read_bytes() == built.sdist.read_bytes()


def test_pip_makes_an_equal_wheel_of_the_sdist_and_of_a_checkout(
    built: Built, tmp_path: Path
) -> None:
    # So all that is tested of the wheel is true for `pip install` of the others.
    epoch = git(built.checkout, "log", "-1", "--format=%ct")
    for source in (built.sdist, built.checkout):
        folder = tmp_path / source.name
        folder.mkdir()
        pip = (built.tools / "python", "-m", "pip", "wheel", "--quiet", "--no-deps")
        run(*pip, source, folder=folder, SOURCE_DATE_EPOCH=epoch)
        assert content(folder / WHEEL) == content(built.wheel)


def content(wheel: Path) -> dict[str, list[bytes]]:
    """Return the lines of each file. pip does not ask for a certain order of files."""
    with zipfile.ZipFile(wheel) as archive:
        files = {name: archive.read(name).splitlines() for name in archive.namelist()}
    return {name: sorted(x) if name.endswith("/RECORD") else x for name, x in files.items()}


def test_both_hold_all_that_belongs_to_them(built: Built) -> None:
    tracked = set(git(built.checkout, "ls-files", "-z").split("\0")) - {""}
    stamp = "exporter/REVISION"
    with zipfile.ZipFile(built.wheel) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        assert wheel.read(stamp).decode().strip() == built.commit
    assert names == {name for name in tracked if name.startswith("exporter/")} | {stamp}

    with tarfile.open(built.sdist) as sdist:
        members = {name.removeprefix(f"{NAME}/") for name in sdist.getnames()}
    hidden = {name for name in tracked if name.startswith(".")}
    assert members - {".gitignore"} == tracked - hidden | {stamp, "PKG-INFO", "pyproject.toml"}


def test_the_description_leads_to_the_files_of_the_release(built: Built) -> None:
    with zipfile.ZipFile(built.wheel) as wheel:
        metadata = wheel.read(f"{NAME}.dist-info/METADATA").decode()
    assert f"\nVersion: {exporter.__version__}\n" in metadata
    assert "\nMetadata-Version: 2.5" not in f"\n{metadata}"
    links = re.findall(r"\]\(([^)]*)\)", metadata)
    place = f"{exporter.PROJECT_URL}/(blob|raw)/v{exporter.__version__}/([^#]+)"
    found = [re.match(place, link) for link in links]
    assert found
    assert all(link and (ROOT / link[2]).exists() for link in found)


def test_it_takes_the_sample_as_the_readme_says(
    built: Built, served: Serving, tmp_path: Path
) -> None:
    (block,) = re.findall(
        r"^    SIGNATURE=(?:.+\n)+", (ROOT / "README.md").read_text(), re.MULTILINE
    )
    sample = tmp_path / "tests" / "payloads" / "usage.json"  # as after a download
    sample.parent.mkdir(parents=True)
    sample.write_bytes(USAGE)
    commands = block.replace("http://localhost:10878", served.public)
    commands = commands.replace("http://localhost:10877", served.internal)
    secret = SECRET.decode()
    printed = run("sh", "-ec", commands, folder=tmp_path, ESIM_EXPORTER_WEBHOOK_SECRET=secret)
    assert SUCCESS.decode() in printed
    assert "\nesim_data_remaining_bytes{" in printed

    build = next(name for name in served.own() if name.startswith("build_info"))
    assert f'revision="{built.commit}"' in build
    assert f'version="{exporter.__version__}"' in build


def test_it_has_its_pages_and_documents(served: Serving) -> None:
    page = served.get("/")
    assert page.status_code == 200
    files = re.findall(r'"(/-/status/[^"]+)"', page.text)
    assert len(files) == 3
    assert {served.get(file).status_code for file in files} == {200}
    assert served.get("/api/v1/openapi.json").json() == yaml.safe_load(
        (ROOT / "docs" / "openapi.json").read_text()
    )


def test_it_writes_the_rules_and_the_dashboards(programs: Path, tmp_path: Path) -> None:
    run(programs / "esim-exporter", "mixin", "--output=out", folder=tmp_path)

    written = {path.relative_to(tmp_path / "out") for path in tmp_path.rglob("*.*")}
    places = {Path("dashboards"): ROOT / "grafana", Path(): ROOT / "alerts"}
    ours = {
        path
        for path in written
        if (places[path.parent] / path).exists()
        and (places[path.parent] / path).read_bytes() == (tmp_path / "out" / path).read_bytes()
    }
    assert written == ours
    assert len([path for path in written if path.suffix == ".json"]) == 4


def test_it_simulates_a_fleet(programs: Path, served: Serving, tmp_path: Path) -> None:
    run(
        programs / "esim-exporter",
        *("simulate", f"--url={served.webhook}", "--esims=5", "--phase=burst", "--duration=1s"),
        *("--start=8h", "--speed=86400"),
        folder=tmp_path,
        ESIM_EXPORTER_WEBHOOK_SECRET=SECRET.decode(),
    )
    assert served.own()["esims"] == 5


def test_it_runs_the_demo(programs: Path, tmp_path: Path) -> None:
    with subprocess.Popen(
        [programs / "esim-exporter", "demo", "--esims=5"],
        cwd=tmp_path,
        env={"PATH": "/nowhere"},  # no Prometheus
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as demo:
        assert demo.stdout
        printed = []
        try:
            for line in demo.stdout:
                printed.append(line)
                if "Ctrl-C" in line:
                    break
            post, look = (line for line in printed if "curl" in line and "fleet" not in line)
            assert run("sh", "-ec", post, folder=tmp_path).strip() == SUCCESS.decode()
            assert "demo-esim" in run("sh", "-ec", look, folder=tmp_path)
        finally:
            demo.send_signal(signal.SIGINT)
            demo.communicate(timeout=WAIT)
    assert demo.returncode == 0


def test_what_it_says_about_postgresql_works(programs: Path, tmp_path: Path) -> None:
    check: list[str | Path] = [
        *(programs / "esim-exporter", "serve", "--config.check"),
        *("--webhook.allow-unsigned", "--storage.url=postgresql://localhost/fleet"),
    ]
    refused = subprocess.run(check, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert refused.returncode == 2
    command = refused.stderr.partition("; run: ")[2]
    run("sh", "-ec", command, folder=tmp_path)
    assert run(*check, folder=tmp_path) == "The settings can be used.\n"
