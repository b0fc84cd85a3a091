from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from pydantic import SecretStr, ValidationError

from exporter import __version__
from exporter.errors import SettingsError
from exporter.settings.definitions import Settings
from exporter.settings.field_types import ListenAddress
from exporter.settings.groups import LogSettings, MetricsSettings, WebhookSettings
from exporter.settings.loading import (
    OPTIONS,
    changed_but_fixed,
    load,
    read_iccid_hash_key,
    read_secrets,
)
from exporter.vendors.registry import FIRST, NAMES, VENDORS

SIGNED = {"ESIM_EXPORTER_WEBHOOK_SECRET": "s3cret"}


def problems(
    *argv: str, environ: dict[str, str] | None = None, yaml: Path | None = None
) -> list[str]:
    """Load wrong settings and return the errors."""
    flags = [f"--config.file={yaml}"] if yaml else []
    with pytest.raises(SettingsError) as caught:
        load([*flags, *argv], SIGNED | (environ or {}))
    return str(caught.value).splitlines()


def config_file(folder: Path, text: str) -> Path:
    path = folder / "esim-exporter.yml"
    path.write_text(text, encoding="utf-8")
    return path


def test_starts_from_the_documented_defaults() -> None:
    settings = load([], SIGNED)

    assert settings.config.file is None
    assert not settings.config.check
    assert (settings.log.level, settings.log.format) == ("info", "logfmt")
    assert settings.web.listen_address == ListenAddress("", 10877)
    assert settings.web.telemetry_path == "/metrics"
    assert settings.web.external_url == ""
    assert settings.web.route_prefix == "/"
    assert not settings.web.enable_lifecycle
    assert not settings.web.enable_admin_api
    assert settings.web.config_file is None
    assert settings.web.allowed_hosts == ()
    assert settings.web.max_requests == 40
    assert settings.web.max_connections == 512
    assert settings.web.idle_timeout == 75
    assert settings.web.scrape_timeout == 60
    assert settings.web.shutdown_delay == 0
    assert settings.web.health_listen_address is None
    assert settings.webhook.listen_address == ListenAddress("", 10878)
    assert settings.webhook.config_file is None
    assert settings.webhook.max_connections == 2048
    assert settings.webhook.idle_timeout == 75
    assert settings.webhook.secret_file is None
    assert not settings.webhook.allow_unsigned
    assert settings.webhook.max_body_bytes == 65536
    assert settings.webhook.read_timeout == 5
    assert settings.webhook.max_pending == 10_000
    assert settings.storage.url == "sqlite:///esim-exporter.db"
    assert settings.storage.backup_folder is None
    assert settings.retention.terminal == 86_400
    assert settings.retention.silent == 30 * 86_400
    assert settings.limits.max_esims == 100_000
    assert settings.limits.max_rejected == 1000
    assert settings.metrics.esim_labels == ("reference_id",)
    assert settings.metrics.iccid_hash_key_file is None
    assert settings.fleet.stale_after == 9 * 3600
    assert settings.of(FIRST).bytes_in_kb == 1024


def test_flag_wins_over_environment_over_file_over_default(tmp_path: Path) -> None:
    path = config_file(
        tmp_path, "web: {listen-address: ':1', max-requests: 1, telemetry-path: /file}\n"
    )
    environ = SIGNED | {
        "ESIM_EXPORTER_CONFIG_FILE": str(path),
        "ESIM_EXPORTER_WEB_LISTEN_ADDRESS": ":2",
        "ESIM_EXPORTER_WEB_MAX_REQUESTS": "2",
    }

    web = load(["--web.listen-address=:3"], environ).web

    assert web.listen_address.port == 3
    assert web.max_requests == 2
    assert web.telemetry_path == "/file"
    assert web.scrape_timeout == 60


VENDOR_TEXTS = {
    f"{vendor.name}.{key}": text
    for vendor in VENDORS
    for key, text, applies in (
        ("secret-file", f"{vendor.name}-secrets", True),
        ("sender-addresses", "192.0.2.1", vendor.authentication.token_in_path),
        ("unit-base", "1000", vendor.names_units),
        ("esim-id", "iccid", vendor.named_by_iccid),
    )
    if applies
}


