"""The parts of Hypercorn and h11 that are not a documented interface. Only this module uses them.

Hypercorn's own ``serve`` has no hook for what the listeners need: a limit of connections that
closes the slowest, a timeout for the head of a request without two tasks for each, and requests
that are read directly (:mod:`exporter.http.whole_request`). So the exporter accepts connections
itself (:mod:`exporter.http.listeners`, :mod:`exporter.http.connection`) and uses only Hypercorn's
HTTP/1.1 protocol. It is worth it: a durable event takes 674 us of processor time through Hypercorn
and Quart as they are, 412 us with the webhook's own ``asgi_http_class``, and 250 us when requests
that arrive whole are read directly as well.

An update of Hypercorn or h11 can take any of these names away. ``pyproject.toml`` therefore
allows one minor version of each only, and a test looks up every name of this list:

- ``hypercorn.asyncio.task_group.TaskGroup``: runs the application once for each request.
- ``hypercorn.asyncio.task_group.TaskGroup.spawn_app``: the protocol calls it for a request.
- ``hypercorn.asyncio.worker_context.WorkerContext``: says whether a stop began.
- ``hypercorn.asyncio.worker_context.WorkerContext.terminated``: set when a stop begins.
- ``hypercorn.config.Config.response_headers``: replaced, to add our headers to every answer.
- ``hypercorn.config.Config.h11_max_incomplete_size``: set, to limit the head of a request.
- ``hypercorn.events.Closed``: says that the connection is gone; both sides send it.
- ``hypercorn.events.RawData``: carries received bytes, and bytes to send.
- ``hypercorn.events.Updated.idle``: says whether the connection waits for a request.
- ``hypercorn.protocol.h11.H11Protocol``: reads requests and writes answers.
- ``hypercorn.protocol.h11.H11Protocol.handle``: handles received bytes.
- ``hypercorn.protocol.h11.H11Protocol.can_read``: set when a request is answered.
- ``hypercorn.protocol.h11.H11Protocol.connection``: the parser of h11.
- ``hypercorn.protocol.h11.H11Protocol._check_protocol``: replaced, to refuse HTTP/2.
- ``hypercorn.protocol.h11.H11Protocol._create_stream``: replaced, to read heads our way.
- ``hypercorn.protocol.h11.H11Protocol._send_error_response``: answers without the application.
- ``hypercorn.protocol.h11.H11Protocol.stream``: the request that is being answered.
- ``hypercorn.protocol.h11.H11Protocol.stream_send``: takes the parts of an answer.
- ``hypercorn.protocol.h11.STREAM_ID``: the number of the only stream.
- ``hypercorn.protocol.events.EndBody``: says that a whole request was received.
- ``hypercorn.protocol.events.Event``: a part of a request.
- ``hypercorn.protocol.events.Request``: the head of a request.
- ``hypercorn.protocol.events.Response``: the head of an answer.
- ``hypercorn.protocol.http_stream.HTTPStream``: passes one request to the application.
- ``hypercorn.protocol.http_stream.HTTPStream.handle``: takes the parts of a request.
- ``hypercorn.typing.ConnectionState``: the type of the state in an ASGI scope.
- ``h11.Connection.client_is_waiting_for_100_continue``: set, so that only we invite bodies.
- ``h11.Connection.they_are_waiting_for_100_continue``: says whether a body must be invited.
- ``h11.Connection.our_state``: says whether h11 is between two requests.
- ``h11.Connection.their_state``: says whether a whole request was received.
- ``h11.Connection.trailing_data``: says whether h11 holds the beginning of a request.
"""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Protocol

import h11
from hypercorn.asyncio.task_group import TaskGroup
from hypercorn.asyncio.worker_context import WorkerContext
from hypercorn.config import Config
from hypercorn.events import Closed, RawData, Updated
from hypercorn.protocol.events import EndBody, Event, Request, Response
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import HTTPStream
from hypercorn.typing import ConnectionState

from exporter.http.request_head import read_head
from exporter.http.turns import Turns

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from exporter.http.failures import Failures
    from exporter.http.whole_request import ConnectionFacts, Headers

    Application = Callable[..., Awaitable[None]]

MAX_REQUEST_HEAD = 16 * 1024
"""Bytes of the largest incomplete head of a request. Above it the answer is 431."""


class ProtocolOutput(Protocol):
    """The connection, as the protocol uses it."""

    async def write(self, data: bytes) -> None:
        """Send a part of an answer."""

    async def request_begins(self) -> None:
        """Note that the head of a request is complete, and wait for its turn."""

    def request_is_complete(self) -> None:
        """Note that a whole request was received."""

    def request_ends(self, *, next_begun: bool) -> None:
        """Note that the answer is written and that the connection can be used again.

        ``next_begun`` is true if a part of the next request was received already.
        """

    def close(self) -> None:
        """Close the connection when all written bytes have been sent."""


