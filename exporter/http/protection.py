"""How a listener is protected: TLS, users, and headers of its web configuration file.

A reload replaces the protection of a listener while it serves.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from exporter.errors import SettingsError
from exporter.http.basic_auth import BasicAuth
from exporter.http.tls import Tls, open_tls
from exporter.http.web_config import WebConfig, read_web_config

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Protection:
    """The content of a web configuration file and of the files that it names."""

    tls: Tls | None = None
    users: Mapping[str, str] = field(default_factory=dict)
    """Names and bcrypt hashes of their passwords. Without users nobody needs a password."""
    headers: tuple[tuple[bytes, bytes], ...] = ()
    """Added to every answer."""


class ReloadableProtection:
    """The protection of one listener that is in force."""

    def __init__(
        self, flag: str = "", path: Path | None = None, *, allow_users: bool = False
    ) -> None:
        """Read the file at ``path``, which the command line flag ``flag`` names.

        Without a path the listener is not protected. A file with users is an error unless
        ``allow_users``. Raises ``SettingsError``.
        """
        self._flag = flag
        self._path = path
        self._allow_users = allow_users
        self.files: tuple[Path, ...] = ()
        """The configuration file and the files that it names, as of the last read."""
        self.current = self._read()
        self.auth = BasicAuth(self.current.users)

    def read(self) -> Protection:
        """Return what the files contain now, without putting it in force.

        Raises ``SettingsError``.
        """
        protection = self._read()
        if (protection.tls is None) != (self.current.tls is None):
            raise SettingsError(
                f"{self._flag}: {self._path}: tls_server_config: a reload cannot turn TLS on or "
                "off, restart the exporter"
            )
        return protection

    def apply(self, protection: Protection) -> None:
        """Put a protection in force for new connections and requests."""
        self.current = protection
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
            return self._open(config)
        except SettingsError as error:
            raise SettingsError(f"{self._flag}: {self._path}: {error}") from None

    def _open(self, config: WebConfig) -> Protection:
        if config.basic_auth_users and not self._allow_users:
            raise SettingsError(
                "basic_auth_users: not possible here: deliveries have a signature, not a password"
            )
        tls = config.tls_server_config
        if tls:
            self.files += tls.files
        return Protection(
            tls=open_tls(tls) if tls else None,
            users=config.basic_auth_users,
            headers=config.http_server_config.headers.encoded(),
        )


def read_protections(internal: Path | None, public: Path | None) -> dict[str, ReloadableProtection]:
    """Read the web configuration files of the listeners ``internal`` and ``public``.

    Raises ``SettingsError``.
    """
    return {
        "internal": ReloadableProtection("--web.config.file", internal, allow_users=True),
        "public": ReloadableProtection("--webhook.config.file", public),
    }