def test_reads_every_setting_from_flag_environment_and_file_alike(tmp_path: Path) -> None:
    texts = {
        "log.level": "debug",
        "log.format": "json",
        "web.listen-address": "[::1]:1",
        "web.config.file": "web.yml",
        "web.telemetry-path": "/esim/metrics",
        "web.external-url": "https://example.org/esim/",
        "web.route-prefix": "other/",
        "web.enable-lifecycle": "true",
        "web.enable-admin-api": "true",
        "web.allowed-hosts": "Exporter.example.org, exporter",
        "web.max-requests": "0",
        "web.max-connections": "8",
        "web.idle-timeout": "90s",
        "web.scrape-timeout": "1m30s",
        "web.shutdown-delay": "5s",
        "web.health-listen-address": "localhost:0",
        "webhook.listen-address": "127.0.0.1:2",
        "webhook.config.file": "webhook.yml",
        "webhook.max-connections": "9",
        "webhook.idle-timeout": "2m",
        "webhook.secret-file": "secrets",
        "webhook.max-body-bytes": "1024",
        "webhook.read-timeout": "500ms",
        "webhook.trusted-proxies": "192.0.2.7, 2001:db8::/32",
        "webhook.max-pending": "7",
        "storage.url": "postgresql://esim@db/esim",
        "storage.backup-folder": "/backups",
        "shard": "3",
        "total-shards": "4",
        "retention.terminal": "1h",
        "retention.silent": "1w",
        "limits.max-esims": "0",
        "limits.max-attention": "6",
        "limits.max-packages": "8",
        "limits.max-locations": "9",
        "limits.max-rejected": "5",
        "metrics.esim-labels": "iccid_hash, reference_id",
        "metrics.iccid-hash-key-file": "key",
        "fleet.stale-after": "1d",
        "attention.min-used-ratio": "0.8",
        **VENDOR_TEXTS,
    }
    switches = {"web.enable-lifecycle", "web.enable-admin-api"}
    options = {option.key: option for option in OPTIONS}
    groups: dict[str, list[str]] = {}
    for key, text in texts.items():
        group, _, name = key.partition(".")
        groups.setdefault(group, []).append(f"  {name}: {text!r}\n" if name else f"  {text!r}\n")
    lines = (f"{group}:\n{''.join(members)}" for group, members in groups.items())
    path = config_file(tmp_path, "".join(lines))

    by_flag = load(
        [f"--{key}" if key in switches else f"--{key}={text}" for key, text in texts.items()], {}
    )
    by_variable = load([], {options[key].variable: text for key, text in texts.items()})
    by_file = load(["--config.file", str(path)], {})

    untold = {"config.file", "config.check", "webhook.secret", "webhook.allow-unsigned"}
    untold |= {f"{name}.{key}" for name in NAMES for key in ("secret", "allow-unsigned")}
    untold &= set(options)
    assert set(texts) == set(options) - untold
    assert by_flag == by_variable
    for option in OPTIONS:
        if option.key != "config.file":
            assert option.value(by_file) == option.value(by_flag)
    default = load([], SIGNED)
    assert all(options[key].value(by_flag) != options[key].value(default) for key in texts)
    assert by_flag.web.route_prefix == "/other"
    assert by_flag.web.allowed_hosts == ("exporter.example.org", "exporter")
    assert by_flag.web.external_url == "https://example.org/esim"
    assert by_flag.metrics.esim_labels == ("reference_id", "iccid_hash")
    assert by_flag.webhook.secret_file == Path("secrets")


@pytest.mark.parametrize("text", ["{config.file: web.yml}", "{config: {file: web.yml}}"])
def test_a_key_with_more_dots_is_written_either_way(text: str, tmp_path: Path) -> None:
    path = config_file(tmp_path, f"web: {text}\n")

    assert load([f"--config.file={path}"], SIGNED).web.config_file == Path("web.yml")


