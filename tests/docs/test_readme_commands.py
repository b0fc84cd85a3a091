"""The commands of README.md and of docs/*.md are run as they are written.

A shell runs them one after the other in a folder of its own, with the programs of the tests'
environment. A configuration file of curl leads the documented ports to those that the system
chose. Commands that no test runs stand in a list with the reason, those of the other pages too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import bcrypt
import monitoring_stack
import programs
import pytest
from guide_reading import ROOT, Reader, blocks
from issuing import issue
from running import SUCCESS

GUIDE = ("README.md", *sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md")))
"""Pages whose commands are run, in this order."""

OTHERS = (
    "CONTRIBUTING.md",
    "SECURITY.md",
    "alerts/README.md",
    "deploy/README.md",
    "deploy/helm/README.md",
    "grafana/README.md",
)
PAGES = (*GUIDE, *OTHERS)

OURS = "tests/app/test_cli.py runs it"
CHECKED = "tests/alerts/test_alert_files.py runs it on the same files"
WRITTEN = "tests/mixin/test_command.py runs it"
COPIED = "tests/copying/test_storage_copy.py runs it"
BUILT = "tests/deploy/test_built_files.py builds the same and compares the bytes"
RESTORED = "tests/deploy/test_restore.py runs it"
ADDED = "tests/docs/test_add_a_vendor.py runs it"
CONNECTED = "tests/docs/test_vendors_page.py runs it"
SMALL = "its own test (test_dashboards_benchmark.py, test_rules_benchmark.py) runs it small"
NOT_RUN = {
    "make run": "tests/demo/test_demo.py runs what it starts",
    "make test": "runs this",
    "make test-slow": "takes minutes",
    "make test-faults": "takes half an hour",
    "make test-pythons": "runs this, several times",
    "make bench": "takes the machine for itself",
    "make clean": "removes the environment of the tests",
    "make help": "prints what is in the Makefile",
    "make lint": "a part of make test",
    "make docs": "make lint runs it with --check",
    "make mixin": "make lint runs it with --check",
    "make screenshots": "needs pngquant, and writes what is committed",
    "make status-screenshots": "needs pngquant, and writes what is committed",
    "python3 -m venv venv && . venv/bin/activate && pip install .": "needs the network",
    "pip install .": "needs the network",
    "pip install '.[postgresql]'": "needs the network",
    'export SOURCE_DATE_EPOCH="$(git log -1 --format=%ct)"': BUILT,
    "python3 -m build": BUILT,
    "sha256sum dist/*": BUILT,
    "pip install esim-exporter": "nothing is on PyPI yet",
    "createuser": "needs a database server of the reader's",
    "createdb": "needs a database server of the reader's",
    'esim-exporter storage copy sqlite:///esim-exporter.db "$ESIM_EXPORTER_STORAGE_URL"': COPIED,
    "esim-exporter serve --config.check": OURS,
    "esim-exporter --version": OURS,
    "esim-exporter mixin": WRITTEN,
    "esim-exporter mixin --values=-": WRITTEN,
    "promtool check rules": CHECKED,
    "amtool check-config alerts/alertmanager.yml": CHECKED,
    "promtool test rules": CHECKED,
    ".venv/bin/python -m pytest": "runs a part of this",
    ".cache/pythons/3.13.0-lowest/bin/python -m pytest": "runs a part of this",
    "python -m benchmarks": "takes the machine for itself",
    ".venv/bin/python docs/generate.py --figures": "tests/docs/test_generate.py runs it",
    "python -m benchmarks.dashboards": "takes minutes, and " + SMALL,
    ".venv/bin/python -m benchmarks.rules": "takes minutes, and " + SMALL,
    ".venv/bin/python -m benchmarks.paging": "takes minutes, and " + SMALL,
    "docker": "needs a daemon",
    "kubectl": "needs a cluster",
    "helm": "tests/deploy/test_chart.py renders the chart with the values of these pages",
    "apt-get install": "needs root",
    "debootstrap": "needs root",
    "buildah": "needs root and a base",
    "c=$(buildah": "needs root and a base",
    "export BUILDAH_ISOLATION=chroot": "for buildah",
    "mkdir -p .cache": "for buildah",
    "echo ESIM_EXPORTER_WEB_ENABLE_ADMIN_API=true >> /etc/esim-exporter/environment": RESTORED,
    "systemctl": "needs root and systemd",
    "curl -fsS -X POST http://localhost:10877/api/v1/admin/backup": RESTORED,
    "rm -f /var/lib/esim-exporter/esim-exporter.db-wal": RESTORED,
    "install -m 0600 -o esim-exporter -g esim-exporter NAME.db": RESTORED,
    "export ESIM_EXPORTER_WEB_ENABLE_ADMIN_API=true": "for docker",
    "echo a-secret-of-acme > acme-secrets": ADDED,
    "esim-exporter serve --acme.secret-file=acme-secrets": ADDED,
    "esim-exporter simulate --vendor=acme --acme.secret-file=acme-secrets --speed=3600": ADDED,
    'SIGNATURE=$(openssl dgst -sha256 -hmac "$(cat acme-secrets)"': ADDED,
    "curl -i http://localhost:10878/webhooks/acme": ADDED,
    "curl -s http://localhost:10877/metrics | grep sim-1": ADDED,
    "openssl rand -hex 32 > esim-access-tokens": CONNECTED,
    "esim-exporter serve --esim-access.secret-file=esim-access-tokens": CONNECTED,
    'curl -i "http://localhost:10878/webhooks/esim-access/$(cat esim-access-tokens)"': CONNECTED,
    "echo the-api-key > esim-go-secrets": CONNECTED,
    "openssl rand -hex 32 > iccid-hash-key": CONNECTED,
    "esim-exporter serve --esim-go.secret-file=esim-go-secrets "
    "--metrics.iccid-hash-key-file=iccid-hash-key": CONNECTED,
    'SIGNATURE=$(openssl dgst -sha256 -hmac "$(cat esim-go-secrets)"': CONNECTED,
    "curl -i http://localhost:10878/webhooks/esim-go": CONNECTED,
    "pg_dump": "needs a database server of the reader's",
    "pg_restore": "needs a database server of the reader's",
}
"""Commands, or how they begin, that no test here runs, and why."""

PROMETHEUS = ("scrape_configs:", "rule_files:", "alerting:")
"""How blocks begin that are parts of Prometheus's configuration."""

