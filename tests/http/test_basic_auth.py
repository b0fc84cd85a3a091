"""Passwords of the internal endpoints."""

from __future__ import annotations

import asyncio
import base64
import signal
import threading
from typing import TYPE_CHECKING

import bcrypt
import pytest
from running import SUCCESS, WAIT, connect, event, read_answer, until

from exporter.errors import Overloaded
from exporter.http import basic_auth
from exporter.http.basic_auth import MAX_CHECKS, BasicAuth
from exporter.http.quart_application import application
from exporter.selfmetrics import SelfMetrics

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx
    from conftest import Serve
    from running import Serving


def hashed(password: str, kind: str = "2y", cost: int = 4) -> str:
    """Return a hash as htpasswd writes it."""
    made = bcrypt.hashpw(password.encode(), bcrypt.gensalt(cost)).decode()
    return made.replace("$2b$", f"${kind}$")


def basic(user: str, password: str | bytes) -> str:
    """Return the header of a client that knows a password."""
    secret = password if isinstance(password, bytes) else password.encode()
    return "Basic " + base64.b64encode(user.encode() + b":" + secret).decode()


USERS = {
    "alice": hashed("wonderland"),
    "bob": hashed("Pässwörd", "2b"),
    "carol": hashed("a:b", "2a"),
}


def write(path: Path, users: dict[str, str]) -> None:
    lines = "".join(f"  {name}: {hash_}\n" for name, hash_ in users.items())
    headers = "http_server_config: {headers: {X-Content-Type-Options: nosniff}}\n"
    path.write_text(f"basic_auth_users:\n{lines}{headers}")


@pytest.fixture
def server(serve: Serve, tmp_path: Path) -> Serving:
    write(tmp_path / "web.yml", USERS)
    return serve("--web.config.file=web.yml", "--web.enable-lifecycle")


def ask(
    server: Serving, path: str = "/metrics", authorization: str | None = None
) -> httpx.Response:
    headers = {} if authorization is None else {"Authorization": authorization}
    return server.get(path, headers=headers)


def code(server: Serving, user: str, password: str) -> int:
    return ask(server, authorization=basic(user, password)).status_code


def test_a_browser_without_a_password_gets_no_page(server: Serving) -> None:
    for path in ("/", "/nothing"):
        refused = server.get(path, headers={"Accept": "text/html"})
        assert (refused.status_code, refused.text) == (401, "Unauthorized\n")


def test_the_internal_endpoints_need_a_password_and_health_does_not(server: Serving) -> None:
    right = basic("alice", "wonderland")
    for path in ("/", "/metrics", "/metrics?collect[]=exporter"):
        refused = ask(server, path)
        assert refused.status_code == 401
        assert refused.headers["WWW-Authenticate"].startswith("Basic realm=")
        assert "esim_" not in refused.text
        assert ask(server, path, right).status_code == 200
    for method, path in (("POST", "/-/reload"), ("POST", "/-/quit"), ("GET", "/nothing")):
        refused = server.client.request(method, server.internal + path)
        assert refused.status_code == 401
    assert ask(server, "/nothing", right).status_code == 404
    for path in ("/-/healthy", "/-/ready"):
        assert ask(server, path).status_code == 200
        assert ask(server, path, basic("alice", "wrong")).status_code == 200
    assert server.post(event()).content.strip() == SUCCESS
    assert server.client.get(server.webhook).status_code == 200
    counted = {'http_requests_total{code="401",handler="/metrics",method="GET"} 2'}
    text = ask(server, authorization=right).text.replace("esim_exporter_", "")
    assert counted <= {line.removesuffix(".0") for line in text.splitlines()}


def test_hashes_of_every_kind_are_checked(server: Serving) -> None:
    for user, password in (("alice", "wonderland"), ("bob", "Pässwörd"), ("carol", "a:b")):
        assert [code(server, user, password), code(server, user, password)] == [200, 200]
        for wrong in ("", f"{password} ", password.upper(), "wonderland\0"):
            assert code(server, user, wrong) == 401
    for user in ("", "Alice", "dave", "é"):
        assert code(server, user, "wonderland") == 401


