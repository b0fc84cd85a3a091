"""S16: questions of people about single eSIMs: sorted lists, filters and the search."""

from __future__ import annotations

import http.client
import itertools
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Final
from urllib.parse import urlencode

from benchmarks import payloads, stalls
from benchmarks.load import Load
from benchmarks.process import Unavailable
from benchmarks.report import Comparison, Goal, Measure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from benchmarks.bench import Bench
    from benchmarks.load import Outcome

    Questions = dict[str, Callable[[], float]]
    """What asks each question once, and returns the seconds until the answer is whole."""

_CONNECTIONS: Final = 64
_TIMEOUT: Final = 300.0
_ALLOWED: Final = Goal(Measure.VALUE, 0.3)

_LISTS: Final = {
    "sorted by use, most first": {"sort": "data_used_share", "order": "desc"},
    "sorted by use, least first": {"sort": "data_used_share", "order": "asc"},
    "sorted by last event, newest first": {"sort": "last_event", "order": "desc"},
    "of a package, sorted by use": {
        "sort": "data_used_share",
        "order": "desc",
        "package_id": payloads.PACKAGES[2].package_id,
    },
    "of a status that no eSIM has": {"status": "EXPIRED"},
    "by a use of SMS that no eSIM has": {"min_sms_used_share": "0.99"},
    "by a reference": {"reference_id": payloads.names(7).reference_id},
}


def measure(bench: Bench) -> Iterator[Comparison]:
    """Ask each question of a fleet at rest, then all of them in turns beside events."""
    for esims, rate in bench.profile.change_runs:
        noted = bench.folder / f"stalls-of-lists-{esims}"
        with bench.exporter(bench.storage(esims), stalls=noted) as (server, public):
            server.wait_until_quiet(bench.profile.quiet, stalls.SHARE)
            questions = _questions(server.port)
            for what, ask in questions.items():
                values = tuple(ask() for _ in range(bench.profile.rounds))
                yield Comparison("S16", f"{what}, {esims:,} eSIMs", "s", values, goal=_ALLOWED)
            load = Load(
                public,
                count=int(rate * bench.profile.latency_seconds),
                esims=esims,
                connections=_CONNECTIONS,
                rate=rate,
                seconds=bench.profile.latency_seconds + 5,
            )
            alone = _sent(bench.send(load))
            with ThreadPoolExecutor() as threads:
                since = time.monotonic()
                sending = threads.submit(bench.send, load)
                asked = _ask_in_turns(questions, sending)
                beside, until = _sent(sending.result()), time.monotonic()
        run = f"{esims:,} eSIMs, {rate:g} events/s"
        yield Comparison("S16", f"slowest question, {run}", "s", (max(asked),))
        yield Comparison(
            "S16",
            f"webhook latency, p99, beside questions without a pause, {run}",
            "s",
            (beside.p99,),
            "no questions",
            (alone.p99,),
            Goal(Measure.VALUE, 0.05),
            f"{len(asked)} questions were answered",
        )
        longest = (stalls.longest(noted, since, until),)
        what = f"longest stall of the event loop meanwhile, {run}"
        yield Comparison("S16", what, "s", longest, goal=Goal(Measure.VALUE, 0.02))


def _questions(port: int) -> Questions:
    def listed(parameters: dict[str, str]) -> float:
        return _ask(port, "GET", f"/api/v1/esims?{urlencode(parameters)}", "")

    def searched(text: str) -> float:
        return _ask(port, "POST", "/search", urlencode({"text": text}))

    lists: Questions = {
        f"list {what}": lambda parameters=parameters: listed(parameters)  # type: ignore[misc]  # mypy cannot infer a lambda with a default
        for what, parameters in _LISTS.items()
    }
    return lists | {
        "search for an ICCID": lambda: searched(payloads.names(7).iccid),
        "search for what nobody has": lambda: searched("nobody"),
    }


def _ask_in_turns(questions: Questions, sending: Future[Outcome]) -> list[float]:
    """Ask one question after the other, as long as events are sent. Return all times."""
    asked = []
    for ask in itertools.cycle(questions.values()):
        asked.append(ask())
        if sending.done():
            return asked
    raise AssertionError("there are no questions")


def _ask(port: int, method: str, path: str, body: str) -> float:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_TIMEOUT)
    headers = {"Content-Type": "application/x-www-form-urlencoded"} if body else {}
    started = time.perf_counter()
    connection.request(method, path, body or None, headers)
    answer = connection.getresponse()
    answer.read()
    seconds = time.perf_counter() - started
    connection.close()
    if answer.status not in {http.HTTPStatus.OK, http.HTTPStatus.SEE_OTHER}:
        raise Unavailable(f"{method} {path.partition('?')[0]} was answered with {answer.status}")
    return seconds


def _sent(outcome: Outcome) -> Outcome:
    if outcome.errors:
        raise Unavailable(f"events were answered with {outcome.codes}")
    return outcome
