"""Feeds the parser what coverage leads to, with atheris; takes the flags of libFuzzer.

Ends with an error as soon as the parser raises what it does not promise.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

NOW = 1.8e9

atheris = import_module("atheris")  # not everywhere, and without types

with atheris.instrument_imports():
    from exporter.errors import EventError
    from exporter.vendors import roamify


def parse(body: bytes) -> None:
    with suppress(EventError):
        roamify.parse(body, NOW)


if __name__ == "__main__":
    atheris.Setup(sys.argv, parse)
    atheris.Fuzz()
