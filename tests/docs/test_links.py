"""Links between the pages of the documentation lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in ("*.md", "*/README.md", "docs/*.md", "alerts/runbooks/*.md")
    for path in ROOT.glob(pattern)
    if not path.relative_to(ROOT).parts[0].startswith(".")
)
LINK = re.compile(r"""\]\(([^)\s]+)\)|(?:src|href)="([^"]+)\"""")


def anchors(path: Path) -> set[str]:
    """Return what the headings of a page are reached by on the usual sites."""
    headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading).lower().replace(" ", "-") for heading in headings}


def leads_somewhere(link: str, page: Path) -> bool:
    name, _, anchor = link.partition("#")
    there = page.parent / name if name else page
    return there.exists() and (not anchor or anchor in anchors(there))


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_to_a_file_and_a_heading_that_are_there(page: Path) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    links = [link for both in LINK.findall(text) for link in both if link]
    inside = [link for link in links if not link.startswith(("https://", "http://", "mailto:"))]
    assert [link for link in inside if not leads_somewhere(link, ROOT / page)] == []


def test_a_link_to_what_is_not_there_is_noticed() -> None:
    page = ROOT / "README.md"
    assert leads_somewhere("SECURITY.md#threat-model", page)
    assert leads_somewhere("#run-it", page)
    assert leads_somewhere("docs/numbers.md#expiry", page)
    assert not leads_somewhere("SECURITY.md#models-of-threat", page)
    assert not leads_somewhere("SECURE.md", page)
    assert not leads_somewhere("#walk-it", page)
