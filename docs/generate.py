"""Write the generated parts of the documentation: ``make docs``.

These are the tables in docs/*.md, docs/openapi.json, and the sentences of docs/performance.md.

``--check`` writes nothing. The exit status says whether all parts are up to date.
``--figures FILE...`` first takes new results of ``python -m benchmarks`` into
docs/performance.json. A run in parts has several files.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import documentation, report
from exporter.endpoints.api.endpoint_table import ENDPOINTS, ROOT
from exporter.endpoints.api.openapi import document_text
from exporter.exposition.families import (
    PACKAGE_FAMILIES,
    VENDOR_FAMILIES,
    InfoLabels,
    attention_families,
    esim_families,
)
from exporter.selfmetrics import Description, descriptions
from exporter.settings.loading import OPTIONS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from exporter.exposition.families import Family

FOLDER = Path(__file__).resolve().parent
OPENAPI = FOLDER / "openapi.json"
PERFORMANCE = FOLDER / "performance.json"
"""Results of the whole benchmark."""


def pages() -> dict[str, dict[str, str]]:
    """Return the generated parts of each page, by the names of their markers."""
    results = report.read(PERFORMANCE)
    return {
        "configuration.md": {"settings": _settings_table()},
        "metrics.md": {
            "attention": _metrics_table(map(_described, attention_families(InfoLabels()))),
            "esims": _metrics_table(map(_described, esim_families(InfoLabels()))),
            "fleet": _metrics_table(map(_described, (*PACKAGE_FAMILIES, *VENDOR_FAMILIES))),
            "exporter": _metrics_table(descriptions()),
        },
        "api.md": {"api": _endpoints_table()},
        "performance.md": {
            "claims": documentation.claims(results),
            "performance": documentation.figures(results),
            "sizes": report.sizing_table(results.sizes),
            "turnover": documentation.turnover(results),
        },
        "replicas.md": {"ten-million": documentation.ten_million(results)},
    }


def filled(page: str, text: str, parts: dict[str, str]) -> str:
    """Return the text of a page with new generated parts."""
    for name, part in parts.items():
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, opening, rest = text.partition(start)
        _, closing, after = rest.partition(end)
        assert opening, f"{page} has no line {start}"
        assert closing, f"{page} has no line {end}"
        text = f"{before}{start}\n\n{part}\n{end}{after}"
    return text


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or compare the files. Return the exit status."""
    parser = argparse.ArgumentParser(description="Write the generated parts of docs/.")
    parser.add_argument("--check", action="store_true", help="write nothing, only compare")
    parser.add_argument("--figures", nargs="+", type=Path, metavar="FILE", help="new results")
    args = parser.parse_args(arguments)
    if args.figures:
        results = documentation.merged([report.read(path) for path in args.figures])
        report.write_json(results, PERFORMANCE)
    stale = 0
    for path, new in _written().items():
        if path.is_file() and path.read_bytes() == new:
            continue
        if args.check:
            sys.stderr.write(f"docs/{path.name} is out of date; run make docs\n")
            stale = 1
        else:
            path.write_bytes(new)
    return stale


def _written() -> dict[Path, bytes]:
    texts = {OPENAPI: document_text()}
    for page, parts in pages().items():
        path = FOLDER / page
        texts[path] = filled(page, path.read_text("utf-8"), parts).encode()
    return texts


def _described(family: Family) -> Description:
    return Description(family.name, family.type.value, family.labels, family.help)


def _endpoints_table() -> str:
    lines = ["| Endpoint | | Parameters |", "| --- | --- | --- |"]
    for endpoint in ENDPOINTS:
        names = ", ".join(f"`{parameter.name}`" for parameter in endpoint.parameters)
        mark = " (admin)" if endpoint.admin else ""
        request = f"`{endpoint.method} {ROOT}{endpoint.path}`"
        lines.append(f"| {request} | {endpoint.summary}{mark} | {names} |")
    return "\n".join(lines) + "\n"


def _metrics_table(families: Iterable[Description]) -> str:
    lines = ["| Metric | Type | Labels | |", "|---|---|---|---|"]
    lines += [
        f"| `{f.name}` | {f.type} | {', '.join(f.labels)} | {f.help} |"
        for f in sorted(families, key=lambda f: f.name)
    ]
    return "\n".join(lines) + "\n"


def _settings_table() -> str:
    lines = ["| Flag | Environment variable | Default | Description |", "| --- | --- | --- | --- |"]
    for option in OPTIONS:
        flag = f"`{option.flag}`" if option.as_flag else ""
        default = f"`{option.default}`" if option.default else ""
        text = option.description.replace("|", "\\|")
        lines.append(f"| {flag} | `{option.variable}` | {default} | {text} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
