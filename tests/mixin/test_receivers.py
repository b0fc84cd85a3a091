"""Every kind of receiver, as a real Alertmanager sends to it: title, text and links."""

from __future__ import annotations

import json
import re
import socketserver
import subprocess
import threading
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from email import message_from_string, policy
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import monitoring_stack
import programs
import pytest
from looping import for_every
from running import until

from exporter.mixin.documents import documents
from exporter.mixin.receiver_values import (
    EmailReceiver,
    OpsgenieReceiver,
    PagerdutyReceiver,
    ReceiverKinds,
    ReceiversValues,
    SlackReceiver,
    WebhookReceiver,
)
from exporter.mixin.values import MixinValues

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

KINDS = ("webhook", "pagerduty", "opsgenie", "slack", "email")

HOSTILE = 'x"y\\z {}+&=,%é'
"""A value of a label that every part of a URL, a matcher or a template could break on."""

LABELS = {
    "alertname": "EsimExporterDown",
    "severity": "critical",
    "scope": "exporter",
    "job": "esim-exporter",
    "vendor": HOSTILE,
}
ANNOTATIONS = {
    "summary": "Nothing works.",
    "description": "The exporter of booking-4711 & <!channel> does not work.",
    "runbook_url": "https://runbooks.test/EsimExporterDown.md",
    "dashboard_url": "https://grafana.test/d/esim-exporter?a=1&b=2",
    "status_page_url": "https://esim.test/",
}
SECRET = "0123456789abcdef0123456789abcdef"


@dataclass
class Sink:
    """What was sent to this machine, by HTTP and by mail."""

    port: int = 0
    posts: list[tuple[str, dict[str, str], dict[str, Any]]] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    mail_port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"


@contextmanager
def sinking() -> Iterator[Sink]:
    sink = Sink()

    class Http(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            sink.posts.append((self.path, dict(self.headers), body))
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            pass

    class Smtp(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 sink\r\n")
            while line := self.rfile.readline():
                command = line[:4].upper()
                if command == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    lines = iter(self.rfile.readline, b".\r\n")
                    sink.mails.append(b"".join(lines).decode())
                self.wfile.write(b"221 bye\r\n" if command == b"QUIT" else b"250 ok\r\n")

    with ExitStack() as stack:
        http = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), Http))
        smtp = stack.enter_context(socketserver.ThreadingTCPServer(("127.0.0.1", 0), Smtp))
        sink.port, sink.mail_port = http.server_address[1], smtp.server_address[1]
        for server in (http, smtp):
            thread = threading.Thread(target=server.serve_forever)
            thread.start()
            stack.callback(thread.join)
            stack.callback(server.shutdown)
        yield sink


def receiver(kind: str, sink: Sink, folder: Path) -> ReceiverKinds:
    """Return a receiver of one kind that sends to the sink."""
    key, url = folder / "key", folder / "url"
    key.write_text(SECRET)
    url.write_text(f"{sink.url}/slack")
    chosen = {
        "webhook": WebhookReceiver(url=f"{sink.url}/webhook", credentials_file=str(key)),
        "pagerduty": PagerdutyReceiver(routing_key_file=str(key), url=f"{sink.url}/pagerduty"),
        "opsgenie": OpsgenieReceiver(api_key_file=str(key), api_url=f"{sink.url}/opsgenie"),
        "slack": SlackReceiver(api_url_file=str(url), channel="#esim"),
        "email": EmailReceiver(
            to="on-call@esim.test",
            sender="alerts@esim.test",
            smarthost=f"127.0.0.1:{sink.mail_port}",
            require_tls=False,
        ),
    }
    return ReceiverKinds.model_validate({kind: chosen[kind]})


def send(alertmanager: httpx.Client, *alerts: dict[str, str]) -> None:
    body = [{"labels": LABELS | changed, "annotations": ANNOTATIONS} for changed in alerts]
    assert alertmanager.post("/api/v2/alerts", json=body).status_code == 200


