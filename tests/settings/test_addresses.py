from __future__ import annotations

import pytest

from exporter.settings.field_types import ListenAddress


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        (":10878", "", 10878),
        ("0.0.0.0:1", "0.0.0.0", 1),
        ("[::1]:9", "::1", 9),
        ("[::]:65535", "::", 65535),
        ("[fe80::1%eth0]:80", "fe80::1%eth0", 80),
        ("localhost:0", "localhost", 0),
        ("esim-exporter.example.org:10877", "esim-exporter.example.org", 10877),
    ],
)
def test_reads_an_address_and_writes_it_back(text: str, host: str, port: int) -> None:
    address = ListenAddress.parse(text)

    assert address == ListenAddress(host, port)
    assert str(address) == text


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        "10877",
        "localhost",
        "localhost:",
        "localhost:http",
        ":65536",
        ":-1",
        ":+1",
        ":1\n",
        "::1:9",
        "[::1]",
        "[127.0.0.1]:9",
        "[zz]:9",
        "[]:9",
        "http://localhost:9",
        "local host:9",
    ],
)
def test_rejects_what_is_not_an_address(text: str) -> None:
    with pytest.raises(ValueError, match="not an address"):
        ListenAddress.parse(text)


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9:1", True),
        ("[::1]:1", True),
        ("[::ffff:127.0.0.1]:1", True),
        ("localhost:1", True),
        (":1", False),
        ("[::]:1", False),
        ("0.0.0.0:1", False),
        ("192.0.2.7:1", False),
        ("[::ffff:192.0.2.7]:1", False),
        ("exporter.example.org:1", False),
    ],
)
def test_only_this_machine_reaches_a_loopback_address(address: str, expected: bool) -> None:
    assert ListenAddress.parse(address).is_loopback is expected
