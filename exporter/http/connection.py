"""One connection of a client: its TLS handshake, time limits, reading, writing, and closing."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from typing import TYPE_CHECKING

from exporter.http.hypercorn_internals import http1_protocol
from exporter.http.timeouts import (
    CLOSE_TIMEOUT,
    REQUEST_HEAD_TIMEOUT,
    TLS_HANDSHAKE_TIMEOUT,
    UNREAD_TIMEOUT,
)
from exporter.http.whole_request import (
    ConnectionFacts,
    answer_whole_request,
    parse_whole_request,
)

if TYPE_CHECKING:
    from exporter.http.connection_limit import ConnectionLimit
    from exporter.http.hypercorn_internals import Http1Protocol, ProtocolContext
    from exporter.http.tls import Tls
    from exporter.http.whole_request import WholeRequest

_MAX_UNSENT = 64 * 1024
"""Bytes that a client may leave unread before an answer waits for it."""

_MAX_READ = 16 * 1024
"""Bytes read at once. The head of a request can exceed its limit by this much."""


class Connection:
    """Reads the requests of one client and writes the answers, until either side closes.

    A connection reports to its ``limit`` whenever it begins or ends to wait for the client. Each
    such wait has an end: a timeout of :mod:`exporter.http.timeouts`, the ``idle_timeout``
    (seconds), or the time that an endpoint gives to the body of a request.
    """

    def __init__(
        self,
        context: ProtocolContext,
        limit: ConnectionLimit,
        client: socket.socket,
        tls: Tls | None,
        idle_timeout: float,
    ) -> None:
        """Take over ``client``, a socket that was accepted."""
        self._context = context
        self._limit = limit
        self._socket = client
        self._tls = tls
        self._idle_timeout = idle_timeout
        self._loop = asyncio.get_running_loop()
        self._reader = asyncio.StreamReader(loop=self._loop)
        self._writer: asyncio.StreamWriter | None = None
        """``None`` until the TLS handshake is over."""
        self._unsent: list[bytes] = []
        self._answering = False
        """Whether the head of a request is complete and its answer is not written yet."""
        self._is_new = True
        """Whether no request has begun yet."""
        self._wait_ends: float | None = None
        """When the connection is closed if no request comes, in seconds of the event loop;
        ``None`` while a request is answered."""
        self._wait_timer: asyncio.TimerHandle | None = None
        """Looks whether the wait is over. It may be due earlier than the wait ends: setting it
        again for each request would take longer."""
        self._wait_timer_due = 0.0
        self._close_timer: asyncio.TimerHandle | None = None
        """Aborts the connection when closing takes too long."""

    async def serve(self) -> None:
        """Answer requests until the connection is closed.

        A client whose certificate is not allowed gets no answer.
        """
        try:
            writer = self._writer = await self._opened()
            client = writer.get_extra_info("ssl_object")
            if self._tls is None or self._tls.admits(client):
                await self._answer_requests(writer)
            self.close()
            await writer.wait_closed()
        except OSError:
            pass  # the client is gone, or broke TLS
        except Exception as error:  # noqa: BLE001  # whatever it is, it must be noted
            self._context.failures.note(error)
        finally:
            self.abort()
            self._limit.remove(self)
            for timer in (self._wait_timer, self._close_timer):
                if timer:
                    timer.cancel()

    def abort(self) -> None:
        """Close at once. Bytes that were not sent yet are lost."""
        if self._writer:
            self._writer.transport.abort()
        else:
            with suppress(OSError):  # the client is gone
                self._socket.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        """Close when all written bytes have been sent, or after ``CLOSE_TIMEOUT`` seconds."""
        if not self._writer:
            self.abort()
            return
        self._flush()
        self._writer.close()
        self._limit.mark_held_up(self)
        if self._close_timer is None:
            self._close_timer = self._loop.call_later(CLOSE_TIMEOUT, self.abort)

    def close_unless_answering(self) -> None:
        """Close now, or after the answer to a request whose head is complete."""
        if not self._answering:
            self.close()

    async def request_begins(self) -> None:
        """Note that the head of a request is complete, and wait for its turn."""
        self._answering = True
        self._wait_ends = None
        if self._is_new:
            self._is_new = False
        else:
            await self._context.turns.take()

    def request_is_complete(self) -> None:
        """Note that a whole request was received."""
        self._limit.mark_answered(self)

    def request_ends(self, *, next_begun: bool) -> None:
        """Note that the answer is written, and wait for the next request.

        ``next_begun`` is true if a part of it was received already.
        """
        self._answering = False
        if self._context.stopping:
            self.close()
            return
        self._limit.mark_idle(self)
        if next_begun:
            self._wait_for_head()
        else:
            self._wait(self._idle_timeout)

    async def write(self, data: bytes) -> None:
        """Send a part of an answer. Nothing happens when the connection is closing.

        The part is sent at the end of this turn of the event loop, so that the head of an answer
        and a short body leave together. Waits for a client that does not read.
        """
        if len(data) > _MAX_UNSENT:
            await self._write_at_once(data)
            return
        writer = self._writer
        if not writer or writer.is_closing():
            return
        if not self._unsent:
            self._loop.call_soon(self._flush)
        self._unsent.append(data)
        if writer.transport.get_write_buffer_size() > _MAX_UNSENT:
            await self._drain(writer)

    async def _write_at_once(self, data: bytes) -> None:
        """Send a part of an answer that is not followed by another one soon."""
        writer = self._writer
        if not writer or writer.is_closing():
            return
        self._flush()
        writer.write(data)
        if writer.transport.get_write_buffer_size() > _MAX_UNSENT:
            await self._drain(writer)

    async def _opened(self) -> asyncio.StreamWriter:
        """Do the TLS handshake, if there is one. Raises ``OSError`` if it fails."""
        protocol = asyncio.StreamReaderProtocol(self._reader, loop=self._loop)
        transport, _ = await self._loop.connect_accepted_socket(
            lambda: protocol,
            self._socket,
            ssl=self._tls.context if self._tls else None,
            ssl_handshake_timeout=TLS_HANDSHAKE_TIMEOUT if self._tls else None,
        )
        return asyncio.StreamWriter(transport, protocol, self._reader, self._loop)

    async def _answer_requests(self, writer: asyncio.StreamWriter) -> None:
        facts = ConnectionFacts(
            client=self._socket.getpeername()[:2],
            server=self._socket.getsockname()[:2],
            tls=self._tls is not None,
        )
        async with http1_protocol(self._context, facts, self) as protocol:
            self._wait(self._idle_timeout)
            await self._read(writer, protocol, facts)

    async def _read(
        self, writer: asyncio.StreamWriter, protocol: Http1Protocol, facts: ConnectionFacts
    ) -> None:
        while not (self._reader.at_eof() or writer.is_closing()):
            try:
                data = await self._reader.read(_MAX_READ)
            except OSError:
                break
            if not data:
                await protocol.client_ended()
            elif protocol.is_between_requests:
                request = parse_whole_request(data)
                if request:
                    await self._answer_whole_request(request, facts)
                    continue
                self._wait_for_head()
            await protocol.receive(data)
        await protocol.connection_lost()

    async def _answer_whole_request(self, request: WholeRequest, facts: ConnectionFacts) -> None:
        await self.request_begins()
        self.request_is_complete()
        reusable = False
        try:
            reusable = await answer_whole_request(
                *(self._context.app, request, facts),
                *(self._context.added_headers, self._write_at_once),
            )
        except Exception as error:  # noqa: BLE001  # whatever it is, it must be noted
            self._context.failures.note(error)
        if reusable:
            self.request_ends(next_begun=False)
        else:
            self.close()

    async def _drain(self, writer: asyncio.StreamWriter) -> None:
        """Wait until the client has read most of what was sent."""
        self._limit.mark_held_up(self)
        timer = self._loop.call_later(UNREAD_TIMEOUT, self.abort)
        try:
            await writer.drain()
        except OSError:
            pass  # the client is gone
        else:
            self._limit.mark_answered(self)
        finally:
            timer.cancel()

    def _wait_for_head(self) -> None:
        """Wait for the rest of the head of a request."""
        self._limit.mark_held_up(self)
        self._wait(REQUEST_HEAD_TIMEOUT)

    def _wait(self, seconds: float) -> None:
        """Close the connection if no request comes within so many seconds."""
        ends = self._wait_ends = self._loop.time() + seconds
        if self._wait_timer is None or ends < self._wait_timer_due:
            self._set_wait_timer(ends)

    def _set_wait_timer(self, due: float) -> None:
        if self._wait_timer:
            self._wait_timer.cancel()
        self._wait_timer = self._loop.call_at(due, self._end_wait)
        self._wait_timer_due = due

    def _end_wait(self) -> None:
        """Close the connection if the wait is over."""
        self._wait_timer = None
        ends = self._wait_ends
        if ends is None:
            return
        if ends > self._loop.time():
            self._set_wait_timer(ends)
        else:
            self.close()

    def _flush(self) -> None:
        unsent, self._unsent = self._unsent, []
        if unsent and self._writer and not self._writer.is_closing():
            # After writelines, drain() does not wait in Python 3.12.0 to 3.12.8, 3.13.0 and 3.13.1
            # (CVE-2024-12254). Then a client that reads nothing would fill the memory.
            self._writer.write(b"".join(unsent))