def test_a_malformed_header_is_no_password(server: Serving) -> None:
    for authorization in (
        *("", "Basic", "Basic !", "Basic YQ", "Basic YWxpY2U=", "Bearer x", "alice", "Basic é"),
        "Basic " + base64.b64encode(b"\xff:wonderland").decode(),
        "Basic YWxpY2U6d29uZGVybGFuZA== x",
        "Basic " + "A" * 10_000,
    ):
        head = b"GET /metrics HTTP/1.1\r\nHost: x\r\nAuthorization: " + authorization.encode()
        with connect(server.internal) as connection:
            connection.sendall(head + b"\r\n\r\n")
            assert read_answer(connection, "GET").code == 401


def test_the_scheme_is_written_in_any_case(server: Serving) -> None:
    right = basic("alice", "wonderland").removeprefix("Basic ")

    assert ask(server, authorization=f"bASIC  {right}").status_code == 200


def test_every_answer_has_the_headers_of_the_file(server: Serving) -> None:
    for answer in (ask(server), ask(server, "/-/ready"), ask(server, "/x" * 10_000)):
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "X-Content-Type-Options" not in server.post(event()).headers


def test_users_are_reloaded_without_a_restart(server: Serving, tmp_path: Path) -> None:
    assert [code(server, "alice", "wonderland"), code(server, "dave", "new")] == [200, 401]
    write(tmp_path / "web.yml", {"alice": hashed("other"), "dave": hashed("new")})

    server.send(signal.SIGHUP)

    until(lambda: server.logged("reloaded"))
    assert [code(server, "alice", "wonderland"), code(server, "alice", "other")] == [401, 200]
    assert [code(server, "bob", "Pässwörd"), code(server, "dave", "new")] == [401, 200]
    (tmp_path / "web.yml").write_text("basic_auth_users: {dave: x}\n")
    until(lambda: server.logged("reload failed"))  # the change of the file is noticed
    assert [code(server, "bob", "Pässwörd"), code(server, "dave", "new")] == [401, 200]
    assert not any("$2" in line or "wonderland" in line for line in server.lines)


def test_where_both_listeners_are_one_deliveries_need_no_password(
    serve: Serve, tmp_path: Path
) -> None:
    write(tmp_path / "web.yml", USERS)
    free = serve("--webhook.allow-unsigned", environ={})
    address = free.public.removeprefix("http://")
    free.end()
    both = (f"--web.listen-address={address}", f"--webhook.listen-address={address}")
    server = serve("--web.config.file=web.yml", *both, ready="")
    until(lambda: server.logged("state loaded"))
    url = f"http://{address}"

    assert server.client.get(f"{url}/-/ready").status_code == 200
    refused = server.client.get(f"{url}/metrics")
    assert (refused.status_code, refused.json()["code"]) == (401, 401)
    assert refused.headers["WWW-Authenticate"].startswith("Basic")
    unsigned = server.client.post(f"{url}/webhooks/roamify", content=b"{}")
    assert (unsigned.status_code, "WWW-Authenticate" in unsigned.headers) == (401, False)
    assert server.client.get(f"{url}/webhooks/roamify").status_code == 200
    right = {"Authorization": basic("alice", "wonderland")}
    assert server.client.get(f"{url}/metrics", headers=right).status_code == 200


