"""What a listener asks of its clients and adds to its answers; reloaded while it runs."""

from __future__ import annotations

from dataclasses import dataclass, field
from time import time
from typing import TYPE_CHECKING
from wsgiref.handlers import format_date_time

from exporter.errors import SettingsError
from exporter.http.basic_auth import BasicAuth
from exporter.http.tls import LiveContext, Tls, open_tls
from exporter.http.web_config import WebConfig, read_web_config

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping
    from pathlib import Path

    from exporter.http.connection_limit import ConnectionLimit
    from exporter.settings.loading import Settings


@dataclass(frozen=True, slots=True)
class Protection:
    """The content of a web configuration file and of the files it names, read as a whole."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    headers: tuple[tuple[bytes, bytes], ...] = ()


class Guard:
    """Holds the protection of one listener that is in force."""

    def __init__(self, flag: str = "", path: Path | None = None, *, users: bool = False) -> None:
        """Read the file at ``path``, which ``flag`` gave; without one nothing is asked.

        ``users`` says whether the file may name any. Raises ``SettingsError``.
        """
        self._flag = flag
        self._path = path
        self._users_allowed = users
        self.files: tuple[Path, ...] = ()
        """The files that were read last, or were to be."""
        self.protection = Protection()
        self.protection = self._read()
        self.auth = BasicAuth(self.protection.users)

    def read(self) -> Protection:
        """Return what the file says now. Raises ``SettingsError``, and changes nothing."""
        protection = self._read()
        if (protection.tls is None) != (self.protection.tls is None):
            raise SettingsError(
                f"{self._flag}: {self._path}: tls_server_config: TLS is turned on and off by a "
                "restart only"
            )
        return protection

    def apply(self, protection: Protection) -> None:
        """Put in force what :meth:`read` returned: new connections and requests are held to it."""
        self.protection = protection
        self.auth.users = protection.users

    def _read(self) -> Protection:
        if self._path is None:
            return Protection()
        self.files = (self._path,)
        try:
            config = read_web_config(self._path)
        except SettingsError as error:
            lines = str(error).splitlines()
            raise SettingsError("\n".join(f"{self._flag}: {line}" for line in lines)) from None
        try:
            return self._opened(config)
        except SettingsError as error:
            raise SettingsError(f"{self._flag}: {self._path}: {error}") from None

    def _opened(self, config: WebConfig) -> Protection:
        if config.basic_auth_users and not self._users_allowed:
            raise SettingsError("basic_auth_users: not here, deliveries are signed instead")
        tls = config.tls_server_config
        if tls:
            self.files += tls.files
        return Protection(
            tls=open_tls(tls) if tls else None,
            users=config.basic_auth_users,
            headers=config.http_server_config.headers.encoded(),
        )


def guards(settings: Settings) -> tuple[Guard, Guard]:
    """Return the guards of the internal and the public listener. Raises ``SettingsError``."""
    return (
        Guard("--web.config.file", settings.web.config_file, users=True),
        Guard("--webhook.config.file", settings.webhook.config_file),
    )


class Terms:
    """The protection in force, which may be another one for each connection, and the gate."""

    def __init__(self, guard: Guard, gate: ConnectionLimit) -> None:
        self.gate = gate
        self._guard = guard
        self._date = (0, b"")
        self.live = LiveContext(self._context, gate.most) if guard.protection.tls else None
        """What a listener with TLS takes for its context, for as long as it serves."""

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Return what is added to every answer."""
        now = int(time())
        if self._date[0] != now:
            self._date = (now, format_date_time(now).encode())
        return [(b"date", self._date[1]), *self._guard.protection.headers]

    def admits(self, connection: ssl.SSLObject) -> bool:
        """Return whether the client is one of those that the listener is for.

        To be asked once of each connection, when it has agreed on TLS; without TLS all are.
        """
        tls = self._guard.protection.tls
        if not self.live or not tls:
            return True
        self.live.agreed(connection)
        return tls.admits(connection)

    def _context(self) -> ssl.SSLContext:
        tls = self._guard.protection.tls
        assert tls, "TLS is turned on and off by a restart only"
        return tls.context
