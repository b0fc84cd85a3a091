"""``python -m grafana.generator`` writes the dashboards. ``--check`` only compares them."""

from __future__ import annotations

import sys

from grafana.generator.documents import FOLDER, documents


def main() -> int:
    """Write or compare the files. Return the exit status."""
    texts = {FOLDER / name: text for name, text in documents().items()}
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
        sys.stderr.write(f"{path.name} is out of date; run make dashboards\n")
    return int(bool(stale))


if __name__ == "__main__":
    sys.exit(main())
