"""Files that settings name: what gives no end does not hold up the exporter."""

from __future__ import annotations

import errno
import os
from threading import Thread
from typing import TYPE_CHECKING

import pytest

from exporter.errors import SettingsError
from exporter.http.tls import open_tls
from exporter.http.web_config import read_web_config
from exporter.settings import small_files
from exporter.settings.small_files import MOST, read_small_file

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def pipe(tmp_path: Path) -> Path:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    return path


def test_a_file_is_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"ab\r\n" * 100_000)
    assert read_small_file(path) == path.read_bytes()


def test_a_pipe_of_the_shell_is_read_to_its_end(pipe: Path) -> None:
    writing = Thread(target=pipe.write_bytes, args=(b"secret" * 50_000,))
    writing.start()
    content = b""
    while not content:  # until the other side has opened it
        content = read_small_file(pipe)
    writing.join()
    assert content == b"secret" * 50_000


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(small_files, "PATIENCE", 0.01)


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_nobody_writes_to_is_given_up(pipe: Path) -> None:
    with pytest.raises(OSError, match="gives no end"):
        read_small_file(pipe)


@pytest.mark.usefixtures("impatient")
def test_a_pipe_that_stays_open_is_given_up(pipe: Path) -> None:
    reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(pipe, os.O_WRONLY)
    try:
        with pytest.raises(OSError, match="gives no end") as caught:
            read_small_file(pipe)
    finally:
        os.close(writer)
        os.close(reader)
    assert caught.value.errno == errno.ETIMEDOUT


def test_a_device_without_an_end_is_too_large(tmp_path: Path) -> None:
    path = tmp_path / "zero"
    path.symlink_to("/dev/zero")
    with pytest.raises(OSError, match=f"is larger than {MOST >> 20} MiB"):
        read_small_file(path)


def test_a_folder_is_not_read(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError):
        read_small_file(tmp_path)


@pytest.mark.usefixtures("impatient")
def test_a_certificate_that_is_a_pipe_is_an_error_of_settings(tmp_path: Path, pipe: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text(f"tls_server_config:\n  cert_file: {pipe}\n  key_file: {pipe}\n")
    section = read_web_config(config).tls_server_config
    assert section
    with pytest.raises(SettingsError, match=r"cert_file: .*gives no end"):
        open_tls(section)


def test_brackets_without_end_are_an_error_of_settings(tmp_path: Path) -> None:
    config = tmp_path / "web.yml"
    config.write_text("[" * 5000)
    with pytest.raises(SettingsError, match="not valid YAML"):
        read_web_config(config)