@dataclass(frozen=True)
class Told:
    """The parts of a notification that all kinds have."""

    title: str
    text: str
    links: dict[str, str]


def mail_of(sink: Sink) -> Told:
    mail = message_from_string(sink.mails[0], policy=policy.default)
    (part,) = mail.iter_parts()
    assert part.get_content_type() == "text/plain"
    assert (mail["To"], mail["From"]) == ("on-call@esim.test", "alerts@esim.test")
    text = part.get_content().replace("\r\n", "\n")
    return Told(mail["Subject"], text, plain_links(text))


def plain_links(text: str) -> dict[str, str]:
    return dict(re.findall(r"^([A-Z][a-z ]+): (http\S+)$", text, re.MULTILINE))


def told(kind: str, sink: Sink) -> Told:
    """Wait for a notification and take it apart, as its receiver would."""
    until(lambda: sink.posts or sink.mails)
    if kind == "email":
        return mail_of(sink)
    path, headers, body = sink.posts[0]
    if kind == "pagerduty":
        assert (path, body["routing_key"]) == ("/pagerduty", SECRET)
        assert (body["event_action"], body["payload"]["severity"]) == ("trigger", "critical")
        links = {each["text"]: each["href"] for each in body["links"]}
        return Told(body["payload"]["summary"], body["payload"]["custom_details"]["firing"], links)
    if kind == "opsgenie":
        assert path == "/opsgenie/v2/alerts"
        assert (headers["Authorization"], body["priority"]) == (f"GenieKey {SECRET}", "P3")
        return Told(body["message"], body["description"], plain_links(body["description"]))
    assert kind == "slack"
    assert (path, body["channel"]) == ("/slack", "#esim")
    (attachment,) = body["attachments"]
    links = {title: url for url, title in re.findall(r"<([^|>]+)\|([^>]+)>", attachment["text"])}
    assert attachment["title_link"] == links["Runbook"]
    # Slack reads these three as text, and "<" alone as the beginning of a link or a mention.
    title, text = (
        attachment[part].replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
        for part in ("title", "text")
    )
    assert "<!channel>" not in attachment["title"] + attachment["text"]
    return Told(title, text, links)


@contextmanager
def notifying(kind: str, folder: Path) -> Iterator[tuple[Sink, httpx.Client, MixinValues]]:
    """Run Alertmanager with a pager of this kind."""
    with sinking() as sink:
        pager = receiver(kind, sink, folder)
        values = MixinValues(faster=600, receivers=ReceiversValues(pager=pager))
        with monitoring_stack.alertmanager(folder, values) as alertmanager:
            yield sink, alertmanager, values


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_page_has_a_title_a_text_and_links(kind: str, tmp_path: Path) -> None:
    with notifying(kind, tmp_path) as (sink, alertmanager, _):
        send(alertmanager, {})
        page = told(kind, sink)

        assert page.title == ANNOTATIONS["description"]
        assert ANNOTATIONS["description"] in page.text
        silence = page.links.pop("Silence")
        assert page.links == {
            "Runbook": ANNOTATIONS["runbook_url"],
            "Dashboard": ANNOTATIONS["dashboard_url"],
            "Status page": ANNOTATIONS["status_page_url"],
        }
        assert_silences(silence, alertmanager)


MATCHER = r'\w+="(?:[^"\\]|\\.)*"'


