"""A reload of secrets and settings, which keeps the last good ones."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from running import LOOPBACK, SIGNED, Serving, event, until

if TYPE_CHECKING:
    from conftest import Serve

OLD, NEW = b"old secret", b"new secret"
SUCCESS = "config_last_reload_successful"


@pytest.fixture
def secrets(tmp_path: Path) -> Path:
    path = tmp_path / "secrets"
    path.write_bytes(OLD)
    return path


@pytest.fixture
def server(serve: Serve, secrets: Path) -> Serving:
    return serve(f"--webhook.secret-file={secrets}", "--web.enable-lifecycle", environ={})


def code(server: Serving, secret: bytes) -> int:
    return server.post(event(), secret).status_code


def replace(path: Path, content: bytes) -> None:
    """Replace a file at once, as careful programs do."""
    path.with_suffix(".new").write_bytes(content)
    path.with_suffix(".new").rename(path)


def test_sighup_reads_the_secrets_again(server: Serving, secrets: Path) -> None:
    assert (code(server, OLD), code(server, NEW)) == (200, 401)
    replace(secrets, NEW)

    server.send(signal.SIGHUP)

    until(lambda: server.logged("reloaded"))
    assert (code(server, OLD), code(server, NEW)) == (401, 200)


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_a_request_reads_the_secrets_again(method: str, server: Serving, secrets: Path) -> None:
    before = server.own()["config_last_reload_success_timestamp_seconds"]
    secrets.write_bytes(NEW)

    response = server.client.request(method, f"{server.internal}/-/reload")

    assert response.status_code == 200
    assert (code(server, OLD), code(server, NEW)) == (401, 200)
    assert server.own()["config_last_reload_success_timestamp_seconds"] > before


def test_a_request_reloads_only_where_that_is_enabled(serve: Serve) -> None:
    server = serve()

    response = server.client.post(f"{server.internal}/-/reload")

    assert response.status_code == 403
    assert "--web.enable-lifecycle" in response.text
    assert server.logged("reloaded") == []
    assert server.get("/-/reload").status_code == 405


def test_a_secret_file_that_changes_is_noticed(server: Serving, secrets: Path) -> None:
    replace(secrets, NEW)

    until(lambda: code(server, NEW) == 200)
    assert code(server, OLD) == 401


@pytest.mark.parametrize("broken", ["empty", "gone"])
def test_a_broken_secret_file_keeps_the_last_good_secrets(
    broken: str, server: Serving, secrets: Path
) -> None:
    succeeded = server.own()["config_last_reload_success_timestamp_seconds"]
    secrets.write_bytes(b"\n# none\n") if broken == "empty" else secrets.unlink()

    response = server.client.post(f"{server.internal}/-/reload")

    assert response.status_code == 500
    assert "--webhook.secret-file" in response.text
    own = server.own()
    assert own[SUCCESS] == 0
    assert own["config_last_reload_success_timestamp_seconds"] == succeeded
    assert code(server, OLD) == 200
    (failure,) = server.logged("reload failed")
    assert (failure["level"], "--webhook.secret-file" in failure["error"]) == ("error", True)

    secrets.write_bytes(NEW)
    server.send(signal.SIGHUP)
    until(lambda: server.own()[SUCCESS] == 1)
    assert code(server, NEW) == 200


def test_sighup_during_the_start_waits_until_the_exporter_serves(tmp_path: Path) -> None:
    process = Serving(tmp_path, LOOPBACK, SIGNED)

    def blocked() -> bool:
        assert process.process.poll() is None
        status = Path(f"/proc/{process.process.pid}/status").read_text()
        mask = int(re.findall(r"^SigBlk:\t(\w+)$", status, re.MULTILINE)[0], 16)
        return bool(mask >> (signal.SIGHUP - 1) & 1)

    until(blocked)
    for _ in range(3):
        process.send(signal.SIGHUP)
    process.wait_until_ready()
    until(lambda: process.logged("reloaded"))
    process.send(signal.SIGHUP)
    until(lambda: len(process.logged("reloaded")) > 1)
    assert process.end() == 0


def test_secrets_are_rotated_without_refusing_a_delivery(server: Serving, secrets: Path) -> None:
    def signatures() -> dict[str, float]:
        counted = {k: v for k, v in server.own().items() if k.startswith("webhook_signatures")}
        return {key.partition('secret="')[2][:1]: value for key, value in counted.items()}

    code(server, OLD)
    replace(secrets, NEW + b"\n" + OLD + b"\n")
    server.client.post(f"{server.internal}/-/reload")

    assert [code(server, OLD), code(server, NEW), code(server, NEW)] == [200, 200, 200]
    assert signatures() == {"0": 3, "1": 1}
    replace(secrets, NEW)
    server.client.post(f"{server.internal}/-/reload")
    assert (code(server, OLD), code(server, NEW)) == (401, 200)


def test_settings_are_read_again_from_the_file(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("log: {level: info}\nretention: {silent: 10s}\nlimits: {max-esims: 10}\n")
    server = serve(f"--config.file={path}")
    server.post(event(status="DELETED"))
    assert server.own()["esims"] == 1

    path.write_text("log: {level: warn}\nretention: {terminal: 1ms}\nlimits: {max-esims: 20}\n")
    server.send(signal.SIGHUP)

    until(lambda: server.logged("change needs a restart"))
    assert [r["setting"] for r in server.logged("change needs a restart")] == ["--limits.max-esims"]
    until(lambda: server.own()["esims"] == 0)
    assert server.own()["expired_total"] == 1
    assert server.own()["esims_limit"] == 10
    assert server.logged("reloaded") == []  # the new level is warn


def test_a_broken_settings_file_keeps_the_last_good_settings(serve: Serve, tmp_path: Path) -> None:
    path = tmp_path / "settings.yml"
    path.write_text("webhook: {max-body-bytes: 100}\n")
    server = serve(f"--config.file={path}")

    path.write_text("webhook: {max-body-bytes: many}\n")
    server.send(signal.SIGHUP)

    until(lambda: server.own()[SUCCESS] == 0)
    assert server.post(event()).status_code == 413
    path.write_text("webhook: {max-body-bytes: 65536}\n")
    os.kill(server.process.pid, signal.SIGHUP)
    until(lambda: server.own()[SUCCESS] == 1)
    assert server.post(event()).status_code == 200


def started_with(serve: Serve, folder: Path, **webhook: object) -> tuple[Serving, Path]:
    """Start with a settings file."""
    file = folder / "settings.yml"
    file.write_text(json.dumps({"webhook": webhook}))
    return serve(f"--config.file={file}", environ={}), file


def test_a_reload_never_turns_signatures_off(serve: Serve, secrets: Path, tmp_path: Path) -> None:
    server, file = started_with(serve, tmp_path, **{"secret-file": str(secrets)})
    replace(file, json.dumps({"webhook": {"allow-unsigned": "true"}}).encode())

    server.send(signal.SIGHUP)

    until(lambda: server.own()[SUCCESS] == 0)
    assert (code(server, OLD), code(server, NEW)) == (200, 401)


def test_a_reload_never_turns_signatures_on(serve: Serve, secrets: Path, tmp_path: Path) -> None:
    server, file = started_with(serve, tmp_path, **{"allow-unsigned": "true"})
    replace(file, json.dumps({"webhook": {"secret-file": str(secrets)}}).encode())

    server.send(signal.SIGHUP)

    until(lambda: server.logged("reloaded"))
    assert {each["setting"] for each in server.logged("change needs a restart")} == {
        "--webhook.allow-unsigned"
    }
    assert code(server, NEW) == 200


def test_a_secret_file_that_a_reload_names_is_watched(
    serve: Serve, secrets: Path, tmp_path: Path
) -> None:
    server, file = started_with(serve, tmp_path, **{"secret-file": str(secrets)})
    other = tmp_path / "others"
    other.write_bytes(OLD)
    replace(file, json.dumps({"webhook": {"secret-file": str(other)}}).encode())
    server.send(signal.SIGHUP)
    until(lambda: server.logged("reloaded"))

    replace(other, NEW)

    until(lambda: code(server, NEW) == 200)
    assert code(server, OLD) == 401
