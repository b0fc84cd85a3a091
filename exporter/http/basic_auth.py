"""Passwords of the internal endpoints: HTTP basic authentication against bcrypt hashes.

bcrypt makes a check take tens of milliseconds. Checks run in a thread, one at a time. A correct
password is remembered as a keyed hash, so that the next scrape with it needs no check. Wrong
passwords are not remembered: an attacker tries a new one each time.
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
"""Passwords that may wait for a check or be checked at one time. More are refused at once."""

MAX_REMEMBERED = 1000
"""Correct passwords that are remembered. The one unused for longest is forgotten first."""

_MAX_PASSWORD = 72
"""Bytes of a password that bcrypt uses. htpasswd ignores the rest of a longer one too."""


class BasicAuth:
    """The users of a listener. Without users every request is admitted."""

    def __init__(self, users: Mapping[str, str]) -> None:
        """``users`` maps names to valid bcrypt hashes."""
        self.users = users
        """Replaced by a reload."""
        self._key = os.urandom(32)
        self._correct: OrderedDict[bytes, None] = OrderedDict()
        self._checks: set[asyncio.Task[bool]] = set()
        self._turn = asyncio.Semaphore(1)

    async def admits(self, authorization: str | None) -> bool:
        """Return whether a request with this ``Authorization`` header is allowed.

        Raises ``Overloaded`` when too many passwords are being checked.
        """
        if not self.users:
            return True
        credentials = _credentials(authorization or "")
        if credentials is None:
            return False
        user, password = credentials
        hash_ = self.users.get(user) or self._decoy(user)
        digest = self._digest(user, hash_, password)
        if digest in self._correct:
            self._correct.move_to_end(digest)
            return True
        if len(self._checks) >= MAX_CHECKS:
            raise Overloaded(f"{MAX_CHECKS} passwords are being checked at this moment")
        check = asyncio.create_task(self._check(password, hash_))
        self._checks.add(check)
        check.add_done_callback(self._checks.discard)
        # The check goes on when the client disconnects, and counts until it has ended.
        if not await asyncio.shield(check) or self.users.get(user) != hash_:
            return False
        self._remember(digest)
        return True

    async def _check(self, password: bytes, hash_: str) -> bool:
        async with self._turn:
            return await asyncio.to_thread(bcrypt.checkpw, password, hash_.encode())

    def _decoy(self, user: str) -> str:
        """Return a hash that matches no password and costs as much as a real one.

        The same name always gets the same cost. So the time of an answer does not reveal
        whether the user exists.
        """
        costs = sorted(hash_.split("$")[2] for hash_ in self.users.values())
        index = int.from_bytes(self._digest(user, "", b"")[:8]) % len(costs)
        return f"$2b${costs[index]}${'.' * 53}"

    def _digest(self, user: str, hash_: str, password: bytes) -> bytes:
        parts = (user.encode(), hash_.encode(), password)
        text = b"".join(len(part).to_bytes(4) + part for part in parts)
        return hashlib.blake2b(text, key=self._key, digest_size=32).digest()

    def _remember(self, digest: bytes) -> None:
        self._correct[digest] = None
        if len(self._correct) > MAX_REMEMBERED:
            self._correct.popitem(last=False)


def _credentials(authorization: str) -> tuple[str, bytes] | None:
    """Return user and password, or ``None`` if the header has none (RFC 7617)."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(encoded.strip(), validate=True)
        user, colon, password = decoded.partition(b":")
        return (user.decode(), password[:_MAX_PASSWORD]) if colon else None
    except (binascii.Error, UnicodeError, ValueError):
        return None
