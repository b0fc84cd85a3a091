"""The JSON API of a real server: its answers, its permissions, and the changes it makes."""

from __future__ import annotations

import asyncio
import base64
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import bcrypt
import pytest
from documented import SCHEMA, ask
from hypothesis import assume, given, settings
from running import PAYLOADS, USAGE, Serving, encoded, event, samples, serving
from schemathesis import GenerationMode
from schemathesis.specs.openapi.checks import positive_data_acceptance

from exporter.endpoints.api.endpoint_table import ENDPOINTS, ERROR_TYPES, ROOT
from exporter.ingest.rejected_deliveries import RejectedDeliveries, RejectedDelivery, digest_of
from exporter.storage.contract import Changes
from exporter.storage.sqlite.storage import SqliteStorage

if TYPE_CHECKING:
    from collections.abc import Iterator

    from conftest import Serve
    from schemathesis import Case

    from exporter.endpoints.api.endpoint_table import Endpoint

ICCID = "8991234567890123456"
ESIM = "c2a9cdae-430e-4251-bf65-a84df4562ed9"
UPGRADE = int(time.time()) - 3600
"""Unix seconds at which a delivery arrived that the version of that time could not read."""

DOCS = Path(__file__).parents[2] / "docs"
DOCUMENT = DOCS / "openapi.json"

EXAMPLES = 12
"""Generated requests to each endpoint, valid and invalid ones."""

BALANCE = (PAYLOADS / "partner-low-balance.json").read_bytes()


@pytest.fixture(scope="module")
def backups(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("backups")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, backups: Path) -> Iterator[Serving]:
    flags = ("--web.enable-admin-api", f"--storage.backup-folder={backups}")
    with serving(tmp_path_factory.mktemp("api"), *flags) as process:
        assert process.post(USAGE).status_code == 200
        assert process.post(BALANCE).status_code == 200
        yield process


