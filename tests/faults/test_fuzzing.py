"""Random requests: none is answered with 500, none hangs, and a refused one changes nothing."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measuring import SHARE, grouped, times
from running import (
    PAYLOADS,
    SECRET,
    WAIT,
    WEBHOOK,
    Serving,
    connect,
    encoded,
    request_head,
    serving,
)

from exporter.errors import EventError
from exporter.vendors import roamify
from exporter.vendors.registry import NAMES, VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from measuring import Chance, Measured

    from exporter.vendors.vendor import Vendor

EXAMPLES = 50
"""Requests between two checks of the time."""

PROMPT = 0.2
"""Seconds without an answer after which a request counts as incomplete."""

NOW = 1.8e9

SAMPLES = sorted(PAYLOADS.glob("*.json"))
"""Those of the vendor whose webhook gets requests."""

ALL_SAMPLES = sorted(PAYLOADS.rglob("*.json"))
"""Those of all vendors."""

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=9), inner, max_size=3)
    ),
    max_leaves=8,
)


def places(node: Any) -> Iterator[tuple[Any, Any]]:
    """Yield the container and the key of everything in a document that can be replaced."""
    pairs = node.items() if isinstance(node, dict) else enumerate(node)
    for at, child in list(pairs):
        yield node, at
        if isinstance(child, dict | list):
            yield from places(child)


@st.composite
def documents(draw: st.DrawFn, samples: list[Path]) -> bytes:
    """Return a vendor's document with parts replaced, removed, or cut off."""
    document = json.loads(draw(st.sampled_from(samples)).read_bytes())
    for _ in range(draw(st.integers(0, 3))):
        within, at = draw(st.sampled_from([*places(document)]))
        if draw(st.booleans()):
            within[at] = draw(values)
        else:
            del within[at]
    body = encoded(document)
    return body[: draw(st.integers(0, len(body)))] if draw(st.integers(0, 9)) == 0 else body


def bodies(samples: list[Path]) -> st.SearchStrategy[bytes]:
    """Return bodies of deliveries, half of them changed documents of vendors."""
    changed = documents(samples)
    return changed | changed | st.binary(max_size=300) | values.map(encoded)


header_names = st.sampled_from(
    ("Content-Length", "Transfer-Encoding", "Connection", "Expect", "Accept", "Accept-Encoding",
     "Authorization", "Host", "Upgrade", roamify.SIGNATURE_HEADER, "Range", "Cookie", "Origin")
) | st.from_regex(r"[!-9;-~]{1,20}", fullmatch=True)  # fmt: skip
header_values = st.sampled_from(
    ("0", "-1", "99999999999999999999", "chunked", "chunked, chunked", "close", "100-continue",
     "gzip;q=0, *", "application/openmetrics-text", "Basic Og==", "websocket", "h2c", "")
) | st.from_regex(r"[ -~]{0,60}", fullmatch=True)  # fmt: skip
headers: st.SearchStrategy[list[str]] = st.just([]) | st.lists(
    st.tuples(header_names, header_values).map(lambda pair: f"{pair[0]}: {pair[1]}"), max_size=4
)

queries = st.just("") | st.lists(
    st.tuples(
        st.sampled_from(("collect[]", "exclude[]", "limit", "cursor", "match[]", "query", "q", "")),
        st.sampled_from(("esims", "fleet", "exporter", "-1", "1e9", "%00", "%ff", "%"))
        | st.text(max_size=9),
    ).map(lambda pair: f"{pair[0]}={pair[1]}"),
    max_size=4,
).map(lambda pairs: "?" + "&".join(pairs))
paths = st.sampled_from(
    ("/", "/metrics", "/-/healthy", "/-/ready", "/-/reload", "/-/quit", "/api/v1/status",
     "/api/v1/esims", "/api/v1/packages", "/api/v1/rejected", "/esims", WEBHOOK)
) | st.from_regex(r"/[ -~]{0,30}", fullmatch=True)  # fmt: skip
methods = st.sampled_from(("GET", "HEAD", "PUT", "POST", "DELETE", "OPTIONS", "PATCH", "get", "\0"))