def test_a_switch_that_the_file_turned_on_can_be_turned_off(tmp_path: Path) -> None:
    path = config_file(tmp_path, "web: {enable-lifecycle: yes}")
    argv = [f"--config.file={path}"]

    assert load(argv, SIGNED).web.enable_lifecycle
    assert not load([*argv, "--no-web.enable-lifecycle"], SIGNED).web.enable_lifecycle


def test_takes_labels_from_a_list_and_none_at_all(tmp_path: Path) -> None:
    path = config_file(tmp_path, "metrics: {esim-labels: [iccid, reference_id]}")
    argv = [f"--config.file={path}"]

    assert load(argv, SIGNED).metrics.esim_labels == ("reference_id", "iccid")
    assert load([*argv, "--metrics.esim-labels="], SIGNED).metrics.esim_labels == ()


@pytest.mark.parametrize("text", ["", "# nothing yet\n", "web:\n", "web:\n  listen-address:\n"])
def test_a_file_may_leave_everything_out(tmp_path: Path, text: str) -> None:
    path = config_file(tmp_path, text)

    assert load([f"--config.file={path}"], SIGNED).web.listen_address.port == 10877


def test_values_in_the_file_are_the_text_that_is_written(tmp_path: Path) -> None:
    # Full YAML 1.1 reads 010 as 8, and no as false.
    path = config_file(tmp_path, "limits: {max-esims: 010}\nwebhook: {secret-file: no}\n")

    settings = load([f"--config.file={path}"], {})

    assert settings.limits.max_esims == 10
    assert settings.webhook.secret_file == Path("no")


def test_an_empty_variable_or_path_counts_as_not_set() -> None:
    environ = SIGNED | {"ESIM_EXPORTER_LOG_LEVEL": "", "ESIM_EXPORTER_CONFIG_FILE": ""}

    assert load(["--webhook.secret-file="], environ) == load([], SIGNED)


@pytest.mark.parametrize("around", ["\n", "\r\n", " ", "\t", " \n \n"])
def test_blanks_and_line_ends_around_a_value_are_no_part_of_it(around: str, tmp_path: Path) -> None:
    values = {
        "STORAGE_URL": "sqlite:////data/esim.db",
        "WEB_LISTEN_ADDRESS": ":1",
        "WEBHOOK_SECRET_FILE": "/run/secrets/webhook",
        "RETENTION_SILENT": "1w",
        "LIMITS_MAX_ESIMS": "5",
        "WEB_ENABLE_LIFECYCLE": "true",
        "LOG_FORMAT": "json",
        "METRICS_ESIM_LABELS": "iccid",
        "WEB_TELEMETRY_PATH": "/esim",
    }
    plain = {f"ESIM_EXPORTER_{name}": value for name, value in values.items()}
    padded = {name: f"{around}{value}{around}" for name, value in plain.items()}
    assert load([], padded) == load([], plain)
    assert load([], SIGNED | {"ESIM_EXPORTER_LOG_LEVEL": around}) == load([], SIGNED)

    url = f"{around}sqlite:///esim.db{around}"
    expected = load(["--storage.url=sqlite:///esim.db"], SIGNED)
    assert load([f"--storage.url={url}"], SIGNED) == expected
    path = config_file(tmp_path, f"storage: {{url: {json.dumps(url)}}}\n")
    assert load([f"--config.file={path}"], SIGNED).storage == expected.storage


@pytest.mark.parametrize("flag", ["--web.config.file", "--storage.backup-folder", "--storage.url"])
def test_a_line_end_within_a_path_is_refused(flag: str) -> None:
    value = "sqlite:///a\nb" if flag == "--storage.url" else "a\nb"
    (problem,) = problems(f"{flag}={value}")
    assert problem.startswith(f"{flag}: must not contain a line end")
    assert "\n" not in problem


def test_the_environment_of_the_process_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ESIM_EXPORTER_LOG_LEVEL", "debug")
    monkeypatch.setenv("LOG", '{"level": "error"}')

    assert load([], SIGNED).log.level == "info"
    assert Settings(webhook=WebhookSettings(allow_unsigned=True)).log == LogSettings()


