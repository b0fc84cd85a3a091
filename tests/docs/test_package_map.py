"""The map of the packages in docs/architecture.md names every package and no other."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "exporter"
PAGE = ROOT / "docs" / "architecture.md"


def there() -> set[str]:
    """Return the packages, and the modules beside them."""
    modules = {path.stem for path in PACKAGE.glob("*.py") if not path.stem.startswith("__")}
    return modules | {path.parent.name for path in PACKAGE.glob("*/__init__.py")}


def mapped() -> list[str]:
    """Return the names in the first column of the map."""
    table = PAGE.read_text(encoding="utf-8").partition("| package | holds |")[2]
    rows = [line for line in table.partition("\n\n")[0].splitlines() if line.startswith("| `")]
    return re.findall(r"`(\w+)`", " ".join(row.split("|")[1] for row in rows))


def test_the_map_names_every_package_and_no_other() -> None:
    assert sorted(mapped()) == sorted(there())
