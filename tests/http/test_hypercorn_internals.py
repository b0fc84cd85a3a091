"""Undocumented names of Hypercorn and h11: all are listed, all exist, one module uses them."""

from __future__ import annotations

import ast
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hypercorn.events import Updated

import exporter
from exporter.http import hypercorn_internals
from exporter.http.failures import Failures
from exporter.http.hypercorn_internals import ProtocolContext, http1_protocol
from exporter.http.whole_request import ConnectionFacts

if TYPE_CHECKING:
    from collections.abc import Sequence

LISTED = re.findall(r"(?m)^- ``((?:hypercorn|h11)\.[\w.]+)``: ", hypercorn_internals.__doc__ or "")


class Output:
    """A connection that keeps what is written, and what it was asked to do."""

    def __init__(self) -> None:
        self.written = b""
        self.asked: list[str] = []

    async def write(self, data: bytes) -> None:
        self.written += data

    async def request_begins(self) -> None:
        self.asked.append("request begins")

    def request_is_complete(self) -> None:
        self.asked.append("request is complete")

    def request_ends(self, *, next_begun: bool) -> None:
        self.asked.append("next request begun" if next_begun else "request ends")

    def close(self) -> None:
        self.asked.append("close")


FACTS = ConnectionFacts(("127.0.0.1", 1), ("127.0.0.1", 2), tls=False)


async def test_every_listed_name_exists() -> None:
    context = ProtocolContext(nothing, list, Failures(lambda: None))
    async with http1_protocol(context, FACTS, Output()) as connection:
        instances: Sequence[object]
        instances = [connection, connection.connection, context.worker, Updated(idle=True)]
        gone = [name for name in LISTED if not exists(name, instances)]
    assert len(LISTED) > 15
    assert gone == [], f"gone from Hypercorn or h11: {', '.join(gone)}"


def test_a_name_that_is_gone_is_noticed() -> None:
    gone = ("h11.Connection.gone", "hypercorn.gone.Thing", "hypercorn.protocol.h11.Gone")
    assert not any(exists(name, []) for name in gone)


def exists(name: str, instances: Sequence[object]) -> bool:
    """Look up a name in its module; attributes that ``__init__`` sets need an instance."""
    parts = name.split(".")
    for length in range(len(parts) - 1, 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        return has(found, parts[length:], instances)
    return False


def has(owner: Any, attributes: list[str], instances: Sequence[object]) -> bool:
    if not attributes:
        return True
    first, *rest = attributes
    if hasattr(owner, first):
        return has(getattr(owner, first), rest, instances)
    return any(isinstance(each, owner) and hasattr(each, first) for each in instances)


def test_every_import_is_listed() -> None:
    documented = {"hypercorn.config.Config"}
    imported = {name for name in imports(Path(hypercorn_internals.__file__)) if "." in name}
    listed = {
        name for name in imported if any(f"{each}.".startswith(f"{name}.") for each in LISTED)
    }
    assert imported - listed <= documented
    assert len(imported) > 5


def test_no_other_module_imports_hypercorn_or_h11() -> None:
    folder = Path(exporter.__file__).parent
    users = {str(path.relative_to(folder)) for path in folder.rglob("*.py") if imports(path)}
    assert users == {"http/hypercorn_internals.py"}


def imports(path: Path) -> list[str]:
    """Return what a module imports from Hypercorn and h11."""
    names: list[str] = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return [name for name in names if name.partition(".")[0] in {"hypercorn", "h11"}]


async def test_an_upgrade_is_ignored() -> None:
    """HTTP/2 and websockets are not offered: the request is answered as if it had not asked."""
    for protocol in ("h2c", "websocket"):
        output = Output()
        context = ProtocolContext(echo_path, list, Failures(lambda: None))
        async with http1_protocol(context, FACTS, output) as connection:
            await connection.receive(
                b"GET /path HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\n"
                b"Upgrade: %b\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: x\r\n\r\n"
                % protocol.encode()
            )
        assert output.written == b"HTTP/1.1 200 \r\ncontent-length: 5\r\n\r\n/path"
        assert output.asked == ["request begins", "request is complete", "request ends"]


async def nothing(*_: object) -> None:
    """Answer no request."""


async def echo_path(scope: Any, _: Any, send: Any) -> None:
    """Answer with the path of the request."""
    headers = [(b"content-length", b"5")]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": scope["raw_path"]})