def assert_silences(link: str, alertmanager: httpx.Client) -> None:
    """Check that the form of a link gets the labels of the alert, and that they silence it.

    The form decodes percents but no ``+``. It reads values as JSON, and amtool reads the same.
    """
    address, _, asked = link.partition("/#/silences/new?filter=")
    assert address.endswith(f":{alertmanager.base_url.port}")
    assert re.fullmatch(r"[A-Za-z0-9%._~-]+", asked)
    assert re.fullmatch(rf"{{{MATCHER}(,{MATCHER})*}}", unquote(asked))
    matchers = re.findall(MATCHER, unquote(asked))
    parts = (matcher.partition("=") for matcher in matchers)
    assert {name: json.loads(value) for name, _, value in parts} == LABELS
    subprocess.run(
        [
            *(programs.require("amtool"), "silence", "add", "--comment=planned", "--author=me"),
            *(f"--alertmanager.url={alertmanager.base_url}", *matchers),
        ],
        check=True,
        capture_output=True,
    )
    until(lambda: state(alertmanager) == "suppressed")


def state(alertmanager: httpx.Client) -> str:
    (alert,) = alertmanager.get("/api/v2/alerts").json()
    return str(alert["status"]["state"])


def test_a_webhook_gets_all_labels_and_annotations_and_a_token(tmp_path: Path) -> None:
    with notifying("webhook", tmp_path) as (sink, alertmanager, _):
        send(alertmanager, {})
        until(lambda: sink.posts)
    path, headers, body = sink.posts[0]
    assert (path, headers["Authorization"]) == ("/webhook", f"Bearer {SECRET}")
    assert body["alerts"][0]["labels"] == LABELS
    assert body["commonAnnotations"] == ANNOTATIONS


@pytest.mark.parametrize("kind", KINDS[1:])
def test_a_page_about_several_names_all_or_says_how_many_it_leaves_out(
    kind: str, tmp_path: Path
) -> None:
    with notifying(kind, tmp_path) as (sink, alertmanager, _):
        send(alertmanager, *({"replica": f"r{number}"} for number in range(12)))
        page = told(kind, sink)
    assert page.title == "Nothing works. (12 alerts)"
    assert page.text.count("%22r") == 10, "each has its own silence"
    assert "These are 10 of 12 alerts." in page.text
    if kind == "pagerduty":
        assert "replica" not in page.links["Silence"], "the labels that all have"


@pytest.mark.parametrize("kind", ["pagerduty", "opsgenie"])
def test_the_next_esim_without_data_is_an_incident_of_its_own(kind: str, tmp_path: Path) -> None:
    """Both services tell nobody again of an incident that is still open."""
    of_esim = {"alertname": "EsimOutOfData", "scope": "esim", "package_id": "p"}
    with notifying(kind, tmp_path) as (sink, alertmanager, _):
        send(alertmanager, of_esim | {"esim_id": "first"})
        until(lambda: sink.posts)
        send(alertmanager, of_esim | {"esim_id": "second"})
        until(lambda: len(sink.posts) > 1)
    key = {"pagerduty": "dedup_key", "opsgenie": "alias"}[kind]
    first, second = (body[key] for _, _, body in sink.posts)
    assert first != second


@pytest.mark.parametrize("kind", KINDS)
def test_the_configuration_is_accepted_and_holds_no_secret(kind: str, tmp_path: Path) -> None:
    chosen = receiver(kind, Sink(port=1, mail_port=1), tmp_path)
    values = MixinValues(receivers=ReceiversValues(pager=chosen, tickets=chosen, deadman=chosen))
    path = tmp_path / "alertmanager.yml"
    path.write_text(documents(values)[path.name])
    assert SECRET not in path.read_text()
    subprocess.run(
        [programs.require("amtool"), "check-config", path], check=True, capture_output=True
    )
    assert path.read_text().count(f"{kind}_configs") == 3


@for_every("kind", KINDS, str)
def test_resolved_alerts_are_told_except_to_the_deadman(kind: str, tmp_path: Path) -> None:
    chosen = receiver(kind, Sink(port=1, mail_port=1), tmp_path)
    values = MixinValues(receivers=ReceiversValues(pager=chosen, deadman=chosen))
    text = documents(values)["alertmanager.yml"]
    deadman, pager = text.split("- name: pager")
    assert "send_resolved: false" in deadman
    assert "send_resolved: true" in pager