def test_reports_every_problem_on_a_line_of_its_own_by_the_name_that_was_used(
    tmp_path: Path,
) -> None:
    path = config_file(tmp_path, "limits: {max-esims: -1}\nfleet: {stale-after: 9}\n")

    assert sorted(
        problems(
            "--web.max-requests=many",
            "--log.level=warning",
            environ={"ESIM_EXPORTER_WEB_SCRAPE_TIMEOUT": "0s"},
            yaml=path,
        )
    ) == [
        "--log.level: should be 'debug', 'info', 'warn' or 'error', not 'warning'",
        (
            "--web.max-requests: should be a valid integer, unable to parse string as an integer"
            ", not 'many'"
        ),
        f"{path}: fleet.stale-after: not a duration: '9' (write it like 500ms, 30s, 1h30m or 30d)",
        f"{path}: limits.max-esims: should be greater than or equal to 0, not '-1'",
        "ESIM_EXPORTER_WEB_SCRAPE_TIMEOUT: should be greater than 0, not '0s'",
    ]


@pytest.mark.parametrize(
    ("flag", "reason"),
    [
        ("--web.listen-address=10877", "not an address"),
        ("--web.health-listen-address=localhost", "not an address"),
        ("--web.shutdown-delay=-1s", "not a duration"),
        ("--web.telemetry-path=/", "not a path"),
        ("--web.telemetry-path=metrics", "not a path"),
        ("--web.telemetry-path=/a/../b", "not a path"),
        ("--web.telemetry-path=/a?b", "not a path"),
        ("--web.telemetry-path=/-/healthy", "other endpoints are under"),
        ("--web.telemetry-path=/api", "other endpoints are under"),
        ("--web.telemetry-path=/esims/metrics", "other endpoints are under"),
        ("--web.telemetry-path=/webhooks/roamify", "other endpoints are under"),
        ("--web.route-prefix=/a b", "not a path"),
        ("--web.allowed-hosts=https://example.org", "not a host name"),
        ("--web.allowed-hosts=example.org:80", "not a host name"),
        ("--web.external-url=example.org", "must be a URL"),
        ("--web.external-url=ftp://example.org", "must be a URL"),
        ("--web.external-url=https://", "must be a URL"),
        ("--web.external-url=https://[", "must be a URL"),
        ("--web.external-url=https://example.org:port", "must be a URL"),
        ("--web.external-url=https://example.org/?a=b", "without user, query"),
        ("--web.external-url=https://me@example.org", "without user, query"),
        ("--storage.url=esim.db", "must be sqlite:///"),
        ("--storage.url=sqlite:///", "must be sqlite:///"),
        ("--storage.url=sqlite:///:memory:", "must be sqlite:///"),
        ("--metrics.esim-labels=iccid,imsi", "no such label: 'imsi'"),
        ("--metrics.esim-labels=iccid,iccid_hash", "both iccid and iccid_hash"),
        ("--roamify.unit-base=1001", "should be 1024 or 1000"),
        ("--webhook.max-body-bytes=0", "should be greater than 0"),
        ("--webhook.max-pending=0", "should be greater than 0"),
        ("--limits.max-rejected=0", "should be greater than 0"),
        ("--attention.min-used-ratio=0", "should be greater than 0"),
        ("--attention.min-used-ratio=1.01", "should be less than or equal to 1"),
        ("--attention.min-used-ratio=nan", "should be"),
        ("--retention.silent=0s", "should be greater than 0"),
        ("--log.level", "expected one argument"),
        ("--config.check=yes", "takes no value"),
    ],
)
def test_refuses_a_value_that_does_not_fit(flag: str, reason: str) -> None:
    (line,) = problems(flag)

    assert line.startswith(f"{flag.partition('=')[0]}: ")
    assert reason in line


def test_a_value_with_line_breaks_stays_on_one_line() -> None:
    assert len(problems("--log.format=a\nb")) == 1


def test_route_prefix_follows_the_external_url() -> None:
    url = "--web.external-url=https://example.org/esim/exporter/"

    assert load([url], SIGNED).web.route_prefix == "/esim/exporter"
    assert load([url, "--web.route-prefix=/"], SIGNED).web.route_prefix == "/"


