"""Reading the documentation as people do: its code blocks are copied, its commands are typed."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from running import WAIT, Serving, serving, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]

ASSIGNMENT = re.compile(r"(export )?\w+=")


def blocks(page: str) -> list[str]:
    """Return the indented code blocks of a page, those within lists too."""
    text = (ROOT / page).read_text(encoding="utf-8")
    found = re.findall(r"(?<=\n\n)(?: {4,}\S.*\n(?:\n{1,2}(?= {4}))?)+", text)
    return [textwrap.dedent(block).rstrip("\n") for block in found]


class Reader:
    """Types commands, and keeps what was exported and assigned."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = [str(Path(sys.executable).parent), os.environ["PATH"]]
        self.printed = ""
        self._assigned: list[str] = []

    @property
    def environ(self) -> dict[str, str]:
        ours = {k: v for k, v in os.environ.items() if not k.startswith("ESIM_EXPORTER_")}
        return ours | {"PATH": ":".join(self.path), "CURL_HOME": str(self.folder)}

    def run(self, command: str) -> None:
        """Run a command, which must succeed."""
        done = subprocess.run(
            ["sh", "-ec", self._script(command)],
            cwd=self.folder,
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=WAIT,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout}"
        self.printed += done.stdout
        if ASSIGNMENT.match(command):
            self._assigned.append(command)

    def interrupt(self, command: str, enough: Callable[[], bool]) -> None:
        """Run a command that goes on for ever, and press Ctrl-C."""
        typed = ["sh", "-ec", self._script(f"exec {command}")]
        process = subprocess.Popen(typed, cwd=self.folder, env=self.environ)
        try:
            until(enough)
            process.send_signal(signal.SIGINT)
            assert process.wait(WAIT) == 0
        finally:
            process.kill()
            process.wait()

    @contextmanager
    def serve(self, command: str) -> Iterator[Serving]:
        """Leave the exporter running, with the admin API, which some of the commands need."""
        script = self._script(f'exec {command} "$@"')
        typed = ("sh", "-ec", script, "sh")
        admin = "--web.enable-admin-api"
        with serving(self.folder, admin, environ=self.environ, command=typed) as running:
            reached = {10877: running.internal, 10878: running.public}
            lines = [
                f'connect-to = "localhost:{port}:{url.removeprefix("http://")}"\n'
                for port, url in reached.items()
            ]
            (self.folder / ".curlrc").write_text("".join(['noproxy = "*"\n', "fail\n", *lines]))
            yield running

    def _script(self, command: str) -> str:
        return "\n".join([*self._assigned, command])
