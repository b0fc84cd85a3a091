"""Personal data and secrets do not leak into logs, metrics, errors or pages."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from running import LOOPBACK, PAYLOADS, SIGNED, Serving, encoded, event, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

ICCID = "8988303000009150823"
REFERENCE = "REF-ALICE-4711"
ESIM = "e51a-marked-esim"
PACKAGE_NAME = "Marked package name"
SECRETS = ("marked-secret-number-one", "marked-secret-number-two")
WRONG = "marked-secret-of-somebody-else"

MISPLACED = "8988303999999999999"
"""An ICCID in fields that should not have one, such as the id of an eSIM."""

PERSONAL = (ICCID, MISPLACED, REFERENCE, ESIM, PACKAGE_NAME)
PATHS = ("/", "/-/healthy", "/-/ready", "/api/v1/status", "/no/such/page")


@dataclass(frozen=True, slots=True)
class Outputs:
    """All texts that the exporter wrote, by where it wrote them."""

    answers: str
    log: str
    metrics: str
    pages: str


def marked(document: dict[str, Any]) -> dict[str, Any]:
    """Return a payload with marks in every field that identifies somebody."""
    fields = document.get("data") or document
    marks = {"iccid": ICCID, "reference_id": REFERENCE, "esim_id": ESIM}
    fields |= {key: mark for key, mark in marks.items() if key in fields}
    if "package_name" in fields:
        fields["package_name"] = PACKAGE_NAME
    return document


def good() -> Iterator[bytes]:
    for file in sorted(PAYLOADS.glob("*.json")):
        yield encoded(marked(json.loads(file.read_bytes())))


def bad() -> Iterator[bytes]:
    """Yield deliveries that are refused for many reasons, with marks in many places."""
    base = marked(event())
    for key in ("esim_id", "timestamp", "usage_data", "package_id", "data_units", "usage_list"):
        for value in (
            None,
            MISPLACED,
            [MISPLACED, REFERENCE],
            {MISPLACED: REFERENCE},
            -1,
            MISPLACED * 30,
        ):
            yield encoded({**base, "data": {**base["data"], key: value}})
    for value in (MISPLACED, REFERENCE, [MISPLACED]):
        yield encoded({**base, "event_type": value})
        yield encoded({**base, "event_category": value})
        yield encoded({**base, "data": value})
    yield encoded([MISPLACED])
    yield encoded(MISPLACED)
    yield b'{"iccid": "' + ICCID.encode()
    yield ICCID.encode() + b"\xff"
    yield encoded({**base, MISPLACED: 1, "data": {**base["data"], REFERENCE: MISPLACED}})
    yield encoded(base) * 100


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Outputs:
    folder = tmp_path_factory.mktemp("private")
    secrets = folder / "secrets"
    secrets.write_text("\n".join(SECRETS))
    flags = ("--log.level=debug", f"--webhook.secret-file={secrets}", "--web.enable-lifecycle")
    environ = {k: v for k, v in SIGNED.items() if "SECRET" not in k}
    answers = []
    with serving(folder, *flags, environ=environ) as server:
        for body in good():
            answer = server.post(body, SECRETS[0].encode())
            assert answer.status_code == 200
            answers.append(answer)
        for body in bad():
            answers.append(server.post(body, SECRETS[1].encode()))
            answers.append(server.post(body, WRONG.encode()))
        path = f"{server.webhook}/{ICCID}?iccid={ICCID}&secret={WRONG}"
        # On their own connections: the server closes a connection whose body it did not read.
        answers.append(httpx.post(path, content=ICCID, headers={"X-Iccid": ICCID}))
        answers.append(httpx.get(path))
        secrets.write_text(SECRETS[0] + "\n")
        answers.append(server.client.post(server.internal + "/-/reload"))
        metrics = server.get("/metrics").text
        browser = {"Accept": "text/html"}
        pages = [server.get(path, headers=browser) for path in PATHS]
        pages.append(server.get("/metrics", params={"collect[]": ICCID}))
        assert server.end() == 0
        log = "\n".join(server.lines)
    assert {answer.status_code for answer in answers} >= {200, 400, 401, 404, 413, 422}
    texts = "\n".join(f"{answer.headers}\n{answer.text}" for answer in answers)
    return Outputs(texts, log, metrics, "\n".join(page.text for page in pages))


@pytest.mark.parametrize("mark", [*PERSONAL, *SECRETS, WRONG])
def test_logs_and_answers_contain_no_personal_data_and_no_secrets(
    mark: str, outputs: Outputs
) -> None:
    assert mark not in outputs.log
    assert mark not in outputs.answers


@pytest.mark.parametrize("mark", [ICCID, *SECRETS, WRONG])
def test_metrics_and_pages_contain_no_iccid_and_no_secret(mark: str, outputs: Outputs) -> None:
    assert REFERENCE in outputs.metrics  # by default, to find the customer
    assert mark not in outputs.metrics
    assert mark not in outputs.pages


def test_the_overview_contains_no_reference(outputs: Outputs) -> None:
    assert REFERENCE not in outputs.pages


def test_a_startup_error_does_not_repeat_secrets(serve_refused: Serving) -> None:
    texts = "\n".join(serve_refused.lines)
    assert SECRETS[0] not in texts
    assert SIGNED["ESIM_EXPORTER_WEBHOOK_SECRET"] not in texts


@pytest.fixture
def serve_refused(tmp_path_factory: pytest.TempPathFactory) -> Serving:
    """Return a process that did not start, because of settings that contain secrets."""
    folder = tmp_path_factory.mktemp("refused")
    flags = (*LOOPBACK, f"--webhook.secret={SECRETS[0]}", "--storage.url=postgres://x:y@z/")
    process = Serving(folder, flags, SIGNED)
    process.client.close()
    assert process.ended() != 0
    return process
