"""Write what comes from the code: ``make docs``. The tables in README.md, and openapi.json.

With ``--check`` nothing is written; the exit status says whether they are up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import report
from exporter.endpoints.api.endpoint_table import markdown_table
from exporter.endpoints.api.openapi import document_text
from exporter.exposition.families import PACKAGE_FAMILIES, VENDOR_FAMILIES, esim_families
from exporter.exposition.info_labels import InfoLabels
from exporter.observation import descriptions
from exporter.selfmetrics import Description, SelfMetrics
from exporter.settings.loading import settings_table

if TYPE_CHECKING:
    from collections.abc import Iterable

    from exporter.exposition.families import Family

FOLDER = Path(__file__).resolve().parent
README = FOLDER.parent / "README.md"
OPENAPI = FOLDER / "openapi.json"
PERFORMANCE = FOLDER / "performance.json"
"""A run of the whole benchmark: benchmarks/results/latest.json of ``make bench``."""


def tables() -> dict[str, str]:
    """Return each table under the name that its markers in README.md carry."""
    own = [*SelfMetrics({}).descriptions, *descriptions()]
    return {
        "settings": settings_table(),
        "api": markdown_table(),
        "esims": _metrics_table(map(_described, esim_families(InfoLabels()))),
        "fleet": _metrics_table(map(_described, (*PACKAGE_FAMILIES, *VENDOR_FAMILIES))),
        "exporter": _metrics_table(own),
        "performance": report.readme(report.read(PERFORMANCE)),
    }


def filled(text: str) -> str:
    """Return a README's text with its tables as the code has them now."""
    for name, table in tables().items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, opening, rest = text.partition(start)
        _, closing, after = rest.partition(end)
        assert opening, f"README.md has no place for the table {name}"
        assert closing, f"README.md does not say where the table {name} ends"
        text = f"{before}{start}\n\n{table}\n{end}{after}"
    return text


def main() -> int:
    """Write or check; return the exit status."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path, new in (
        (README, filled(README.read_text("utf-8")).encode()),
        (OPENAPI, document_text()),
    ):
        if path.is_file() and path.read_bytes() == new:
            continue
        if check:
            sys.stderr.write(f"{path.name} is not what the code says; run make docs\n")
            stale = 1
        else:
            path.write_bytes(new)
    return stale


def _described(family: Family) -> Description:
    return Description(family.name, family.type.value, family.labels, family.help)


def _metrics_table(families: Iterable[Description]) -> str:
    lines = ["| Metric | Type | Labels | |", "|---|---|---|---|"]
    lines += [
        f"| `{f.name}` | {f.type} | {', '.join(f.labels)} | {f.help} |"
        for f in sorted(families, key=lambda f: f.name)
    ]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