class ProtocolContext:
    """The application, settings and state that all connections of a listener share."""

    def __init__(
        self, app: Application, added_headers: Callable[[], Headers], failures: Failures
    ) -> None:
        """Serve an ASGI application.

        ``added_headers`` go into every answer. Exceptions of the application are ``failures``.
        """
        self.app = app
        self.added_headers = added_headers
        self.failures = failures
        self.config = _Config(added_headers)
        self.turns = Turns()
        self.worker = WorkerContext(None)

    @property
    def stopping(self) -> bool:
        """Return whether each connection is closed after its current answer."""
        return self.worker.terminated.is_set()

    async def stop(self) -> None:
        """Close each connection after its current answer."""
        await self.worker.terminated.set()


class _Config(Config):
    h11_max_incomplete_size = MAX_REQUEST_HEAD

    def __init__(self, added_headers: Callable[[], Headers]) -> None:
        self._added_headers = added_headers

    def response_headers(self, protocol: str) -> Headers:  # noqa: ARG002  # Hypercorn's signature
        return self._added_headers()


class Http1Protocol(H11Protocol):
    """The HTTP/1.1 protocol of one connection."""

    def __init__(
        self,
        context: ProtocolContext,
        tasks: TaskGroup,
        facts: ConnectionFacts,
        output: ProtocolOutput,
    ) -> None:
        super().__init__(
            self._call,
            context.config,
            context.worker,
            tasks,
            ConnectionState({}),
            facts.tls,
            facts.client,
            facts.server,
            self._perform,
        )
        self._output = output
        self._context = context
        self._is_last = False
        self._body_is_awaited = False
        """Whether the client sends the body of its request only if it is invited to."""

    @property
    def is_between_requests(self) -> bool:
        """Return whether no request is being answered and no part of one was received."""
        return self.connection.our_state is h11.IDLE and not self.connection.trailing_data[0]

    async def receive(self, data: bytes) -> None:
        """Handle received bytes. Empty bytes mean that the client sends no more.

        Returns when the next bytes can be handled.
        """
        await self.handle(RawData(data))

    async def client_ended(self) -> None:
        """Finish the answer to a whole request: the client may have ended only its own side."""
        if self.stream is not None and self.connection.their_state in {h11.DONE, h11.MUST_CLOSE}:
            await self.can_read.clear()
            await self.can_read.wait()

    async def connection_lost(self) -> None:
        """Tell the application that the connection is gone."""
        await self.handle(Closed())

    async def _perform(self, event: object) -> None:
        if isinstance(event, RawData):
            if event.data:  # the end of a body with a known length has no data
                await self._output.write(event.data)
        elif isinstance(event, Updated):
            if event.idle:
                self._output.request_ends(next_begun=not self.is_between_requests)
            else:
                await self._output.request_begins()
        elif isinstance(event, Closed):
            self._output.close()

    async def stream_send(self, event: Event) -> None:
        """Send a part of an answer."""
        if isinstance(event, Response) and event.status_code >= HTTPStatus.OK:
            self._body_is_awaited = False
            if self._is_last:
                event.headers.append((b"connection", b"close"))
        await super().stream_send(event)

    async def _call(
        self,
        scope: Any,
        receive: Callable[[], Awaitable[Any]],
        send: Any,
        sync_spawn: object,  # noqa: ARG002  # Hypercorn passes it, for WSGI applications
        call_soon: object,  # noqa: ARG002  # for WSGI applications too
    ) -> None:
        """Call the application. If it fails before it answers, Hypercorn answers 500."""

        async def receive_invited() -> Any:
            if self._body_is_awaited:
                self._body_is_awaited = False
                await self.stream_send(Response(STREAM_ID, [], HTTPStatus.CONTINUE))
            return await receive()

        try:
            await self._context.app(scope, receive_invited, send)
        except Exception as error:  # noqa: BLE001  # whatever it is, it must be noted
            self._context.failures.note(error)

    async def _check_protocol(self, event: object) -> None:
        """Never switch to HTTP/2: the limit of connections does not limit its streams."""

    async def _create_stream(self, request: h11.Request) -> None:
        """Pass a request to the application."""
        head = read_head(request.method, request.target, list(request.headers))
        if head is None:
            await self._send_error_response(HTTPStatus.BAD_REQUEST)
            await self.send(Closed())
            return
        assert isinstance(self.connection, h11.Connection)
        self._is_last = head.is_last
        # Hypercorn would invite the body before the application has seen its length.
        self._body_is_awaited = self.connection.they_are_waiting_for_100_continue
        self.connection.client_is_waiting_for_100_continue = False
        self.stream = _Stream(
            self._output.request_is_complete,
            self._call,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=head.headers,
                http_version=request.http_version.decode(),
                method=request.method.decode(),
                raw_path=head.target,
                state=self.connection_state,
            )
        )


class _Stream(HTTPStream):
    """One request. It says when the request is complete."""

    def __init__(self, complete: Callable[[], None], *args: Any) -> None:
        super().__init__(*args)
        self._complete = complete

    async def handle(self, event: Event) -> None:
        if isinstance(event, EndBody):
            self._complete()
        await super().handle(event)


@asynccontextmanager
async def http1_protocol(
    context: ProtocolContext, facts: ConnectionFacts, output: ProtocolOutput
) -> AsyncIterator[Http1Protocol]:
    """Open the protocol of a connection. The block ends after the application has ended too."""
    async with TaskGroup(asyncio.get_running_loop()) as tasks:
        yield Http1Protocol(context, tasks, facts, output)
