"""``python -m alerts.generator`` writes all generated files. ``--check`` only compares them."""

from __future__ import annotations

import sys

from alerts.generator.bundle import FILES
from alerts.generator.config import Config
from alerts.generator.documents import FOLDER, README, WATCHDOG_FILE, documents, filled
from exporter.demo import monitoring

_OPERATOR = "prometheusrule.yaml"
_KUBERNETES = FOLDER.parent / "deploy" / "kubernetes"
_DEMO_FILES = ("alertmanager.yml", *(name for name in FILES if name != WATCHDOG_FILE))


def main() -> int:
    """Write or compare the files. Return the exit status."""
    config = Config()
    texts = {FOLDER / name: text for name, text in documents(config).items()}
    # A kustomization reads no files outside of its folder.
    texts[_KUBERNETES / _OPERATOR] = texts[FOLDER / _OPERATOR]
    quick = documents(Config(faster=monitoring.FASTER, receivers_url=monitoring.RECEIVERS))
    texts |= {monitoring.RULES / name: quick[name] for name in _DEMO_FILES}
    texts[README] = filled(README.read_text(encoding="utf-8"), config)
    if "--check" not in sys.argv[1:]:
        for path, text in texts.items():
            path.write_text(text, encoding="utf-8")
        return 0
    stale = [
        path
        for path, text in texts.items()
        if not path.exists() or path.read_text(encoding="utf-8") != text
    ]
    for path in stale:
        sys.stderr.write(f"{path.name} is out of date; run make alerts\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