@pytest.fixture(scope="module")
def upgraded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server whose storage has a delivery that an older version could not read and kept."""
    folder = tmp_path_factory.mktemp("upgraded")
    asyncio.run(keep(folder / "esim-exporter.db", encoded(event(esim_id="from-before"))))
    with serving(folder, "--web.enable-admin-api", "--metrics.esim-labels=iccid") as process:
        yield process


async def keep(path: Path, body: bytes) -> None:
    storage = await SqliteStorage.open(path)
    draft = RejectedDeliveries(9).draft()
    draft.add(RejectedDelivery("roamify", "invalid", (), body, UPGRADE, UPGRADE))
    await storage.commit(Changes(draft.changes()))
    await storage.close()


def new_esim(server: Serving, **data: Any) -> str:
    """Deliver the first event of an eSIM; return its id."""
    document = event(**data)
    assert server.post(document).status_code == 200
    return str(document["data"]["esim_id"])


def rejected(server: Serving, body: bytes, code: int = 422) -> str:
    """Post a body that is rejected; return the id of the rejected delivery."""
    assert server.post(body).status_code == code
    return digest_of(body)


def ids(server: Serving) -> list[str]:
    return [item["id"] for item in ask(server, "/rejected")["rejected"]]


def consumed(server: Serving) -> float:
    """Return the bytes that the fleet consumed of the sample package."""
    series = samples(server.state())
    (total,) = (v for k, v in series.items() if k.startswith("esim_fleet_data_consumed_bytes"))
    return total


# Reading


def test_status_describes_the_whole_exporter(server: Serving) -> None:
    status = ask(server, "/status")

    assert status["storage"]["working"]
    assert status["storage"]["size_bytes"] > 0
    assert (status["esims_over_limit"], status["esims_limit"]) == (0, 100000)
    assert 0 <= status["time"] - status["started"] < 300
    (vendor,) = status["vendors"]
    assert vendor["esims"]["ACTIVATED"] == status["esims"] >= 1
    assert status["started"] <= vendor["last_received"] <= status["time"]
    assert vendor["balances"] == [
        {"currency": "USD", "balance": 50.0, "threshold": 100.0, "time": 1673123456}
    ]


def test_a_list_is_paged_sorted_and_filtered(server: Serving) -> None:
    names = [new_esim(server, esim_id=f"paged-{n}", reference_id=f"r{n}") for n in "ABC"]
    first = ask(server, "/esims?prefix=paged-&limit=2")
    second = ask(server, f"/esims?prefix=paged-&limit=2&after={quote(first['next'])}")
    backwards = ask(server, "/esims?prefix=paged-&order=desc&vendor=roamify&status=ACTIVATED")
    one = ask(server, "/esims?reference_id=rB&min_data_used_share=0.5&over_limit=false")

    listed = [esim["esim_id"] for page in (first, second) for esim in page["esims"]]
    assert listed == names
    assert second["next"] is None
    assert [esim["esim_id"] for esim in backwards["esims"]] == names[::-1]
    assert [esim["esim_id"] for esim in one["esims"]] == ["paged-B"]
    assert one["esims"][0]["data_used_share"] == 0.5
    assert ask(server, "/esims?min_data_used_share=1")["esims"] == []


def test_esims_out_of_data_are_listed_with_the_time_since_when(server: Serving) -> None:
    empty = {"isUnlimited": False, "allowed_data": 1024, "remaining_data": 0}
    nearly = empty | {"remaining_data": 100}
    for number, usage in enumerate((empty, empty, nearly)):
        new_esim(server, esim_id=f"out-{number}", timestamp=UPGRADE + number, usage_data=usage)
    newest = ask(server, "/esims?out_of_data=true&sort=out_of_data_since&order=desc&limit=1")
    rest = ask(
        server,
        "/esims?out_of_data=true&sort=out_of_data_since&order=desc&after=" + quote(newest["next"]),
    )

    (item,) = newest["esims"]
    assert (item["esim_id"], item["out_of_data"]) == ("out-1", True)
    assert item["out_of_data_since"] == UPGRADE + 1
    assert item["out_of_data_package"] == "esim-afghanistan-7days-1gb-all"
    assert [esim["esim_id"] for esim in rest["esims"]] == ["out-0"]
    others = ask(server, "/esims?out_of_data=false&prefix=out-")["esims"]
    assert [(esim["esim_id"], esim["out_of_data_since"]) for esim in others] == [("out-2", None)]
    nearly_out = ask(server, "/esims?about_to_run_out=true&status=ACTIVATED")["esims"]
    assert [esim["esim_id"] for esim in nearly_out] == ["out-2"]
    assert ask(server, "/packages")["packages"][0]["out_of_data"] == 2


def test_one_esim_is_shown_in_full_without_its_iccid(server: Serving) -> None:
    esim = ask(server, f"/esims/{ESIM}")

    assert esim["esim"]["packages"] == ["esim-afghanistan-7days-1gb-all"]
    assert esim["info"] == {"reference_id": "ref_1234567890"}
    (allowance,) = esim["allowances"]
    assert allowance["package_name"] == "1 GB - 7 Days"
    assert allowance["data"]["history"] == [{"time": 1700000000, "used": 512 << 20}]
    assert allowance["voice"]["allowed"] == 500 * 60
    assert allowance["locations"] == {"Afghanistan": 300 << 20}
    assert esim == ask(server, f"/esims/{ESIM}?vendor=roamify")
    assert ICCID not in str(esim)


@pytest.mark.parametrize("esim_id", ["a/b", "/", "a b?c#d%2F", "é\"'<\N{SNOWMAN}", "...", "a\n"])
def test_any_id_has_an_address(esim_id: str, server: Serving) -> None:
    new_esim(server, esim_id=esim_id)
    path = quote(esim_id, safe="")

    assert ask(server, f"/esims/{path}")["esim"]["esim_id"] == esim_id
    assert ask(server, f"/esims/{path}", "DELETE")["esim_id"] == esim_id


def test_an_iccid_is_shown_only_where_a_label_shows_it(upgraded: Serving) -> None:
    upgraded.post(USAGE)

    assert ask(upgraded, f"/esims/{ESIM}")["info"] == {"iccid": ICCID}
    assert ICCID not in upgraded.get(f"{ROOT}/esims").text


def test_packages_are_listed_with_their_sums(server: Serving) -> None:
    (package,) = ask(server, "/packages")["packages"]

    assert package["package_name"] == "1 GB - 7 Days"
    assert package["over_percent"]["data"]["50"] == sum(package["esims"].values())


def test_deliveries_are_listed_with_their_outcome(server: Serving) -> None:
    esim_id = new_esim(server)
    document = event(esim_id=esim_id)
    server.post(document)
    server.post(document, secret=b"wrong")
    rejected(server, b"not JSON", 400)
    events = ask(server, "/events?limit=4")["events"]

    listed = [(e["code"], e["outcome"], e["event_type"], e["esim_id"]) for e in events]
    assert listed == [
        (400, "malformed", None, None),
        (401, "signature", None, None),
        (200, "duplicate", "usage", esim_id),
        (200, "accepted", "usage", esim_id),
    ]
    assert "X-Roamify-Signature" in events[1]["error"]
    assert ICCID not in str(events)
    of_it = ask(server, f"/events?esim_id={esim_id}&vendor=roamify&outcome=accepted")["events"]
    assert len(of_it) == 1
    assert ask(server, "/events?vendor=nobody")["events"] == []


def test_rejected_deliveries_are_listed_newest_first_without_bodies(server: Serving) -> None:
    first, second = rejected(server, b'{"event_type": 1}'), rejected(server, b'{"event_type": 2}')
    assert rejected(server, b'{"event_type": 1}') == first
    answer = ask(server, "/rejected?limit=2")

    listed = [(each["id"], each["deliveries"], each["reason"]) for each in answer["rejected"]]
    assert listed == [(first, 2, "invalid"), (second, 1, "invalid")]
    assert answer["rejected"][0]["errors"][0]["loc"] == ["event_type"]
    assert ask(server, "/rejected?offset=1&limit=1")["rejected"][0]["id"] == second
    assert answer["total"] == len(ids(server))


# Answers as documented


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: endpoint.name)
def test_answers_are_as_documented_whatever_is_asked(endpoint: Endpoint, server: Serving) -> None:
    operation = SCHEMA[ROOT + endpoint.path][endpoint.method]

    @settings(max_examples=EXAMPLES)
    @given(
        case=operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
        | operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    )
    def try_it(case: Case[Any]) -> None:
        query = [quote(str(value)) for value in (case.query or {}).values()]
        assume(sum(map(len, query)) < 12_000)  # a longer head is refused with 431
        # Cursors are opaque, so the API refuses made-up ones.
        excluded: list[Any] = [positive_data_acceptance] if "after" in (case.query or {}) else []
        case.call_and_validate(base_url=server.internal, excluded_checks=excluded)

    try_it()


def test_the_document_that_is_served_is_the_one_committed(server: Serving) -> None:
    response = server.get(f"{ROOT}/openapi.json")

    assert response.headers["Content-Type"] == "application/json"
    assert response.content == DOCUMENT.read_bytes()


def test_the_documentation_has_every_endpoint() -> None:
    text = (DOCS / "api.md").read_text(encoding="utf-8")
    missing = [e.name for e in ENDPOINTS if f"`{e.method} {ROOT}{e.path}`" not in text]

    assert not missing


# Wrong requests


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("/status?x=1", "x: no such parameter; there is none"),
        ("/esims?colour=red", "colour: no such parameter; there are about_to_run_out, after"),
        ("/esims?limit=5&limit=6", "limit: given 2 times"),
        ("/esims?limit=501", "limit: must be a number from 1 to 500"),
        ("/esims?limit=-1", "limit"),
        ("/esims?limit=%D9%A1", "limit"),
        ("/esims?limit=", "limit"),
        ("/esims?limit=99999999999999999999999", "limit"),
        ("/esims?status=activated", "status: must be one of NEW, INSTALLED"),
        ("/esims?sort=age", "sort: must be one of esim_id, data_used_share, last_event"),
        ("/esims?over_limit=1", "over_limit: must be true or false"),
        ("/esims?min_data_used_share=75", "min_data_used_share: must be a number from 0 to 1"),
        ("/esims?min_data_used_share=NaN", "min_data_used_share"),
        ("/esims?min_data_used_share=true", "min_data_used_share"),
        ("/esims?min_data_used_share=%5B1%5D", "min_data_used_share"),
        ("/esims?prefix=", "prefix: must be a text of 1 to 256 characters"),
        (f"/esims?vendor={'x' * 257}", "vendor"),
        ("/esims?after=abc", "after: no such page"),
        ("/events?limit=1201", "limit"),
    ],
)
def test_an_error_names_the_wrong_parameter(query: str, named: str, server: Serving) -> None:
    answer = ask(server, query, code=400)

    assert answer["errorType"] == "bad_data"
    assert answer["error"].startswith(named)


@pytest.mark.parametrize(
    ("method", "path", "code", "error"),
    [
        ("GET", "/nothing", 404, "not found"),
        ("GET", "/esims/", 404, "not found"),
        ("POST", "/esims", 405, "method not allowed"),
        ("PUT", "/esims/x", 405, "method not allowed"),
        ("GET", "/admin/backup", 405, "method not allowed"),
        ("OPTIONS", "/status", 405, "method not allowed"),
    ],
)
def test_every_refusal_has_the_same_form(
    method: str, path: str, code: int, error: str, server: Serving
) -> None:
    response = server.client.request(method, f"{server.internal}{ROOT}{path}")

    assert response.status_code == code
    assert response.headers["Content-Type"] == "application/json"
    assert response.json() == {"status": "error", "errorType": ERROR_TYPES[code], "error": error}
    assert ("Allow" in response.headers) == (code == 405)


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/esims/nobody"),
        ("GET", f"/esims/{ESIM}?vendor=nobody"),
        ("DELETE", "/esims/nobody"),
        ("DELETE", f"/esims/{ESIM}?vendor=nobody"),
        ("GET", "/rejected/abc"),
        ("DELETE", "/rejected/abc"),
        ("POST", "/rejected/abc/replay"),
    ],
)
def test_unknown_ids_are_not_found(method: str, path: str, server: Serving) -> None:
    assert ask(server, path, method, 404)["error"].startswith("there is no such ")


def test_head_is_answered_like_get_without_a_body(server: Serving) -> None:
    get, head = (
        server.client.request(method, f"{server.internal}{ROOT}/esims/{ESIM}")
        for method in ("GET", "HEAD")
    )

    assert head.status_code == 200
    assert head.content == b""
    assert head.headers["Content-Length"] == str(len(get.content))


def test_requests_are_counted_under_bounded_names(server: Serving) -> None:
    ask(server, f"/esims/{ESIM}")
    server.get(f"{ROOT}/whatever")
    handlers = {
        series.split('handler="')[1].split('"')[0]
        for series in server.own()
        if series.startswith("http_requests_total")
    }

    assert f"{ROOT}/esims/<identifier:esim_id>" in handlers
    assert not [name for name in handlers if ESIM in name or "whatever" in name]


# Changes


def test_a_deleted_esim_is_gone_and_what_it_consumed_stays(server: Serving) -> None:
    esim_id = new_esim(server)
    before = consumed(server)
    deleted = ask(server, f"/esims/{esim_id}", "DELETE")

    assert deleted == {"vendor": "roamify", "esim_id": esim_id, "allowances": 1}
    assert f'esim_id="{esim_id}"' not in server.state()
    assert consumed(server) == before
    ask(server, f"/esims/{esim_id}", code=404)
    server.post(event(esim_id=esim_id, timestamp=1700000001))
    assert ask(server, f"/esims/{esim_id}")["allowances"][0]["data"]["consumed"] == 512 << 20


@pytest.mark.parametrize(
    ("body", "shown", "encoding"),
    [
        (b'{"x": "\xc3\xa9"}', '{"x": "é"}', "utf-8"),
        (b"\xff\x00", base64.b64encode(b"\xff\x00").decode(), "base64"),
    ],
)
def test_the_body_of_a_rejected_delivery_is_shown(
    body: bytes, shown: str, encoding: str, server: Serving
) -> None:
    id_ = rejected(server, body, 400 if encoding == "base64" else 422)
    answer = ask(server, f"/rejected/{id_}")

    assert (answer["body"], answer["encoding"]) == (shown, encoding)
    assert answer["rejected"]["body_bytes"] == len(body)


def test_a_failed_replay_gives_the_reason_and_keeps_the_delivery(server: Serving) -> None:
    invalid, malformed = rejected(server, b'{"a": 1}'), rejected(server, b"<a>", 400)
    why = ask(server, f"/rejected/{invalid}/replay", "POST", 422)
    assert why["errorType"] == "unprocessable"
    assert why["error"] == "event_type: is required"
    assert why["data"] == {"errors": [{"loc": ["event_type"], "msg": "is required"}]}

    why = ask(server, f"/rejected/{malformed}/replay", "POST", 422)
    assert why["data"] == {"errors": []}
    assert {invalid, malformed} <= set(ids(server))
    for id_ in (invalid, malformed):
        assert ask(server, f"/rejected/{id_}", "DELETE") == {"id": id_}
    assert not {invalid, malformed} & set(ids(server))


def test_a_delivery_that_can_be_read_after_an_upgrade_is_replayed(upgraded: Serving) -> None:
    (id_,) = ids(upgraded)

    assert ask(upgraded, f"/rejected/{id_}/replay", "POST") == {"id": id_, "result": "accepted"}
    assert ids(upgraded) == []
    assert ask(upgraded, "/esims/from-before")["esim"]["received"] == UPGRADE


def test_a_backup_opens_and_gives_the_same_text(
    server: Serving, backups: Path, tmp_path: Path
) -> None:
    backup = ask(server, "/admin/backup", "POST")
    path = backups / backup["path"].rpartition("/")[2]

    assert backup["path"] == str(path)
    assert backup["size_bytes"] == path.stat().st_size
    with serving(tmp_path, f"--storage.url=sqlite:///{path}") as restored:
        assert restored.state() == server.state()
        assert sorted(ids(restored)) == sorted(ids(server))


def test_a_backup_is_written_beside_the_database_by_default(upgraded: Serving) -> None:
    backup = ask(upgraded, "/admin/backup", "POST")

    assert backup["path"].startswith(f"{upgraded.folder.resolve()}/esim-exporter-")


def test_a_backup_that_cannot_be_written_is_refused(
    server: Serving, backups: Path, tmp_path: Path
) -> None:
    away = backups.rename(tmp_path / "away")
    answer = ask(server, "/admin/backup", "POST", 503)
    away.rename(backups)

    assert answer["errorType"] == "unavailable"
    assert "No such file" in answer["error"]
    assert server.post(USAGE).status_code == 200


# Permissions


def test_administration_is_off_unless_set_and_users_are_asked_for_passwords(
    serve: Serve, tmp_path: Path
) -> None:
    secret = bcrypt.hashpw(b"wonderland", bcrypt.gensalt(4)).decode()
    (tmp_path / "web.yml").write_text(f"basic_auth_users: {{alice: {secret}}}\n")
    server = serve("--web.config.file=web.yml", "--web.route-prefix=/esim", ready="/esim/-/ready")
    address = f"{server.internal}/esim{ROOT}"

    for endpoint in ENDPOINTS:
        url = address + endpoint.path
        stranger = server.client.request(endpoint.method, url)
        assert stranger.status_code == 401
        assert stranger.json()["errorType"] == "unauthorized"
        assert stranger.headers["WWW-Authenticate"].startswith("Basic ")
        alice = server.client.request(endpoint.method, url, auth=("alice", "wonderland"))
        if endpoint.admin:
            assert alice.status_code == 403
            assert "--web.enable-admin-api" in alice.json()["error"]
        else:
            assert alice.status_code in {200, 404}
    document = server.client.get(f"{address}/openapi.json", auth=("alice", "wonderland"))
    assert document.json()["openapi"].startswith("3.1.")
    assert document.json()["servers"] == [{"url": "/esim"}]
