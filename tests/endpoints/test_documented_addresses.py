"""What runbooks and documentation tell people to open or to call is there."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import parse_qsl, urlsplit

import pytest
from prerequisites import lack
from running import WAIT, event, serving
from werkzeug.datastructures import MultiDict

from exporter.endpoints.status.esim_list_form import EsimListForm

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Serving

ROOT = Path(__file__).parents[2]
NAMES = {"<vendor>": "roamify", "<esim_id>": "an-esim", "<package_id>": "a-package"}
REJECTED = re.compile("<rejected_id>|[$]id")
"""A rejected delivery in a command or in a loop."""

_LISTENER = "localhost:10877"
_ADDRESS = re.compile(r"(?:-X (\w+) .*)?http://localhost:10877(/[^\s'`\"]*)")
_numbers = itertools.count()


class Call(NamedTuple):
    """A call of the internal listener."""

    method: str
    path: str


def calls() -> list[Call]:
    """Return the calls that documents name."""
    documents = [*(ROOT / "alerts").rglob("*.md"), *(ROOT / "docs").glob("*.md")]
    lines = [line for path in documents for line in path.read_text("utf-8").splitlines()]
    found = [match for line in lines for match in _ADDRESS.finditer(line)]
    return sorted({Call(match[1] or "GET", match[2].rstrip(");")) for match in found})


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    enabled = ("--web.enable-admin-api", "--web.enable-lifecycle")
    with serving(tmp_path_factory.mktemp("documented"), *enabled) as process:
        empty = {"isUnlimited": False, "allowed_data": 1024, "remaining_data": 0}
        process.post(event(esim_id="an-esim", package_id="a-package", usage_data=empty))
        process.post(event(timestamp=int(time.time()) + 2 * 86400))
        yield process


def rejected(server: Serving) -> str:
    """Return the id of a delivery that the exporter rejects, and keeps."""
    assert server.post(f"not JSON {next(_numbers)}".encode()).status_code == 400
    kept: str = server.get("/api/v1/rejected?limit=1").json()["data"]["rejected"][0]["id"]
    return kept


def filled(text: str) -> str:
    """Return a text with the names of the eSIM that the exporter has."""
    for placeholder, name in NAMES.items():
        text = text.replace(placeholder, name)
    return text


def test_there_are_calls() -> None:
    assert len(calls()) > 20
    assert {call.method for call in calls()} == {"DELETE", "GET", "POST"}


@pytest.mark.parametrize("call", calls(), ids=" ".join)
def test_a_call_in_a_document_is_answered(call: Call, server: Serving) -> None:
    path = filled(call.path)
    if REJECTED.search(path):
        path = REJECTED.sub(rejected(server), path)
    assert "<" not in path
    answer = server.client.request(call.method, server.internal + path)
    # What was not JSON still is not, so the replay of it is refused, and it stays.
    replay = path.endswith("/replay")
    assert answer.status_code == (422 if replay else 200), answer.text
    if "out_of_data=true" in path:
        assert "an-esim" in answer.text


def test_an_address_of_the_list_of_esims_names_fields_of_its_form() -> None:
    """The page refuses other parameters."""
    asked = [urlsplit(call.path) for call in calls()]
    names = {name for url in asked if url.path == "/esims" for name, _ in parse_qsl(url.query)}
    assert names
    assert names <= EsimListForm.read(MultiDict()).asked.keys()


def commands() -> list[tuple[str, str]]:
    """Return the commands of runbooks that call the exporter, each with the name of its alert."""
    found = []
    for path in sorted((ROOT / "alerts" / "runbooks").glob("*.md")):
        blocks = re.findall(r"(?<=\n\n)(?: {4,}\S.*\n)+", path.read_text("utf-8"))
        found += [(path.stem, textwrap.dedent(each)) for each in blocks if _LISTENER in each]
    return found


@pytest.mark.parametrize("alert_and_command", commands(), ids=lambda each: each[0])
def test_a_command_of_a_runbook_works_as_it_is_pasted(
    alert_and_command: tuple[str, str], server: Serving, tmp_path: Path
) -> None:
    command = filled(alert_and_command[1])
    if "<rejected_id>" in command:
        command = command.replace("<rejected_id>", rejected(server))
    for program in ("curl", "jq"):
        if not shutil.which(program):
            lack(f"{program} is not installed")
    reached = server.internal.removeprefix("http://")
    (tmp_path / ".curlrc").write_text(f'noproxy = "*"\nconnect-to = "{_LISTENER}:{reached}"\n')
    done = subprocess.run(
        ["sh", "-ec", command],
        env={**os.environ, "CURL_HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=WAIT,
        check=False,
    )
    assert (done.returncode, "null" in done.stdout.splitlines()) == (0, False), done.stderr
    # Only deliveries that failed are asked for by their code, and there are none here.
    assert done.stdout or ".code >= 500" in command
