"""What runbooks and documentation tell people to open or to fetch is there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import event, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from running import Serving

ROOT = Path(__file__).parents[2]
NAMES = {"<vendor>": "roamify", "<esim_id>": "an-esim", "<package_id>": "a-package"}

_ADDRESS = re.compile(r"http://localhost:10877(/[^\s'`\"]*)")


def addresses() -> list[str]:
    """Return the paths that a GET of an address in a document asks for."""
    documents = [*(ROOT / "alerts").rglob("*.md"), *(ROOT / "docs").glob("*.md")]
    lines = [line for path in documents for line in path.read_text("utf-8").splitlines()]
    return sorted(
        {found[1] for line in lines if " -X " not in line for found in _ADDRESS.finditer(line)}
    )


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("documented")) as process:
        empty = {"isUnlimited": False, "allowed_data": 1024, "remaining_data": 0}
        process.post(event(esim_id="an-esim", package_id="a-package", usage_data=empty))
        yield process


def test_there_are_addresses() -> None:
    assert len(addresses()) > 10


@pytest.mark.parametrize("address", addresses())
def test_an_address_in_a_document_answers(address: str, server: Serving) -> None:
    for placeholder, name in NAMES.items():
        address = address.replace(placeholder, name)
    assert "<" not in address
    answer = server.get(address)
    assert answer.status_code == 200, answer.text
    if "out_of_data=true" in address:
        assert "an-esim" in answer.text