def test_the_label_iccid_hash_needs_a_key() -> None:
    assert problems("--metrics.esim-labels=iccid_hash") == [
        "--metrics.iccid-hash-key-file: must be set for the label iccid_hash"
    ]


def test_the_health_listener_needs_its_own_address() -> None:
    assert problems("--web.health-listen-address=:10878") == [
        "--web.health-listen-address: another listener uses :10878 too"
    ]
    free = ["--web.health-listen-address=localhost:0", "--web.listen-address=localhost:0"]
    assert load(free, SIGNED).web.health_listen_address == ListenAddress("localhost", 0)


def test_refuses_to_start_without_a_secret_unless_unsigned_is_allowed() -> None:
    with pytest.raises(SettingsError, match=r"^no webhook secret: set --webhook\.secret-file or"):
        load([], {})

    assert read_secrets(load(["--webhook.allow-unsigned"], {}), FIRST) == ()


def test_a_blank_secret_counts_as_no_secret() -> None:
    with pytest.raises(SettingsError, match="no webhook secret"):
        load([], {"ESIM_EXPORTER_WEBHOOK_SECRET": " \n\t"})


def test_refuses_a_secret_where_unsigned_is_allowed() -> None:
    assert problems("--webhook.allow-unsigned") == [
        "--webhook.allow-unsigned: a webhook secret is set too; remove one of them"
    ]


@pytest.mark.parametrize(
    "argv",
    [
        ["--webhook.secret=hunter2"],
        ["--webhook.secret", "hunter2"],
        ["--webhook.secrets", "hunter2"],
        ["-webhook.secret=hunter2"],
    ],
)
def test_a_secret_on_the_command_line_is_refused_and_not_repeated(argv: list[str]) -> None:
    with pytest.raises(SettingsError) as caught:
        load(argv, SIGNED)

    assert "hunter2" not in str(caught.value)


def test_names_the_variable_for_a_secret_that_is_given_elsewhere(tmp_path: Path) -> None:
    path = config_file(tmp_path, "webhook: {secret: hunter2}\nconfig: {check: true}\n")

    assert problems("--webhook.secret=hunter2", yaml=path) == [
        "--webhook.secret: must not be a flag, use ESIM_EXPORTER_WEBHOOK_SECRET",
        f"{path}: webhook.secret: cannot be set in a file, use ESIM_EXPORTER_WEBHOOK_SECRET",
        f"{path}: config.check: cannot be set in a file, use --config.check",
    ]


def test_a_secret_need_not_be_text() -> None:
    environ = {"ESIM_EXPORTER_WEBHOOK_SECRET": os.fsdecode(b"hunter2\xff")}

    assert read_secrets(load([], environ), FIRST) == (b"hunter2\xff",)


def test_a_storage_url_is_not_repeated() -> None:
    assert problems("--storage.url=mysql://esim:hunter2@db/esim") == [
        (
            "--storage.url: must be sqlite:///file.db (relative to the working directory), "
            "sqlite:////folder/file.db (absolute), or begin with postgresql://"
        )
    ]


def test_settings_do_not_show_a_secret() -> None:
    settings = load([], {"ESIM_EXPORTER_WEBHOOK_SECRET": "hunter2"})

    assert "hunter2" not in repr(settings) + settings.model_dump_json()


def test_suggests_a_name_that_is_close(tmp_path: Path) -> None:
    path = config_file(tmp_path, "web: {listen_address: ':1'}\nlogs: {level: info}\n")

    assert problems(
        "--web.listen-adress=:1",
        "--nonsense",
        environ={"ESIM_EXPORTER_WEBHOOK_SECRETS": "hunter2", "ESIM_EXPORTER_NONSENSE": "hunter2"},
        yaml=path,
    ) == [
        "--web.listen-adress: no such flag, did you mean --web.listen-address?",
        "--nonsense: no such flag",
        "ESIM_EXPORTER_NONSENSE: no such environment variable",
        (
            "ESIM_EXPORTER_WEBHOOK_SECRETS: no such environment variable, "
            "did you mean ESIM_EXPORTER_WEBHOOK_SECRET?"
        ),
        f"{path}: web.listen_address: no such key, did you mean web.listen-address?",
        f"{path}: logs.level: no such key, did you mean log.level?",
    ]


