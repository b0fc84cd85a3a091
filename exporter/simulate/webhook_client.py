"""A small HTTP/1.1 client: posts bodies over one keep-alive connection."""

from __future__ import annotations

import asyncio
import ssl
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class WebhookUrl:
    """The URL of a webhook, taken apart."""

    host: str
    port: int
    tls: bool
    authority: str
    """The Host header."""
    path: str

    @classmethod
    def parse(cls, url: str) -> WebhookUrl:
        """Parse an ``http`` or ``https`` URL. Raises ``ValueError`` for any other text."""
        parts = urlsplit(url)
        if parts.scheme not in PORTS or not parts.hostname:
            raise ValueError(f"not an http or https URL: {url!r}")
        return cls(
            host=parts.hostname,
            port=PORTS[parts.scheme] if parts.port is None else parts.port,
            tls=parts.scheme == "https",
            authority=parts.netloc.rpartition("@")[2],
            path=(parts.path or "/") + (f"?{parts.query}" if parts.query else ""),
        )


class WebhookClient:
    """Posts bodies to ``url``. It opens its one connection when it needs it.

    ``timeout`` is the time for connecting and the answer, in seconds.
    """

    def __init__(self, url: WebhookUrl, *, timeout: float) -> None:
        self._url = url
        self._timeout = timeout
        self._tls = ssl.create_default_context() if url.tls else None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def post(self, body: bytes, headers: Mapping[str, str]) -> int:
        """Send ``body`` and return the status code of the answer.

        Raises ``ConnectionError`` if no complete answer arrives in time; its message is the kind
        of the failure. The body may have arrived all the same. After a cancelled call the caller
        must call :meth:`close`; otherwise the next call would read the answer to this one.
        """
        try:
            async with asyncio.timeout(self._timeout):
                return await self._exchange(body, headers)
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            self.close()
            raise ConnectionError(type(error).__name__) from error

    async def _exchange(self, body: bytes, headers: Mapping[str, str]) -> int:
        reader, writer = await self._open()
        fields = {
            "Host": self._url.authority,
            **headers,
            "Content-Length": str(len(body)),
        }
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        writer.write(f"POST {self._url.path} HTTP/1.1\r\n{head}\r\n".encode("latin-1") + body)
        await writer.drain()
        return await self._read_answer(reader)

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._streams is not None and self._streams[0].at_eof():
            self.close()
        if self._streams is None:
            self._streams = await asyncio.open_connection(
                self._url.host, self._url.port, ssl=self._tls
            )
        return self._streams

    async def _read_answer(self, reader: asyncio.StreamReader) -> int:
        """Read one answer. An answer without a length ends the connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        start, *lines = head.split("\r\n")
        code = int(start.partition(" ")[2][:3])
        pairs = (line.partition(":") for line in lines)
        headers = {name.lower(): value.strip().lower() for name, _, value in pairs}
        if "content-length" in headers:
            await reader.readexactly(int(headers["content-length"]))
        if "content-length" not in headers or headers.get("connection") == "close":
            self.close()
        return code

    def close(self) -> None:
        """Close the connection. The next call opens another one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
