"""Write the output of ``esim-exporter mixin`` for the default values into this repository.

``make mixin`` runs it. It also writes the table of alerts in alerts/README.md. ``--check`` writes
nothing; the exit status says whether all files are up to date.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from exporter.mixin.command import files
from exporter.mixin.documents import documents
from exporter.mixin.rules.rule_files import groups
from exporter.mixin.rules.rule_types import Severity
from exporter.mixin.values import MixinValues, RoutingValues

if TYPE_CHECKING:
    from exporter.mixin.rules.rule_types import Alert

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "alerts" / "README.md"
DEFAULTS = MixinValues()

_SENT = {
    Severity.CRITICAL: "page",
    Severity.WARNING: "ticket",
    Severity.INFO: "nowhere",
    Severity.NONE: "machines",
}


def copies() -> dict[Path, str]:
    """Return the text of each file by its path."""
    written = files(DEFAULTS)
    large = documents(MixinValues(routing=RoutingValues(large_fleet=True)))["alertmanager.yml"]
    texts = {_folder(name) / Path(name).name: text for name, text in written.items()}
    texts[ROOT / "alerts" / "alertmanager-large-fleet.yml"] = large
    texts[README] = filled(README.read_text(encoding="utf-8"))
    return texts


def _folder(name: str) -> Path:
    return ROOT / ("grafana/dashboards" if name.startswith("dashboards/") else "alerts")


def filled(readme: str) -> str:
    """Return the text of alerts/README.md with the current table of alerts."""
    start, end = "<!-- alerts -->", "<!-- /alerts -->"
    before, opening, rest = readme.partition(start)
    _, closing, after = rest.partition(end)
    assert opening, "alerts/README.md has no line <!-- alerts -->"
    assert closing, "alerts/README.md has no line <!-- /alerts -->"
    return f"{before}{start}\n\n{DEFAULTS.text(_table())}\n{end}{after}"


def _table() -> str:
    lines = ["| Alert | Sent as | About | When | For |", "|---|---|---|---|---|"]
    lines += [_row(alert) for group in groups() for alert in group.alerts]
    return "\n".join(lines) + "\n"


def _row(alert: Alert) -> str:
    link = f"[{alert.name}](runbooks/{alert.name}.md)"
    distinct = " ".join(f"{name}={value}" for name, value in alert.labels.items())
    about = f"{alert.scope}, {distinct}" if distinct else str(alert.scope)
    sent = _SENT[Severity(DEFAULTS.text(alert.severity))]
    cells = (link, sent, about, alert.summary, alert.for_ or "at once")
    return f"| {' | '.join(cells)} |"


def main() -> int:
    """Write or compare the files. Return the exit status."""
    check = "--check" in sys.argv[1:]
    stale = 0
    for path, text in copies().items():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if check:
            sys.stderr.write(f"{path.relative_to(ROOT)} is out of date; run make mixin\n")
            stale = 1
        else:
            path.write_text(text, encoding="utf-8")
    return stale


if __name__ == "__main__":
    sys.exit(main())
