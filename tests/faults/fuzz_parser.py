"""A program that fuzzes the parser by coverage, with atheris. Its flags are those of libFuzzer.

It fails as soon as the parser raises an error that it does not document.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

NOW = 1.8e9

atheris = import_module("atheris")  # optional, and without types

with atheris.instrument_imports():
    from exporter.errors import EventError
    from exporter.vendors import roamify


def parse(body: bytes) -> None:
    with suppress(EventError):
        roamify.parse(body, NOW)


if __name__ == "__main__":
    atheris.Setup(sys.argv, parse)
    atheris.Fuzz()