def test_refuses_arguments_and_abbreviations() -> None:
    assert problems("serve") == ["unexpected argument: 'serve'"]
    assert problems("--log.lev=info")[0].startswith("--log.lev: no such flag")


def test_variables_that_kubernetes_sets_for_a_service_are_not_settings() -> None:
    environ = SIGNED | {
        "ESIM_EXPORTER_SERVICE_HOST": "10.0.0.1",
        "ESIM_EXPORTER_SERVICE_PORT": "10877",
        "ESIM_EXPORTER_SERVICE_PORT_HTTP": "10877",
        "ESIM_EXPORTER_PORT": "tcp://10.0.0.1:10877",
        "ESIM_EXPORTER_PORT_10877_TCP": "tcp://10.0.0.1:10877",
        "ESIM_EXPORTER_PORT_10877_TCP_ADDR": "10.0.0.1",
        "ESIM_EXPORTER_WEBHOOK_SERVICE_HOST": "10.0.0.2",
        "UNRELATED": "x",
    }

    assert load([], environ) == load([], SIGNED)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- web", ": must be a mapping"),
        ("web: 1", ": web: must be a mapping"),
        ("log: {level: [info]}", ": log.level: must be a single value"),
        ("log: {level: {a: b}}", ": log.level: must be a single value"),
        ("web: {config: {}}", ": web.config: no such key, did you mean web.config.file?"),
        ("web: {config.file: a, config: {file: b}}", ": web.config.file is given twice"),
        ("log:\n  level: info\n  level: warn\n", ":3:3: not valid YAML: the key 'level' is given"),
        ("web: {listen-address: [::1]:9}", ":1:"),
        ("log: !!python/name:os.system {}", ":1:6: not valid YAML"),
        ("? [a]\n: b\n", ":1:3: not valid YAML"),
        ("log: \0", ": not valid YAML: not text"),
    ],
)
def test_refuses_a_file_that_is_not_groups_of_keys(tmp_path: Path, text: str, reason: str) -> None:
    path = config_file(tmp_path, text)

    assert problems(yaml=path)[0].startswith(f"{path}{reason}")


def test_names_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.yml"

    assert problems(yaml=missing) == [f"{missing}: No such file or directory"]