class Checks:
    """The real check. A test sees its calls and can hold them up."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.costs: list[bytes] = []
        self.begun = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self._real = bcrypt.checkpw
        monkeypatch.setattr(bcrypt, "checkpw", self._check)

    def _check(self, password: bytes, hash_: bytes) -> bool:
        self.costs.append(hash_.split(b"$")[2])
        self.begun.set()
        assert self.go_on.wait(WAIT)
        return self._real(password, hash_)


@pytest.fixture
def checks(monkeypatch: pytest.MonkeyPatch) -> Iterator[Checks]:
    checks = Checks(monkeypatch)
    yield checks
    checks.go_on.set()


async def test_a_password_that_was_right_is_not_checked_again(checks: Checks) -> None:
    auth = BasicAuth(USERS)

    for _ in range(3):
        assert await auth.admits(basic("alice", "wonderland"))
    assert len(checks.costs) == 1
    for _ in range(3):
        assert not await auth.admits(basic("alice", "wrong"))
    assert len(checks.costs) == 4
    remembered = repr(vars(auth)).encode()
    assert b"wonderland" not in remembered
    auth.users = {"alice": hashed("wonderland")}
    assert await auth.admits(basic("alice", "wonderland"))
    assert len(checks.costs) == 5  # with another hash the password is checked again


async def test_remembered_verdicts_are_bounded(
    checks: Checks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(basic_auth, "MAX_REMEMBERED", 2)
    auth = BasicAuth({name: hashed(name) for name in "abc"})

    for name in "abac":
        assert await auth.admits(basic(name, name))
    assert len(checks.costs) == 3
    assert await auth.admits(basic("a", "a"))  # used later than b
    assert len(checks.costs) == 3
    assert await auth.admits(basic("b", "b"))
    assert len(checks.costs) == 4


async def test_an_unknown_user_costs_what_a_known_one_does(checks: Checks) -> None:
    auth = BasicAuth({"cheap": hashed("x", cost=4), "dear": hashed("x", cost=5)})

    async def cost(user: str) -> bytes:
        checks.costs.clear()
        assert not await auth.admits(basic(user, "wrong"))
        (found,) = checks.costs
        return found

    assert (await cost("cheap"), await cost("dear")) == (b"04", b"05")
    costs = {user: await cost(user) for user in map(str, range(32))}
    assert set(costs.values()) == {b"04", b"05"}
    assert [await cost(user) for user in costs] == list(costs.values())


async def test_the_part_of_a_password_that_htpasswd_ignores_is_ignored(checks: Checks) -> None:
    auth = BasicAuth({"long": hashed("x" * 72)})

    assert await auth.admits(basic("long", "x" * 100))
    assert not await auth.admits(basic("long", "x" * 71))
    assert len(checks.costs) == 2


async def test_checks_run_beside_the_event_loop_one_at_a_time_and_are_bounded(
    checks: Checks,
) -> None:
    auth = BasicAuth(USERS)
    assert await auth.admits(basic("bob", "Pässwörd"))
    checks.go_on.clear()
    checks.begun.clear()
    asked = [
        asyncio.create_task(auth.admits(basic("alice", f"guess {n}"))) for n in range(MAX_CHECKS)
    ]
    await asyncio.to_thread(checks.begun.wait, WAIT)

    gone, asked = asked[:5], asked[5:]
    for each in gone:
        each.cancel()
    await asyncio.wait(gone)  # their checks go on and count
    with pytest.raises(Overloaded):
        await auth.admits(basic("carol", "a:b"))
    assert await auth.admits(basic("bob", "Pässwörd"))  # is remembered and need not wait
    assert len(checks.costs) == 2

    checks.go_on.set()
    assert await asyncio.gather(*asked) == [False] * (MAX_CHECKS - 5)
    await asyncio.gather(*auth._checks)
    assert await auth.admits(basic("carol", "a:b"))


async def test_too_many_checks_are_answered_with_503(checks: Checks) -> None:
    app = application("x", [], SelfMetrics({}), json_errors=False, auth=BasicAuth(USERS))
    client = app.test_client()
    checks.go_on.clear()

    async def guess(number: int) -> int:
        headers = {"Authorization": basic("alice", f"guess {number}")}
        response = await client.get("/", headers=headers)
        assert ("Retry-After" in response.headers) == (response.status_code == 503)
        return response.status_code

    asked = [asyncio.create_task(guess(number)) for number in range(MAX_CHECKS + 3)]
    while sum(each.done() for each in asked) < 3:  # noqa: ASYNC110  # nothing tells of it
        await asyncio.sleep(0)
    checks.go_on.set()

    codes = await asyncio.gather(*asked)
    assert sorted(codes) == [401] * MAX_CHECKS + [503] * 3


async def test_a_user_who_is_removed_during_the_check_is_not_admitted(checks: Checks) -> None:
    auth = BasicAuth(USERS)
    checks.go_on.clear()
    asked = asyncio.create_task(auth.admits(basic("alice", "wonderland")))
    await asyncio.to_thread(checks.begun.wait, WAIT)

    auth.users = {"bob": USERS["bob"]}
    checks.go_on.set()

    assert not await asked
