"""A TCP proxy that loses the answer to a chosen request."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class CuttingProxy:
    """Cuts a connection once, when its client sends :attr:`cut_at`."""

    def __init__(self, port: int) -> None:
        self._port = port
        self.cut_at = b""
        self.clients: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self.deliver = True
        """Whether the server receives the request and answers it before the cut."""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.clients[asyncio.current_task()] = writer  # type: ignore[index]  # there is one
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._port)
        answers = asyncio.create_task(self._pass_on(from_server, writer))
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                cut = bool(self.cut_at) and self.cut_at in data
                if cut:
                    self.cut_at = b""
                    answers.cancel()
                    await asyncio.wait([answers])
                if not cut or self.deliver:
                    to_server.write(data)
                    await to_server.drain()
                if cut:
                    if self.deliver:
                        await from_server.read(65536)
                    break
        answers.cancel()
        for each in (to_server, writer):
            each.close()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while data := await reader.read(65536):
                writer.write(data)
                await writer.drain()


@asynccontextmanager
async def cutting_proxy(port: int) -> AsyncIterator[tuple[CuttingProxy, int]]:
    """Run a proxy in front of a local port; yield the proxy and its port."""
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    try:
        yield proxy, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in proxy.clients.values():
            writer.close()
        if proxy.clients:
            await asyncio.wait(proxy.clients)
