from __future__ import annotations

import signal
from contextlib import ExitStack
from typing import TYPE_CHECKING, Protocol

import pytest
from hypothesis import HealthCheck, settings
from measuring import Chance, Measured, summarise
from postgres import Postgres
from postgres import running as postgres_running
from running import Serving, serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

pytest_plugins = ["postgres_places"]  # fixtures of the tests of the storage in PostgreSQL

settings.register_profile(
    "shared-machine",
    deadline=None,  # an example takes long on a busy machine
    max_examples=40,
    suppress_health_check=[HealthCheck.too_slow],  # making examples takes long there too
)
settings.load_profile("shared-machine")

# A shell starts a job in the background with SIGINT ignored, and all processes below the job
# inherit that. Tests interrupt processes that they start.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    summarise(terminalreporter)


class Serve(Protocol):
    """Starts the exporter in the folder of the test, and ends it after the test."""

    def __call__(
        self, *flags: str, environ: Mapping[str, str] = ..., ready: str = ...
    ) -> Serving: ...


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """Run one server for all tests of this process; each test makes its own database in it."""
    with postgres_running() as server:
        yield server


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(*flags: str, **options: object) -> Serving:
            return stack.enter_context(serving(tmp_path, *flags, **options))  # type: ignore[arg-type]

        yield start


@pytest.fixture
def measured(record_property: Callable[[str, object], None]) -> Measured:
    return Measured(record_property)


@pytest.fixture
def chance() -> Chance:
    return Chance()
