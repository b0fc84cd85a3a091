"""Webhook secrets, one a line, in a file and in an environment variable."""

from __future__ import annotations

import codecs
import os
from typing import Final

from exporter.settings import ENVIRONMENT_PREFIX

SECRET_VARIABLE: Final = f"{ENVIRONMENT_PREFIX}WEBHOOK_SECRET"


def secrets_in_file(content: bytes) -> tuple[bytes, ...]:
    """Return the secrets that a file holds. Blank lines and lines that start with # are ignored."""
    lines = map(bytes.strip, content.removeprefix(codecs.BOM_UTF8).splitlines())
    return tuple(line for line in lines if line and not line.startswith(b"#"))


def secrets_in_variable(value: str) -> tuple[bytes, ...]:
    """Return the secrets that an environment variable holds, in the encoding of the environment."""
    lines = map(str.strip, value.splitlines())
    return tuple(os.fsencode(line) for line in lines if line)
