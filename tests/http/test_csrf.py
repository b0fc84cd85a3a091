from __future__ import annotations

import pytest
from werkzeug.datastructures import Headers

from exporter.http.csrf import is_from_another_site, is_own_host, origin_of

OURS = "exporter.example:10877"
PROXY = "https://status.example.org"


@pytest.mark.parametrize(
    ("headers", "refused"),
    [
        ({}, False),  # no browser
        ({"Sec-Fetch-Site": "same-origin"}, False),
        ({"Sec-Fetch-Site": "none"}, False),
        ({"Sec-Fetch-Site": "same-site"}, True),
        ({"Sec-Fetch-Site": "cross-site"}, True),
        ({"Sec-Fetch-Site": "cross-site", "Origin": f"http://{OURS}"}, True),
        ({"Sec-Fetch-Site": "same-origin", "Origin": "null"}, False),
        ({"Origin": f"http://{OURS}"}, False),
        ({"Origin": "http://exporter.example"}, True),
        ({"Origin": "https://evil.example"}, True),
        ({"Origin": "null"}, True),
        ({"Origin": ""}, True),
        ({"Origin": "http://["}, True),
        ({"Origin": PROXY}, False),
        ({"Origin": f"{PROXY}.evil.example"}, True),
    ],
)
def test_only_pages_of_our_own_are_ours(headers: dict[str, str], refused: bool) -> None:
    assert is_from_another_site(Headers({"Host": OURS, **headers}), PROXY) is refused


def test_without_a_host_no_origin_is_ours() -> None:
    assert is_from_another_site(Headers({"Origin": "https://evil.example"}))


def test_no_origin_is_trusted_where_none_is_known() -> None:
    assert origin_of("") == ""
    assert is_from_another_site(Headers({"Host": OURS, "Origin": ""}), origin_of(""))


def test_the_origin_of_a_url_is_written_as_browsers_do() -> None:
    assert origin_of("HTTPS://Status.Example.org:8443/esim") == "https://status.example.org:8443"
    assert origin_of("https://status.example.org:443") == "https://status.example.org"
    assert origin_of("http://[::1]:80/esim") == "http://[::1]"
    assert origin_of("http://status.example.org:443") == "http://status.example.org:443"


@pytest.mark.parametrize(
    ("host", "own"),
    [
        ("localhost", True),
        ("LOCALHOST:10877", True),
        ("localhost.:10877", True),
        ("127.0.0.1:10877", True),
        ("192.0.2.7", True),
        ("[::1]:10877", True),
        ("[fe80::1%eth0]", True),
        ("exporter.example.org:8080", True),
        ("evil.example", False),
        ("evil.example:10877", False),
        ("exporter.example.org.evil.example", False),
        ("evil.example:10877@localhost", False),
        ("127.0.0.1.evil.example", False),
        ("localhost:x", False),
        ("::1", False),
        ("[::1", False),
        ("", False),
        ("a..b", False),
    ],
)
def test_only_names_that_nobody_else_can_own_are_own_hosts(host: str, own: bool) -> None:
    assert is_own_host(host, {"exporter.example.org"}) is own
