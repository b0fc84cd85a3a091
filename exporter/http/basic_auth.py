"""Passwords of the internal endpoints: HTTP basic authentication against bcrypt hashes.

A check takes tens of milliseconds by design. It runs in a thread, one at a time, and what
was right once is remembered under a keyed hash, so that a scrape does not pay for it again.
Wrong passwords are not remembered: a new one costs whoever guesses nothing.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import os
from collections import OrderedDict
from typing import TYPE_CHECKING

import bcrypt

from exporter.errors import Overloaded

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_CHECKS = 16
"""Checks waiting or running; above it requests are refused at once."""

MAX_REMEMBERED = 1000
"""Verdicts kept; the least used give way."""

_MAX_PASSWORD = 72
"""Bytes of a password that bcrypt looks at; htpasswd cuts it off there as well."""


class BasicAuth:
    """The users of a listener, replaced on reload; none: everybody is admitted."""

    def __init__(self, users: Mapping[str, str]) -> None:
        """``users`` maps names to bcrypt hashes, all of them usable."""
        self.users = users
        self._key = os.urandom(32)
        self._right: OrderedDict[bytes, None] = OrderedDict()
        self._checks: set[asyncio.Task[bool]] = set()
        self._turn = asyncio.Semaphore(1)

    async def admits(self, authorization: str | None) -> bool:
        """Return whether a request with this ``Authorization`` header may go on.

        Raises ``Overloaded`` when too many passwords are being checked.
        """
        if not self.users:
            return True
        credentials = _credentials(authorization or "")
        if credentials is None:
            return False
        user, password = credentials
        hash_ = self.users.get(user) or self._decoy(user)
        verdict = self._digest(user, hash_, password)
        if verdict in self._right:
            self._right.move_to_end(verdict)
            return True
        if len(self._checks) >= MAX_CHECKS:
            raise Overloaded(f"{MAX_CHECKS} passwords are being checked at this moment")
        check = asyncio.create_task(self._check(password, hash_))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
        # The thread goes on where the client gives up, and counts until it is done.
        if not await asyncio.shield(check) or self.users.get(user) != hash_:
            return False
        self._remember(verdict)
        return True

    async def _check(self, password: bytes, hash_: str) -> bool:
        async with self._turn:
            return await asyncio.to_thread(bcrypt.checkpw, password, hash_.encode())

    def _decoy(self, user: str) -> str:
        """Return a hash that no password fits, as costly as one of the real ones.

        Which one depends on the name alone: the time of an answer says nothing of who exists.
        """
        costs = sorted(hash_.split("$")[2] for hash_ in self.users.values())
        place = int.from_bytes(self._digest(user, "", b"")[:8]) % len(costs)
        return f"$2b${costs[place]}${'.' * 53}"

    def _digest(self, user: str, hash_: str, password: bytes) -> bytes:
        parts = (user.encode(), hash_.encode(), password)
        text = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def _remember(self, verdict: bytes) -> None:
        self._right[verdict] = None
        if len(self._right) > MAX_REMEMBERED:
            self._right.popitem(last=False)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Return user and password, ``None`` where the header holds none (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
        user, colon, password = decoded.partition(b":")
        return (user.decode(), password[:_MAX_PASSWORD]) if colon else None
    except (binascii.Error, UnicodeError, ValueError):
        return None
