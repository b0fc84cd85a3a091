"""One connection of a client: its time limits, reading, writing, and closing."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter.http.connection_limit import NO_ROOM
from exporter.http.hypercorn_internals import http1_protocol
from exporter.http.timeouts import CLOSE_TIMEOUT, REQUEST_HEAD_TIMEOUT
from exporter.http.whole_request import (
    ConnectionFacts,
    answer_whole_request,
    parse_whole_request,
)

if TYPE_CHECKING:
    from exporter.http.connection_limit import ConnectionLimit
    from exporter.http.hypercorn_internals import Http1Protocol, ProtocolContext
    from exporter.http.whole_request import WholeRequest

_MAX_UNSENT = 64 * 1024
"""Bytes that a client may leave unread before an answer waits for it."""

_MAX_READ = 16 * 1024
"""Bytes read at once. The head of a request can exceed its limit by this much."""


class Connection:
    """Reads the requests of one client and writes the answers, until either side closes.

    A connection either waits for a request or is busy with one. It reports every change to its
    ``limit``. It waits for at most ``REQUEST_HEAD_TIMEOUT`` seconds.
    """

    def __init__(
        self,
        context: ProtocolContext,
        limit: ConnectionLimit,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> None:
        self._context = context
        self._limit = limit
        self._reader = reader
        self._writer = writer
        self._transport = writer.transport
        self._loop = asyncio.get_running_loop()
        self._unsent: list[bytes] = []
        self._wait_timer: asyncio.TimerHandle | None = None
        """Closes the connection when no request comes."""
        self._close_timer: asyncio.TimerHandle | None = None
        """Aborts the connection when closing takes too long."""

    async def serve(self, *, admitted: bool) -> None:
        """Answer requests until the connection is closed.

        A client that is not ``admitted`` gets no answer.
        """
        try:
            if admitted and self._limit.admit(self):
                await self._answer_requests()
            elif admitted:
                self._writer.write(NO_ROOM)
            self.close()
            await self._writer.wait_closed()
        except OSError:
            pass  # the client is gone, or broke TLS
        except Exception:
            self._context.log.exception("connection failed")
        finally:
            self.abort()
            self._limit.remove(self)
            for timer in (self._wait_timer, self._close_timer):
                if timer:
                    timer.cancel()

    def abort(self) -> None:
        """Close at once. Bytes that were not sent yet are lost."""
        self._transport.abort()

    def close(self) -> None:
        """Close when all written bytes have been sent, or after ``CLOSE_TIMEOUT`` seconds."""
        self._flush()
        self._writer.close()
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def request_begins(self) -> None:
        """Note that the head of a request is complete."""
        self._limit.mark_busy(self)
        if self._wait_timer:
            self._wait_timer.cancel()
            self._wait_timer = None

    def request_ends(self) -> None:
        """Note that the answer is written, and wait for the next request."""
        self._limit.mark_waiting(self)
        self._wait_for_request()

    async def write(self, data: bytes) -> None:
        """Send a part of an answer. Nothing happens when the connection is closing.

        The part is sent at the end of this turn of the event loop, so that the head of an answer
        and a short body leave together. Waits for a client that does not read.
        """
        if self._transport.is_closing():
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)
        if len(data) > _MAX_UNSENT:
            self._flush()
        if self._transport.get_write_buffer_size() > _MAX_UNSENT:
            with suppress(OSError):  # the client is gone
                await self._writer.drain()

    async def _answer_requests(self) -> None:
        socket = self._writer.get_extra_info("socket")
        facts = ConnectionFacts(
            client=socket.getpeername()[:2],
            server=socket.getsockname()[:2],
            tls=self._writer.get_extra_info("ssl_object") is not None,
        )
        async with http1_protocol(self._context, facts, self) as protocol:
            self._wait_for_request()
            await self._read(protocol, facts)

    async def _read(self, protocol: Http1Protocol, facts: ConnectionFacts) -> None:
        while not (self._reader.at_eof() or self._transport.is_closing()):
            try:
                data = await self._reader.read(_MAX_READ)
            except OSError:
                break
            request = parse_whole_request(data) if protocol.is_between_requests else None
            if request:
                await self._answer_whole_request(request, facts)
            else:
                await protocol.receive(data)
        await protocol.connection_lost()

    async def _answer_whole_request(self, request: WholeRequest, facts: ConnectionFacts) -> None:
        self.request_begins()
        reusable = False
        try:
            reusable = await answer_whole_request(
                self._context.app, request, facts, self._context.added_headers, self.write
            )
        except Exception:
            self._context.log.exception("answering a request failed")
        if reusable:
            self.request_ends()
        else:
            self.close()

    def _wait_for_request(self) -> None:
        if self._context.stopping:
            self.close()
        else:
            self._wait_timer = self._loop.call_later(REQUEST_HEAD_TIMEOUT, self.close)

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and not self._transport.is_closing():
            self._writer.writelines(unsent)
