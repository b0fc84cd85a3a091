"""Hooks of the build: what the wheel and the sdist hold that no file of the checkout holds."""

from __future__ import annotations

import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class RevisionHook(BuildHookInterface):
    """Adds the file that :mod:`exporter.app.revision` reads, if the commit is known.

    An editable installation stays in its checkout, so it reads the commit there.
    """

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Add the file. An sdist has it already, and so has the build of an image."""
        sys.path.insert(0, self.root)
        from exporter.app.revision import STAMP, UNKNOWN, revision  # noqa: PLC0415  # needs the path

        package = Path(self.root) / "exporter"
        found = revision(package)
        self._folder = Path(tempfile.mkdtemp())
        if version == "editable" or found == UNKNOWN or (package / STAMP).exists():
            return
        stamp = self._folder / STAMP
        stamp.write_text(f"{found}\n", "utf-8")
        build_data["force_include"][str(stamp)] = f"exporter/{STAMP}"

    def finalize(self, *_: object) -> None:
        """Remove the temporary file."""
        shutil.rmtree(self._folder)


class ReadmeHook(MetadataHookInterface):
    """Gives the README links that also work on PyPI: to the files of the release."""

    def update(self, metadata: dict[str, Any]) -> None:
        """Set the description of the package."""
        sys.path.insert(0, self.root)
        from exporter import PROJECT_URL, __version__  # noqa: PLC0415  # needs the path

        def absolute(link: re.Match[str]) -> str:
            kind = "raw" if link[0].startswith("!") else "blob"
            return f"{link[1]}({PROJECT_URL}/{kind}/v{__version__}/{link[2]})"

        text = (Path(self.root) / "README.md").read_text("utf-8")
        text = re.sub(r"(!?\[[^\]]*\])\((?!https?://|#)([^)]+)\)", absolute, text)
        metadata["readme"] = {"content-type": "text/markdown", "text": text}