def test_reads_several_secrets_from_the_file_and_the_environment(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes(b"\xef\xbb\xbfnew\r\n\n# until May\n  old \n\xff\xfe\nnew\n")
    environ = {"ESIM_EXPORTER_WEBHOOK_SECRET": "old\n  #third\n\n"}

    settings = load([f"--webhook.secret-file={path}"], environ)

    assert read_secrets(settings, FIRST) == (b"new", b"old", b"\xff\xfe", b"#third")


def test_reads_the_secret_file_each_time(tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_text("one\n")
    settings = load([f"--webhook.secret-file={path}"], {})
    before = read_secrets(settings, FIRST)
    path.write_text("two\n")

    assert (before, read_secrets(settings, FIRST)) == ((b"one",), (b"two",))


@pytest.mark.parametrize("content", ["", "\n \n", "# only a comment\n"])
def test_names_a_secret_file_without_a_secret(tmp_path: Path, content: str) -> None:
    path = tmp_path / "secrets"
    path.write_text(content)
    settings = load([f"--webhook.secret-file={path}"], SIGNED)

    with pytest.raises(SettingsError, match=f"^--webhook.secret-file: {path}: holds no secret$"):
        read_secrets(settings, FIRST)


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-16-le", "utf-32"])
def test_a_secret_file_in_another_encoding_is_refused(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "secrets"
    path.write_bytes("correct horse\r\n".encode(encoding))
    settings = load([f"--webhook.secret-file={path}"], {})

    with pytest.raises(SettingsError, match=f"^--webhook.secret-file: {path}: .*in UTF-8$"):
        read_secrets(settings, FIRST)


def test_names_a_secret_file_that_cannot_be_read(tmp_path: Path) -> None:
    settings = load([f"--webhook.secret-file={tmp_path}"], {})

    with pytest.raises(SettingsError, match=f"{tmp_path}: Is a directory"):
        read_secrets(settings, FIRST)


def test_reads_the_key_for_iccid_hashes(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text(" k3y\n")
    settings = load([f"--metrics.iccid-hash-key-file={path}"], SIGNED)

    assert read_iccid_hash_key(settings) == b"k3y"
    assert read_iccid_hash_key(load([], SIGNED)) is None
    path.write_bytes(bytes(range(256)))
    assert read_iccid_hash_key(settings) == bytes(range(256)), "a key need not be text"
    path.write_text("\n")
    with pytest.raises(SettingsError, match=f"{path}: holds no key"):
        read_iccid_hash_key(settings)
    path.write_text("k3y", "utf-16")
    with pytest.raises(SettingsError, match=f"{path}: is text in UTF-16: write it in UTF-8"):
        read_iccid_hash_key(settings)


def test_names_what_changed_but_needs_a_restart() -> None:
    old = load([], SIGNED)
    new = load(
        [
            "--log.level=debug",
            "--log.format=json",
            "--retention.silent=1d",
            "--fleet.stale-after=1h",
            "--webhook.max-body-bytes=1",
            "--webhook.listen-address=:1",
        ],
        {"ESIM_EXPORTER_WEBHOOK_SECRET": "other"},
    )

    assert changed_but_fixed(old, new) == ["--log.format", "--webhook.listen-address"]
    assert changed_but_fixed(old, old) == []


def test_a_reload_applies_exactly_the_documented_settings() -> None:
    assert [option.key for option in OPTIONS if option.reloadable] == [
        "log.level",
        "webhook.secret-file",
        "webhook.secret",
        "webhook.max-body-bytes",
        "webhook.read-timeout",
        "webhook.trusted-proxies",
        "retention.terminal",
        "retention.silent",
        "fleet.stale-after",
        *(
            f"{vendor.name}.{key}"
            for vendor in VENDORS
            for key in ("secret-file", "secret", "sender-addresses")
            if key != "sender-addresses" or vendor.authentication.token_in_path
        ),
    ]


def test_settings_cannot_be_changed_or_extended() -> None:
    settings = load([], SIGNED)

    with pytest.raises(ValidationError, match="frozen"):
        settings.log = LogSettings()  # type: ignore[misc]  # mypy says the same
    with pytest.raises(ValidationError, match="frozen"):
        settings.log.level = "debug"  # type: ignore[misc]  # frozen too
    with pytest.raises(ValidationError, match="not permitted"):
        Settings.model_validate({"webhook": {"secret": SecretStr("s")}, "logs": {}})
    with pytest.raises(ValidationError, match="valid tuple"):
        MetricsSettings.model_validate({"esim_labels": 5})


@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_help_explains_every_flag_and_variable(
    flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        load([flag], {}, prog="esim-exporter serve")

    page = capsys.readouterr().out
    assert caught.value.code == 0
    assert page.startswith("usage: esim-exporter serve [<flags>]\n\nReceive signed webhook events")
    assert "\n  --web.listen-address=:10877     Address that serves metrics" in page
    assert "\n  --[no-]web.enable-lifecycle     Allow reload" in page
    assert "\n  --web.health-listen-address=ADDRESS\n" in page
    assert "\n  --retention.terminal=24h " in page
    assert "\n  $ESIM_EXPORTER_WEBHOOK_SECRET   Secrets" in page
    for option in OPTIONS:
        assert option.help
        assert f"${option.variable}" in page
        assert (f"]{option.key} " if option.switch else f"{option.flag}=") in page or (
            not option.as_flag
        )
    assert "--webhook.secret=" not in page
    assert max(map(len, page.splitlines())) <= 100


def test_version_names_the_program_and_its_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        load(["--version"], {})

    assert caught.value.code == 0
    assert capsys.readouterr().out.startswith(f"esim-exporter, version {__version__} (Python 3.")
