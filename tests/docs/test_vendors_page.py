"""docs/vendors.md says the truth: its commands work, and its tables are what the program does."""

from __future__ import annotations

import itertools
import json
import re
import shutil
from typing import TYPE_CHECKING

import pytest
from guide_reading import ROOT, Reader, blocks
from running import SUCCESS, serving

from exporter.vendors.esim_access.statuses import status_of
from exporter.vendors.registry import FIRST, NAMES, VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.vendors.vendor import Vendor

PAGE = "docs/vendors.md"
TEXT = (ROOT / PAGE).read_text(encoding="utf-8")
PAYLOADS = ROOT / "tests" / "payloads"
ANY = "any"


def table(first: str) -> list[list[str]]:
    """Return the rows of the table whose first header cell is this, without its header."""
    rows = TEXT[TEXT.index(f"\n| {first} |") :].strip().partition("\n\n")[0].splitlines()
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def words(cell: str) -> list[str]:
    """Return the names that a cell lists."""
    return re.findall(r"\w[\w-]*", cell)


def typed(first: str) -> list[str]:
    """Return the commands of the block that begins so."""
    (block,) = (block for block in blocks(PAGE) if block.startswith(first))
    return re.split(r"(?<!\\)\n", block)


@pytest.fixture
def reader(tmp_path: Path) -> Reader:
    shutil.copytree(PAYLOADS, tmp_path / "tests" / "payloads")
    return Reader(tmp_path)


def test_esim_access_is_connected_as_the_page_says(reader: Reader) -> None:
    make_token, serve = typed("openssl rand -hex 32 > esim-access-tokens")
    reader.run(make_token)
    (send,) = typed("curl -i")
    with reader.serve(serve) as running:
        reader.run(send)
        assert SUCCESS.decode() in reader.printed
        with pytest.raises(AssertionError, match="401"):
            reader.run(send.replace("/$(cat", "/x$(cat"))
        (counted,) = re.findall(r"`esim_exporter_(webhook_events_total)\{(.*?)\}` counts", TEXT)
        events = {k: v for k, v in running.own().items() if k.startswith(counted[0])}
        (count,) = (v for k, v in events.items() if all(each in k for each in labels(counted[1])))
        assert count == 1


def labels(written: str) -> list[str]:
    return [*written.split(","), 'result="ignored"']


def test_esim_go_is_connected_as_the_page_says(reader: Reader) -> None:
    *make_secrets, serve = typed("echo the-api-key")
    for command in make_secrets:
        reader.run(command)
    sign, send = typed("SIGNATURE=")
    with reader.serve(serve) as running:
        reader.run(sign)
        reader.run(send)
        assert SUCCESS.decode() in reader.printed
        remaining = r'esim_data_remaining_bytes\{vendor="esim-go",esim_id="[0-9a-f]{32}",.*\} (\d+)'
        assert re.findall(remaining, running.state()) == ["500000000"]


def deliveries(vendor: Vendor) -> Iterator[bytes]:
    """Yield samples of all kinds: those of the documentation, and an allowance of SMS."""
    folder = PAYLOADS if vendor is FIRST else PAYLOADS / vendor.name
    for file in sorted(folder.glob("*.json")):
        body = file.read_bytes()
        yield body
        if b'"minutes"' in body and vendor.name == "esim-go":
            document = json.loads(body)
            document["bundle"]["unit"] = "SMSmessages"
            yield json.dumps(document).encode()


def test_the_metrics_of_each_vendor_are_those_of_the_table(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("secret\n")
    flags = [f"--{name}.secret-file={tmp_path / 'secret'}" for name in NAMES]
    flags.append(f"--metrics.iccid-hash-key-file={tmp_path / 'secret'}")
    with serving(tmp_path, *flags, environ={}) as running:
        for vendor in VENDORS:
            for body in deliveries(vendor):
                proof = vendor.authentication.prove(body, b"secret")
                path = "/".join(filter(None, (vendor.webhook_path, proof.token)))
                running.client.post(running.public + path, content=body, headers=proof.headers)
        text = running.get("/metrics").text
    there = set(re.findall(r'^(\w+)\{(?:.*,)?vendor="([\w-]+)"', text, re.MULTILINE))

    rows = table("metric")
    assert len(rows) > 10
    for metrics, *cells in rows:
        for metric, (name, cell) in itertools.product(
            words(metrics), zip(NAMES, cells, strict=True)
        ):
            assert ((metric, name) in there) is (cell != "no"), (metric, name)
    unlimited = re.findall(r'\nesim_data_unlimited\{vendor="esim-access".*\} (.*)', text)
    assert set(unlimited) == {"0"}
    statuses = re.findall(r'\nesim_status\{vendor="esim-go",.*status="(\w+)"\}', text)
    assert set(statuses) == {"DELETED"}


def test_the_event_types_are_those_of_the_table() -> None:
    listed = {name.strip("`"): tuple(words(types)) for name, types in table("vendor")}
    assert listed == {vendor.name: vendor.event_types for vendor in VENDORS}


def test_the_intervals_are_those_of_the_table() -> None:
    ((_, *cells),) = (row for row in table("fact") if row[0] == "reports usage")
    at_intervals = ["every 4 hours" in cell for cell in cells]
    assert at_intervals == [bool(vendor.report_interval) for vendor in VENDORS]
    ((_, *cells),) = (row for row in table("fact") if row[0] == "label `vendor`")
    assert tuple(cell.strip("`") for cell in cells) == NAMES


def test_statuses_of_esim_access_are_those_of_the_table() -> None:
    rows = table("`esimStatus`")
    plans, profiles = (
        {word for row in rows for word in words(row[at])} - {ANY} | {"", "SOMETHING"}
        for at in (0, 1)
    )
    assert len(plans) > 9
    for plan, profile in itertools.product(plans, profiles):
        fitting = (
            row[2]
            for row in rows
            if row[0] == ANY or plan in words(row[0])
            if row[1] == ANY or profile in words(row[1])
        )
        assert status_of(plan, profile).value == next(fitting), (plan, profile)