WEB = "tls_server_config:"
"""How the block begins that is a web configuration."""

SETTINGS = "web:"
"""How the block begins that is a file of settings."""

VALUES = "receivers:"
"""How the block begins that is a file of values for the rules."""

CHART = ("ingress:", "storage:", "settings:", "webhook:")
"""How blocks begin that are values of the Helm chart."""

COMPOSE = "services:"
"""How the block begins that is a part of a Compose file."""

PRINTED = "esim_data_remaining_bytes{"
"""How a block begins that a command before it prints."""

ACME = ('"""', "from exporter.", '"exporter.', '{"type"', "def ", "habits=")
"""How blocks begin that are parts of the vendor of docs/add-a-vendor.md."""

MONITORING = re.compile(r"(promtool|amtool|alertmanager|esim-exporter mixin) ")
SPAN = re.compile(
    r"`((?:make|pip|python3?|esim-exporter|promtool|amtool|curl|docker|kubectl|helm) [^`]+)`"
)


def commands(page: str) -> list[str]:
    """Return the commands of a page: of all blocks but those known as something else."""
    shell = [
        block
        for block in blocks(page)
        if not block.startswith(
            (*PROMETHEUS, WEB, SETTINGS, VALUES, *CHART, COMPOSE, PRINTED, *ACME)
        )
    ]
    return [command for block in shell for command in re.split(r"(?<!\\)\n", block)]


def within_sentences(page: str) -> list[str]:
    """Return the commands that the sentences of a page name."""
    spans = SPAN.findall((ROOT / page).read_text(encoding="utf-8"))
    return [" ".join(span.split()) for span in spans]


def block_of_guide(first: str) -> str:
    """Return the one block of README.md and docs/*.md that begins so."""
    (found,) = (block for page in GUIDE for block in blocks(page) if block.startswith(first))
    return found


def named(command: str) -> list[str]:
    """Return the names in the list that fit a command: by whole words, the longest first."""
    fitting = [name for name in NOT_RUN if f"{command} ".startswith(f"{name} ")]
    return sorted(fitting, key=len, reverse=True)


def left_out(command: str) -> bool:
    """Tell whether a command is not run. What the project itself offers is named in full."""
    ours = re.match(r"(make|esim-exporter|pip|python3) ", command)
    return command in NOT_RUN if ours else bool(named(command))


