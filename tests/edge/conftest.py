from __future__ import annotations

import sys
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

sys.path.insert(0, str(Path(__file__).parents[1]))  # where programs.py is

from running import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping


class Serve(Protocol):
    """Starts the exporter in the test's folder and ends it after the test."""

    def __call__(
        self, *flags: str, environ: Mapping[str, str] = ..., ready: str = ...
    ) -> Serving: ...


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*flags: str, **options: object) -> Serving:
            return stack.enter_context(serving(tmp_path, *flags, **options))  # type: ignore[arg-type]

        yield start