@st.composite
def deliveries(draw: st.DrawFn) -> bytes:
    """Return a delivery, correctly signed or not, with headers that may contradict it."""
    body = draw(bodies(SAMPLES))
    secret = b"wrong" if draw(st.integers(0, 3)) == 3 else SECRET
    length = draw(st.integers(0, 4)) < 4
    head = request_head(body, *draw(headers), length=length, secret=secret)
    return head + body


@st.composite
def others(draw: st.DrawFn) -> bytes:
    """Return a request that is not a delivery."""
    line = f"{draw(methods)} {draw(paths)}{draw(queries)} HTTP/1.1"
    lines = [line, "Host: exporter", *draw(headers), "", ""]
    return "\r\n".join(lines).encode("utf-8", "replace") + draw(
        st.just(b"") | st.binary(max_size=50)
    )


def codes(url: str, request: bytes) -> list[int]:
    """Send a request and return the statuses of all answers until the connection ends."""
    received = b""
    with connect(url) as connection:
        connection.sendall(request)
        connection.settimeout(PROMPT)
        try:
            received = connection.recv(1 << 16)
        except TimeoutError:
            pass
        except OSError:
            return []
        connection.settimeout(WAIT)
        try:
            connection.shutdown(1)  # the request ends here
            while more := connection.recv(1 << 16):
                received += more
        except ConnectionError:
            pass
    return [int(code) for code in re.findall(rb"^HTTP/1\.1 ([0-9]{3})", received, re.MULTILINE)]


def fuzzed(
    server: Serving, seconds: float, url: str, requests: st.SearchStrategy[bytes]
) -> Counter[int]:
    """Send requests for so many seconds; count the status codes of the answers."""
    seen: Counter[int] = Counter()
    state = server.state()

    @settings(max_examples=EXAMPLES, database=None, print_blob=True)
    @given(requests)
    def send(request: bytes) -> None:
        nonlocal state
        answered = codes(url, request)
        seen.update(answered or [0])
        assert 500 not in answered
        after = server.state()
        assert after == state or 200 in answered
        state = after

    over = time.monotonic() + seconds
    while time.monotonic() < over:
        send()
    return seen


def test_no_request_gets_a_500_or_hangs_and_refused_ones_change_nothing(
    tmp_path: Path, measured: Measured
) -> None:
    seconds = times(1, 300)
    with serving(tmp_path, "--webhook.read-timeout=100ms", "--limits.max-rejected=100") as server:
        for listener, requests in (("public", deliveries()), ("internal", others())):
            seen = fuzzed(server, seconds, server.url(listener), requests)
            told = ", ".join(f"{n} {code or 'unanswered'}" for code, n in sorted(seen.items()))
            measured(
                f"fuzzing the {listener} listener",
                f"{seconds} s, {told}; no 500, no hang, no change by what was refused",
            )
            assert server.get("/-/ready").status_code == 200


@pytest.mark.parametrize("vendor", VENDORS, ids=NAMES)
@given(bodies(ALL_SAMPLES))
@settings(max_examples=times(100, 5000))
def test_a_parser_raises_only_the_errors_that_it_documents(vendor: Vendor, body: bytes) -> None:
    with suppress(EventError):
        assert vendor.parse(body, NOW).vendor == vendor.name


def test_fuzzing_by_coverage_does_not_break_the_parsers(
    tmp_path: Path, chance: Chance, measured: Measured
) -> None:
    """Fuzz with atheris in the long form, if it is installed."""
    seconds = times(0, 120)
    if not seconds or not find_spec("atheris"):
        why = "not in the short form" if not SHARE else "atheris is not installed"
        measured("fuzzing the parsers by coverage", why)
        return
    for file in ALL_SAMPLES:
        (tmp_path / file.name).write_bytes(file.read_bytes())
    flags = [f"-max_total_time={seconds}", f"-seed={chance.number + 1}", "-max_len=4096"]
    program = Path(__file__).with_name("fuzz_parser.py")
    done = subprocess.run(
        [sys.executable, str(program), *flags, str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    runs = re.search(r"Done (\d+) runs", done.stderr)
    assert runs
    measured(
        "fuzzing the parsers by coverage",
        f"{seconds} s, {grouped(int(runs[1]))} inputs, seed {chance.number}",
    )