RUN = [command for page in GUIDE for command in commands(page) if not left_out(command)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a folder with the files that the commands name, and the files that README.md shows."""
    for name in ("alerts", "tests/payloads"):
        shutil.copytree(ROOT / name, tmp_path / name)
    parts = [block for block in blocks("README.md") if block.startswith(PROMETHEUS)]
    (tmp_path / "prometheus.yml").write_text("\n".join(parts))
    (tmp_path / "values.yml").write_text(block_of_guide(VALUES))
    return tmp_path


def test_the_commands_of_readme_and_docs_work_as_written(folder: Path) -> None:
    reader = Reader(folder)
    secure(folder)
    mine = [command for command in RUN if not MONITORING.match(command)]
    start = mine.index("esim-exporter serve")
    for command in mine[:start]:
        reader.run(command)
    with reader.serve(mine[start]) as running:
        for command in mine[start + 1 :]:
            if command.startswith("esim-exporter simulate "):
                reader.interrupt(
                    f"{command} --url={running.webhook}", lambda: running.own()["esims"] > 100
                )
            else:
                reader.run(command)

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    (answer,) = re.findall(r"^The answer is `(.+?)`", text, re.MULTILINE)
    assert answer in reader.printed
    (shown,) = (block for block in blocks("README.md") if block.startswith(PRINTED))
    assert shown in reader.printed
    (copy,) = re.findall(r'"path": ?"([^"]+)"', reader.printed)
    assert Path(copy).parent == folder
    assert Path(copy).stat().st_size > 0


def test_the_signed_test_leaves_the_fleet_as_it_was(folder: Path) -> None:
    typed = re.split(r"(?<!\\)\n", block_of_guide("BODY="))
    groups = "collect[]=fleet&collect[]=esims&collect[]=attention"
    reader = Reader(folder)
    reader.run("export ESIM_EXPORTER_WEBHOOK_SECRET=secret")
    with reader.serve("esim-exporter serve") as running:
        metrics = f"{running.internal}/metrics?{groups}"
        before = running.client.get(metrics).text
        for command in typed:
            reader.run(command)
        assert SUCCESS.decode() in reader.printed
        assert running.client.get(metrics).text == before

        reader.run("export ESIM_EXPORTER_WEBHOOK_SECRET=another")
        *prepared, sent = typed
        for command in prepared:
            reader.run(command)
        with pytest.raises(AssertionError, match="401"):
            reader.run(sent)


def secure(folder: Path) -> None:
    """Write the web configuration of the documentation, with a real password hash in it."""
    issue(folder, "server")
    issue(folder, "clients")
    hashed = bcrypt.hashpw(b"password", bcrypt.gensalt(4)).decode()
    text = block_of_guide(WEB)
    assert "$2y$10$..." in text
    (folder / "web.yml").write_text(text.replace("$2y$10$...", hashed))


def test_prometheus_and_alertmanager_take_what_readme_shows(folder: Path) -> None:
    reader = Reader(folder)
    reader.path[:0] = [str(programs.require(name).parent) for name in ("promtool", "amtool")]
    *mine, last = (command for command in RUN if MONITORING.match(command))
    for command in mine:
        reader.run(command)
    assert len(mine) == 3
    assert "5 rule files found" in reader.printed

    program, *flags = last.split()
    assert program == "alertmanager"
    address = monitoring_stack.free_address()
    flags += [f"--web.listen-address={address}", "--cluster.listen-address="]
    started = monitoring_stack.placed_alertmanager(folder)
    with monitoring_stack.serving_program(folder, started, address, flags) as alertmanager:
        loaded = alertmanager.get("/api/v2/status").json()["config"]["original"]
    assert "routing_key_file: /etc/alertmanager/pagerduty-key" in loaded


def test_prometheus_takes_each_part_of_its_configuration(folder: Path) -> None:
    promtool = programs.require("promtool")
    for part in (b for page in PAGES for b in blocks(page) if b.startswith(PROMETHEUS)):
        (folder / "prometheus.yml").write_text(part)
        done = subprocess.run(
            [promtool, "check", "config", folder / "prometheus.yml"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, part + done.stderr


def test_the_exporter_takes_the_settings_file_that_is_shown(folder: Path) -> None:
    reader = Reader(folder)
    (folder / "settings.yml").write_text(block_of_guide(SETTINGS))
    reader.run("export ESIM_EXPORTER_WEBHOOK_SECRET=secret")
    reader.run("esim-exporter serve --config.check --config.file=settings.yml")


@pytest.mark.parametrize("page", OTHERS)
def test_every_command_of_the_other_pages_is_run_or_named_with_a_reason(page: str) -> None:
    assert [c for c in commands(page) if c not in RUN and not left_out(c)] == []


@pytest.mark.parametrize("page", PAGES)
def test_every_command_within_a_sentence_is_run_or_named_with_a_reason(page: str) -> None:
    assert [c for c in within_sentences(page) if c not in RUN and not left_out(c)] == []


def test_no_command_is_in_a_block_of_another_kind() -> None:
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        diagrams = re.findall(r"^```mermaid\n.+?^```$", text, re.MULTILINE | re.DOTALL)
        assert text.count("```") == 2 * len(diagrams), page


def test_every_name_in_the_list_is_of_a_command() -> None:
    written = [c for page in PAGES for c in (*commands(page), *within_sentences(page))]
    assert set(NOT_RUN) - {named(command)[0] for command in written if named(command)} == set()


def test_every_test_that_the_list_names_is_there() -> None:
    named_tests = re.findall(r"tests/\S+\.py", " ".join(NOT_RUN.values()))
    assert [name for name in named_tests if not (ROOT / name).is_file()] == []


def test_readme_is_short() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 200
