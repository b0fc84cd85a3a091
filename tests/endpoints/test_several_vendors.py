"""A real exporter with every vendor on: what each payload shows, and who is let in."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from running import PAYLOADS, SUCCESS, Serving, encoded, samples, serving, until

from exporter.vendors.registry import VENDORS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from exporter.vendors.vendor import Vendor

BY_NAME = {vendor.name: vendor for vendor in VENDORS}
SECRETS = {vendor.name: f"marked-secret-of-{vendor.name}-0123456789" for vendor in VENDORS}
ROTATED = "marked-next-token-0123456789"
FORGED = "marked-forged-0123456789"
MARK = "marked-"
KNOWN = int(time.time()) - 3600
"""The time of the events, unix seconds: lately, so that nothing expires."""

PAGES = (
    *("/", "/esims", "/packages", "/deliveries", "/rejected", "/metrics", "/no/such/page"),
    *("/api/v1/status", "/api/v1/events?limit=500", "/api/v1/esims", "/api/v1/rejected"),
)


def secret_flags(folder: Path) -> list[str]:
    """Return the flags that turn every vendor on. eSIM Access may use two tokens."""
    flags = ["--esim-go.esim-id=iccid"]
    for name, secret in SECRETS.items():
        path = folder / f"{name}.secrets"
        path.write_text(f"{secret}\n{ROTATED}\n" if name == "esim-access" else f"{secret}\n")
        flags.append(f"--{name}.secret-file={path}")
    return flags


def send(
    server: Serving, vendor: Vendor, body: bytes | dict[str, Any], secret: str | None = None
) -> httpx.Response:
    """Deliver a body as the vendor would."""
    content = body if isinstance(body, bytes) else encoded(body)
    proof = vendor.authentication.prove(content, (secret or SECRETS[vendor.name]).encode())
    path = "/".join(filter(None, (vendor.webhook_path, proof.token)))
    return server.client.post(server.public + path, content=content, headers=dict(proof.headers))


def payload(vendor: str, name: str, **changed: Any) -> dict[str, Any]:
    """Return a sample. ``changed`` replaces fields wherever they are."""
    document: dict[str, Any] = json.loads((PAYLOADS / vendor / f"{name}.json").read_bytes())
    for fields in (document, *(each for each in document.values() if isinstance(each, dict))):
        fields |= {key: value for key, value in changed.items() if key in fields}
    return document


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    folder = tmp_path_factory.mktemp("several")
    flags = ("--log.level=debug", "--web.enable-admin-api", *secret_flags(folder))
    with serving(folder, *flags, environ={}) as running:
        yield running


# What each payload shows. The name of a payload is that of its file.

GB = 10**9
ACCESS = {
    "data-usage": {
        'esim_data_allowed_bytes{package_id="plan"}': 21474836480,
        'esim_data_remaining_bytes{package_id="plan"}': 10724836480,
        'esim_data_consumed_bytes_total{package_id="plan"}': 10750000000,
        'esim_last_event_timestamp_seconds{package_id="plan"}': 1777010400,
        'esim_info{reference_id="shop-10001"}': 1,
    },
    "data-usage-after-top-up": {
        'esim_data_allowed_bytes{package_id="plan"}': 26843545600,
        'esim_data_remaining_bytes{package_id="plan"}': 2684354560,
    },
    "esim-status": {'esim_status{status="ACTIVATED"}': 1},
    "esim-status-with-volumes": {
        'esim_status{status="OTHER"}': 1,
        'esim_data_allowed_bytes{package_id="plan"}': 21474836480,
        'esim_data_remaining_bytes{package_id="plan"}': 0,
    },
    "smdp-event": {'esim_status{status="INSTALLED"}': 1},
    "validity-usage": {'esim_package_end_timestamp_seconds{package_id="plan"}': 1779523200},
}
GO_PERIOD = {
    'esim_package_start_timestamp_seconds{package_id="%"}': 1777629600,
    'esim_package_end_timestamp_seconds{package_id="%"}': 1778234400,
}
GO = {
    "first-use": {
        'esim_data_allowed_bytes{package_id="esim_1GB_7D_GB_V2"}': GB,
        'esim_data_remaining_bytes{package_id="esim_1GB_7D_GB_V2"}': GB,
        'esim_data_consumed_bytes_total{package_id="esim_1GB_7D_GB_V2"}': 0,
        'esim_status{status="UNKNOWN"}': 1,
    },
    "utilisation-v2": {
        'esim_data_allowed_bytes{package_id="esim_1GB_7D_GB_V2"}': GB,
        'esim_data_remaining_bytes{package_id="esim_1GB_7D_GB_V2"}': GB // 2,
        'esim_data_consumed_bytes_total{package_id="esim_1GB_7D_GB_V2"}': GB // 2,
    },
    "utilisation-v3": {
        'esim_data_remaining_bytes{package_id="esim_1GB_7D_GB_V2"}': GB // 2,
        'esim_data_consumed_bytes_total{package_id="esim_1GB_7D_GB_V2"}': GB // 2,
        **{key.replace("%", "esim_1GB_7D_GB_V2"): value for key, value in GO_PERIOD.items()},
    },
    "utilisation-v3-voice": {
        'esim_voice_allowed_seconds{package_id="esim_UL_VOICE_30D_GB"}': 6000,
        'esim_voice_remaining_seconds{package_id="esim_UL_VOICE_30D_GB"}': 1200,
        'esim_voice_consumed_seconds_total{package_id="esim_UL_VOICE_30D_GB"}': 4800,
    },
    "utilisation-v3-unlimited": {'esim_data_unlimited{package_id="esim_UL_7D_GB_V2"}': 1},
    "esim-deleted": {'esim_status{status="DELETED"}': 1},
}
SHOWN: list[tuple[str, str, str, dict[str, int]]]
SHOWN = [("esim-access", "esimTranNo", *each) for each in ACCESS.items()]
SHOWN += [("esim-go", "iccid", *each) for each in GO.items()]


def series_of(server: Serving, vendor: str, esim_id: str) -> dict[str, float]:
    """Return the series of an eSIM without the labels that name it."""
    named = f'vendor="{vendor}",esim_id="{esim_id}"'
    return {
        series.replace(f"{named},", "").replace(f"{{{named}}}", ""): value
        for series, value in samples(server.state()).items()
        if named in series
    }


@pytest.mark.parametrize(
    ("vendor", "key", "name", "expected"), SHOWN, ids=[f"{v}/{name}" for v, _, name, _ in SHOWN]
)
def test_a_payload_shows_what_its_vendor_says(
    vendor: str, key: str, name: str, expected: dict[str, int], server: Serving
) -> None:
    esim_id = f"8944500000000{SHOWN.index((vendor, key, name, expected)):06d}"
    answer = send(server, BY_NAME[vendor], payload(vendor, name, **{key: esim_id}))

    assert (answer.status_code, answer.content.strip()) == (200, SUCCESS)
    shown = series_of(server, vendor, esim_id)
    assert expected.items() <= shown.items(), shown
    resources = [s for s in shown if s.startswith(("esim_sms", "esim_voice"))]
    assert not resources or name == "utilisation-v3-voice"


@pytest.mark.parametrize(
    ("vendor", "name", "event_type"),
    [
        ("esim-access", "check-health", "check_health"),
        ("esim-access", "order-status", "order"),
        ("esim-go", "country-change", "country_change"),
    ],
)
def test_a_payload_without_metrics_of_its_own_is_counted(
    vendor: str, name: str, event_type: str, server: Serving
) -> None:
    counter = (
        f'webhook_events_total{{event_type="{event_type}",result="ignored",vendor="{vendor}"}}'
    )
    before, shown = server.own()[counter], server.state()
    assert send(server, BY_NAME[vendor], payload(vendor, name)).status_code == 200
    assert server.own()[counter] == before + 1
    assert server.state() == shown


@pytest.mark.parametrize(
    ("vendor", "body"),
    [
        ("roamify", {"event_category": "new", "event_type": "brand_new"}),
        ("esim-access", {"notifyType": "BRAND_NEW", "content": None}),
        ("esim-go", {"alertType": "BrandNew"}),
        ("esim-go", {"event": "esim.brand_new", "iccid": 1, "date": "x"}),
    ],
)
def test_an_unknown_type_is_accepted_and_counted(
    vendor: str, body: dict[str, Any], server: Serving
) -> None:
    counter = f'webhook_events_total{{event_type="other",result="ignored",vendor="{vendor}"}}'
    before = server.own()[counter]
    assert send(server, BY_NAME[vendor], body).status_code == 200
    assert server.own()[counter] == before + 1


@pytest.mark.parametrize(
    ("vendor", "name", "changed", "loc"),
    [
        ("esim-access", "data-usage-old", {}, ["content", "esimTranNo"]),
        ("esim-access", "data-usage", {"remain": "much"}, ["content", "remain"]),
        ("esim-access", "data-usage", {"lastUpdateTime": "2026-04-24 06:00"}, None),
        ("esim-go", "utilisation-old-units", {}, ["bundle", "initialQuantity"]),
        ("esim-go", "first-use", {"iccid": 8944500000000000000}, ["iccid"]),
        ("esim-go", "first-use", {"iccid": 8.9445e18}, ["iccid"]),
        ("esim-go", "utilisation-v3-voice", {"unit": "furlongs"}, ["bundle", "unit"]),
    ],
)
def test_what_does_not_fit_is_refused_kept_and_changes_nothing(
    vendor: str, name: str, changed: dict[str, Any], loc: list[str] | None, server: Serving
) -> None:
    shown = server.state()
    answer = send(server, BY_NAME[vendor], payload(vendor, name, **changed))

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error.keys() == {"loc", "msg"}
    assert loc is None or error["loc"] == loc
    assert server.state() == shown
    kept = server.get("/api/v1/rejected").json()["data"]["rejected"]
    (newest,) = [each for each in kept if each["vendor"] == vendor][:1]
    replayed = server.client.post(f"{server.internal}/api/v1/rejected/{newest['id']}/replay")
    assert replayed.status_code == 422


def test_used_up_without_amounts_leaves_nothing_until_the_vendor_says_otherwise(
    server: Serving,
) -> None:
    vendor, key = BY_NAME["esim-access"], "8944500000000888888"

    def left(name: str, **changed: Any) -> float | None:
        body = payload("esim-access", name, esimTranNo=key, **changed)
        assert send(server, vendor, body).status_code == 200
        return series_of(server, "esim-access", key).get(
            'esim_data_remaining_bytes{package_id="plan"}'
        )

    assert left("data-usage") == 10724836480
    used_up = {"esimStatus": "USED_UP", "eventGenerateTime": "2026-04-25T00:00:00Z"}
    assert left("esim-status", **used_up) == 0
    assert f'esim_attention_out_of_data{{vendor="esim-access",esim_id="{key}"' in server.state()
    assert left("esim-status", eventGenerateTime="2026-04-25T01:00:00Z") == 10724836480
    assert left("esim-status", **used_up) == 10724836480
    later = {"eventGenerateTime": "2026-04-27T00:00:00Z"}
    assert left("esim-status-with-volumes", **later, remainVolume=7) == 0
    assert left("esim-status", eventGenerateTime="2026-04-27T01:00:00Z") == 7


# Who is let in


def attempts() -> Iterator[tuple[str, Vendor, str, dict[str, str]]]:
    """Yield what is wrong, whose event it is, and where and with which headers it is sent."""
    for vendor in VENDORS:
        body = known_event(vendor.name)
        yield "nothing", vendor, vendor.webhook_path, {}
        for other in (*SECRETS, "forged"):
            if other == vendor.name:
                continue
            secret = SECRETS.get(other, FORGED)
            proof = vendor.authentication.prove(body, secret.encode())
            path = "/".join(filter(None, (vendor.webhook_path, proof.token)))
            yield f"secret of {other}", vendor, path, dict(proof.headers)
            yield f"token of {other}", vendor, f"{vendor.webhook_path}/{secret}", {}
        proof = vendor.authentication.prove(b"other" + body, SECRETS[vendor.name].encode())
        if not proof.token:
            yield "signature of another body", vendor, vendor.webhook_path, dict(proof.headers)
            yield "secret as token", vendor, f"{vendor.webhook_path}/{SECRETS[vendor.name]}", {}
        else:
            for token in (proof.token[:-1], proof.token + "x", proof.token.upper(), "%2e%2e"):
                yield "nearly", vendor, f"{vendor.webhook_path}/{token}", {}
            yield "in the query", vendor, f"{vendor.webhook_path}?token={proof.token}", {}
            yield "in a header", vendor, vendor.webhook_path, {"Authorization": proof.token}


def known_event(vendor: str) -> bytes:
    """Return an event that would be accepted."""
    match vendor:
        case "esim-access":
            return encoded(payload(vendor, "data-usage", esimTranNo="let-in"))
        case "esim-go":
            return encoded(payload(vendor, "utilisation-v3", iccid="8944500000000999999"))
        case _:
            document = json.loads((PAYLOADS / "usage.json").read_bytes())
            document["data"] |= {"esim_id": "let-in", "timestamp": KNOWN}
            return encoded(document)


ATTEMPTS = list(attempts())


@pytest.mark.parametrize(
    ("vendor", "path", "headers"),
    [attempt[1:] for attempt in ATTEMPTS],
    ids=[f"{vendor.name}: {what}" for what, vendor, *_ in ATTEMPTS],
)
def test_whoever_cannot_prove_to_be_the_vendor_leaves_no_trace(
    vendor: Vendor, path: str, headers: dict[str, str], server: Serving
) -> None:
    before, kept = server.state(), server.get("/api/v1/rejected").json()["data"]
    body = known_event(vendor.name)
    answer = httpx.post(server.public + path, content=body, headers=headers, trust_env=False)

    # A vendor that signs has no paths below its own.
    below = path.startswith(f"{vendor.webhook_path}/") and not (vendor.authentication.token_in_path)
    assert answer.status_code == (404 if below else 401)
    assert answer.json()["status"] == "error"
    assert server.state() == before
    assert server.get("/api/v1/rejected").json()["data"] == kept


def test_every_token_is_accepted_and_counted_by_its_place(server: Serving) -> None:
    vendor = BY_NAME["esim-access"]
    counter = 'webhook_signatures_total{secret="%",vendor="esim-access"}'
    before = server.own()
    assert send(server, vendor, known_event("esim-access")).status_code == 200
    assert send(server, vendor, known_event("esim-access"), ROTATED).status_code == 200
    after = server.own()
    for place in ("0", "1"):
        key = counter.replace("%", place)
        assert after[key] == before[key] + 1


def test_a_token_and_a_secret_are_seen_nowhere(server: Serving) -> None:
    for vendor in VENDORS:
        assert send(server, vendor, known_event(vendor.name)).status_code == 200
        assert send(server, vendor, b"no json").status_code == 400
    token = f"{server.public}/webhooks/esim-access/{SECRETS['esim-access']}"
    answers = [
        *(httpx.request(method, token, trust_env=False) for method in ("GET", "HEAD", "PUT")),
        *(httpx.get(f"{token}{rest}", trust_env=False) for rest in ("/", "/more", "?a=b", "//")),
        *(httpx.post(f"{token}{rest}", trust_env=False) for rest in ("", "/more", "?a=b", "//")),
    ]
    browser = {"Accept": "text/html"}
    answers += [server.get(page, headers=headers) for page in PAGES for headers in ({}, browser)]
    for answer in answers:
        assert answer.status_code < 500
        assert MARK not in answer.text
        assert MARK not in str(answer.headers)
    assert not [line for line in server.lines if MARK in line]


def test_a_health_check_is_answered_only_with_a_token(server: Serving) -> None:
    check = encoded(payload("esim-access", "check-health"))
    vendor = BY_NAME["esim-access"]
    assert send(server, vendor, check).status_code == 200
    assert send(server, vendor, check, FORGED).status_code == 401


# Settings


def test_a_vendor_without_a_secret_is_off_and_says_how_to_switch_it_on(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"{ROTATED}\n")
    flags = [f"--esim-access.secret-file={tmp_path / 'tokens'}"]
    with serving(tmp_path, *flags, environ={}) as server:
        for name in ("roamify", "esim-go"):
            url = f"{server.public}{BY_NAME[name].webhook_path}"
            sent = send(server, BY_NAME[name], known_event(name))
            for answer in (sent, httpx.get(url, trust_env=False)):
                assert answer.status_code == 404
                assert answer.json()["error"].endswith(f"is off: set --{name}.secret-file")
        assert send(server, BY_NAME["esim-access"], known_event("esim-access"), ROTATED).is_success
        assert {"roamify", "esim-go"}.isdisjoint(server.get("/metrics").text.split('"'))


def test_iccids_are_hashed_with_the_key_unless_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "secrets").write_text(f"{SECRETS['esim-go']}\n")
    (tmp_path / "key").write_text("a key\n")
    flags = [f"--esim-go.secret-file={tmp_path / 'secrets'}", "--metrics.iccid-hash-key-file=key"]
    vendor, iccid = BY_NAME["esim-go"], "8944500000000999999"
    with serving(tmp_path, *flags, environ={}) as server:
        for name in ("utilisation-v3", "first-use", "esim-deleted"):
            assert send(server, vendor, payload("esim-go", name, iccid=iccid)).status_code == 200
        text = server.state()
        assert iccid not in text
        assert iccid not in "\n".join(server.lines)
        (esim_id,) = {
            series.partition('esim_id="')[2].partition('"')[0]
            for series in samples(text)
            if series.startswith("esim_status{")
        }
        assert len(esim_id) == 32
        assert f'esim_id="{esim_id}",status="DELETED"' in text


def test_only_certain_addresses_may_send_and_trusted_proxies_name_them(tmp_path: Path) -> None:
    (tmp_path / "tokens").write_text(f"{ROTATED}\n")
    flags = [
        f"--esim-access.secret-file={tmp_path / 'tokens'}",
        "--esim-access.sender-addresses=3.1.131.226,2001:db8::/32",
        "--webhook.trusted-proxies=127.0.0.1,10.0.0.0/8",
    ]
    with serving(tmp_path, *flags, environ={}) as server:
        url = f"{server.public}/webhooks/esim-access/{ROTATED}"

        def code(*forwarded: str) -> int:
            headers = [("X-Forwarded-For", value) for value in forwarded]
            body = known_event("esim-access")
            return httpx.post(url, content=body, headers=headers, trust_env=False).status_code

        assert code("3.1.131.226") == code("2001:db8::7") == code("3.1.131.226, 10.1.2.3") == 200
        assert code("::ffff:3.1.131.226") == code("3.1.131.226:4711") == 200
        assert code("[2001:db8::7]:4711") == code("[2001:db8::7]") == 200
        assert code("192.0.2.1:4711") == code("3.1.131.226:here") == code("[3.1.131.226") == 401
        assert code() == code("") == code("192.0.2.1") == code("here") == 401
        # The client of the proxy wrote what stands before its own address.
        assert code("3.1.131.226, 192.0.2.1") == code("3.1.131.226", "192.0.2.1") == 401


def test_a_known_esim_from_another_address_tells_that_the_vendor_may_have_moved(
    tmp_path: Path,
) -> None:
    (tmp_path / "tokens").write_text(f"{ROTATED}\n")
    flags = [
        f"--esim-access.secret-file={tmp_path / 'tokens'}",
        "--esim-access.sender-addresses=3.1.131.226",
        "--webhook.trusted-proxies=127.0.0.1",
    ]
    with serving(tmp_path, *flags, environ={}) as server:

        def code(
            sender: str, token: str = ROTATED, body: bytes = known_event("esim-access")
        ) -> int:
            url = f"{server.public}/webhooks/esim-access/{token}"
            headers = {"X-Forwarded-For": sender}
            return httpx.post(url, content=body, headers=headers, trust_env=False).status_code

        def moved() -> float:
            metrics = samples(server.get("/metrics").text)
            name = "esim_exporter_webhook_unverified_known_esims_total"
            return metrics[f'{name}{{vendor="esim-access"}}']

        assert code("192.0.2.1") == 401
        assert code("3.1.131.226") == 200
        assert (code("192.0.2.1", token=FORGED), code("192.0.2.1", body=b"{}"), moved()) == (
            401,
            401,
            0,
        )
        assert code("192.0.2.1", body=b" " * 100_000) == 401
        assert (code("192.0.2.1"), moved()) == (401, 1)


@pytest.mark.parametrize(("token", "warned"), [("tok-1", True), ("t" * 20, False)])
def test_a_token_that_may_be_guessed_is_warned_of(
    token: str,
    warned: bool,  # a parameter of the test
    tmp_path: Path,
) -> None:
    (tmp_path / "tokens").write_text(f"{token}\n{ROTATED}\n")
    flags = [f"--esim-access.secret-file={tmp_path / 'tokens'}"]
    with serving(tmp_path, *flags, environ={}) as server:
        warnings = [line for line in server.lines if "a token is short" in line]
        assert (len(warnings) == 1) is warned
        assert token not in "".join(warnings).replace("a token is short", "")


def test_a_reload_replaces_tokens(tmp_path: Path) -> None:
    tokens, vendor = tmp_path / "tokens", BY_NAME["esim-access"]
    tokens.write_text("first-token-0123456789\n")
    flags = [f"--esim-access.secret-file={tokens}", "--web.enable-lifecycle"]
    with serving(tmp_path, *flags, environ={}) as server:
        body = known_event("esim-access")
        assert send(server, vendor, body, ROTATED).status_code == 401
        tokens.write_text(f"{ROTATED}\n")
        assert server.client.post(f"{server.internal}/-/reload").status_code == 200
        assert send(server, vendor, body, ROTATED).status_code == 200
        assert send(server, vendor, body, "first-token-0123456789").status_code == 401
        tokens.write_text("")
        assert server.client.post(f"{server.internal}/-/reload").status_code == 500
        assert until(lambda: server.logged("reload failed"))
        assert send(server, vendor, body, ROTATED).status_code == 200
