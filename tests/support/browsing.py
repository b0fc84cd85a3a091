"""A real headless Chromium, controlled through the DevTools protocol.

The protocol goes over a pipe: JSON messages, each ended by a NUL byte.
"""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import signal
import tempfile
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import programs
from running import WAIT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_FLAGS = (
    "--headless",
    "--remote-debugging-pipe",
    "--no-sandbox",
    "--disable-dev-shm-usage",
    "--disable-gpu",
    "--no-first-run",
    "--force-color-profile=srgb",
    "--hide-scrollbars",
    "--lang=en-GB",
)


class Tab:
    """One page of the browser."""

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **params: Any) -> Any:
        return self._browser.call(method, params, self._session)

    def look(self, width: int = 1280, height: int = 900, *, dark: bool = False) -> None:
        """Set the size of the window in pixels, and whether its user prefers dark colours."""
        phone = width < 600  # no desktop window is that narrow
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, url: str) -> None:
        """Go to a page and wait until it is loaded."""
        self.call("Page.navigate", url=url)
        self.until("document.readyState == 'complete' && location.href != 'about:blank'")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a script, which may be a promise; raises where it throws."""
        answer = self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def until(self, expression: str) -> None:
        """Wait until a script's value is true."""
        deadline = time.monotonic() + WAIT
        while not self.evaluate(expression):
            assert time.monotonic() < deadline, f"never true: {expression}"

    def press(self, key: str, text: str = "") -> None:
        """Press a key that types ``text``."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, text=text)

    def picture(self, path: Path, most: int = 10_000) -> None:
        """Write a picture of the whole page, or of its first ``most`` pixels."""
        size = self.call("Page.getLayoutMetrics")["cssContentSize"]
        clip = {**size, "height": min(size["height"], most), "scale": 1}
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True, clip=clip)
        path.write_bytes(base64.b64decode(shot["data"]))

    @property
    def complaints(self) -> list[str]:
        """Return errors, warnings and violations of the content security policy in the page."""
        return self._browser.complaints


class Browser:
    """The process."""

    def __init__(self, program: Path, folder: str) -> None:
        self.complaints: list[str] = []
        commands, self._out = os.pipe()
        self._in, answers = os.pipe()
        self._rest = b""
        self._count = 0
        quiet = os.open(os.devnull, os.O_RDWR)
        self.process = os.posix_spawn(
            program,
            [str(program), *_FLAGS, f"--user-data-dir={folder}"],
            {**programs.environment(program), "TZ": "UTC", "HOME": folder},
            file_actions=[
                *((os.POSIX_SPAWN_DUP2, quiet, stream) for stream in (0, 1, 2)),
                # The browser reads from 3 and writes to 4. One of our own pipes may have that
                # number, so both are first moved out of the way.
                (os.POSIX_SPAWN_DUP2, commands, 60),
                (os.POSIX_SPAWN_DUP2, answers, 61),
                (os.POSIX_SPAWN_DUP2, 60, 3),
                (os.POSIX_SPAWN_DUP2, 61, 4),
            ],
            setpgroup=0,
        )
        for descriptor in (commands, answers, quiet):
            os.close(descriptor)

    def tab(self) -> Tab:
        target = self.call("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.call("Target.attachToTarget", {"targetId": target, "flatten": True})
        return Tab(self, attached["sessionId"])

    def call(self, method: str, params: dict[str, Any], session: str = "") -> Any:
        self._count += 1
        command = {"id": self._count, "method": method, "params": params}
        os.write(
            self._out, json.dumps(command | ({"sessionId": session} if session else {})).encode()
        )
        os.write(self._out, b"\0")
        while True:
            message = json.loads(self._message())
            if message.get("id") == self._count:
                assert "error" not in message, message["error"]
                return message["result"]
            self._note(message)

    def end(self) -> None:
        os.killpg(self.process, signal.SIGKILL)
        os.waitpid(self.process, 0)
        os.close(self._in)
        os.close(self._out)

    def _message(self) -> bytes:
        while b"\0" not in self._rest:
            ready, _, _ = select.select([self._in], [], [], WAIT)
            assert ready, "Chromium does not answer"
            chunk = os.read(self._in, 1 << 20)
            assert chunk, "Chromium ended"
            self._rest += chunk
        message, _, self._rest = self._rest.partition(b"\0")
        return message

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get("params", {})
        if message["method"] == "Log.entryAdded":
            self.complaints.append(params["entry"]["text"])
        elif message["method"] == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(params["exceptionDetails"]))


@contextmanager
def chromium() -> Iterator[Browser]:
    """Run a Chromium; without one, skip the test or fail it in CI."""
    program = programs.require("chromium")
    folder = tempfile.mkdtemp(prefix="chromium-")
    browser = Browser(program, folder)
    try:
        yield browser
    finally:
        browser.end()
        shutil.rmtree(folder, ignore_errors=True)  # its processes may still be writing
