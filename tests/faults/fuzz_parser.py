"""A program that fuzzes the parsers of all vendors by coverage, with atheris (libFuzzer's flags).

It fails as soon as one raises an error that it does not document.
"""

from __future__ import annotations

import sys
from contextlib import suppress
from importlib import import_module

NOW = 1.8e9

atheris = import_module("atheris")  # optional, and without types

with atheris.instrument_imports():
    from exporter.errors import EventError
    from exporter.vendors.registry import VENDORS


def parse(body: bytes) -> None:
    for vendor in VENDORS:
        with suppress(EventError):
            vendor.parse(body, NOW)


if __name__ == "__main__":
    atheris.Setup(sys.argv, parse)
    atheris.Fuzz()
