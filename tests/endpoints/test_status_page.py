"""The status pages over HTTP: their texts, what they must not show, and their forms."""

from __future__ import annotations

import re
import time
from html import unescape
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from running import SECRET, Serving, encoded, event, serving, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import httpx

PAGE = {"Accept": "text/html"}
ICCID = "8944500102198304826"
HOSTILE = "<script>alert(1)</script>/\"q' &\u202e.."
NOW = int(time.time())
MB = {"isUnlimited": False, "allowed_data": 1000, "remaining_data": 1000}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server with a small fleet: eSIMs over the cap, refused deliveries, hostile names."""
    flags = ("--limits.max-esims=62", "--web.telemetry-path=/numbers", "--storage.url=sqlite:///x")
    hosts = "--web.allowed-hosts=exporter.test"
    with serving(tmp_path_factory.mktemp("status"), *flags, hosts) as process:
        for number in range(60):
            assert process.post(used(f"many-{number:02}", number)).status_code == 200
        process.post(event(**hostile()))
        process.post(event(**all_in("known")))
        process.post(event(esim_id="over-the-cap", timestamp=NOW))
        process.post(b"not JSON <i>")
        process.post(encoded({"event_category": "esim", "event_type": "usage", "data": {}}))
        process.post(b"{}", secret=b"wrong")
        yield process


def used(esim_id: str, percent: int) -> dict[str, Any]:
    """Return an event of an eSIM that used ``percent`` of the data of one package."""
    usage = MB | {"remaining_data": 1000 - 10 * percent}
    return event(
        esim_id=esim_id,
        timestamp=NOW - percent,
        package_id="pool",
        package_name="Pool & Co",
        reference_id=f"order-{percent}",
        usage_data=usage,
        usage_list=[],
    )


def hostile() -> dict[str, Any]:
    return {
        "esim_id": HOSTILE,
        "timestamp": NOW,
        "reference_id": '"><img src=x onerror=alert(2)>',
        "package_id": "<b>p</b>",
        "package_name": "\u202e<i>n</i>",
        "usage_list": [{"date": "2026-06-01", "data_used": 9, "location": "<u>here</u>"}],
    }


def all_in(esim_id: str) -> dict[str, Any]:
    return {
        "esim_id": esim_id,
        "iccid": ICCID,
        "timestamp": NOW,
        "reference_id": "order-2026",
        "status": "ACTIVATED",
        "package_id": "all-in",
        "package_name": "All in",
        "usage_data": {
            "isUnlimited": False,
            "allowed_data": 1024,
            "remaining_data": 51.2,
            "allowed_sms": 10,
            "remaining_sms": 2,
            "allowed_voice": 100,
            "remaining_voice": 100,
        },
        "usage_list": [
            {"date": "2026-06-01", "data_used": 600, "location": "France"},
            {"date": "2026-06-01", "data_used": 200, "location": "Italy"},
        ],
    }


class Reading(HTMLParser):
    """The tags, links and visible text of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.links: list[str] = []
        self.handlers: list[str] = []
        self.pieces: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name in {"href", "src", "action"}:
                self.links.append(value or "")
            if name.startswith("on") or name == "style":
                self.handlers.append(name)

    def handle_data(self, data: str) -> None:
        self.pieces.append(data)

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.pieces))


def page(server: Serving, path: str, code: int = 200) -> Reading:
    response = server.get(path, headers=PAGE)
    assert response.status_code == code, response.text
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    return Reading(response.text)


def send(
    server: Serving, path: str, headers: dict[str, str] | None = None, **form: str
) -> httpx.Response:
    return server.client.post(server.internal + path, data=form, headers=PAGE | (headers or {}))


def address_of(server: Serving, name: str) -> str:
    """Return the address under which the list links an eSIM."""
    links = page(server, f"/esims?prefix={name}").links
    return next(link for link in links if link.startswith("/esims/roamify/"))


PAGES = ("/", "/packages", "/esims", "/search", "/deliveries", "/rejected", "/esims/roamify/known")


@pytest.mark.parametrize("path", [*PAGES, "/nothing", "/esims?sort=x"])
def test_nothing_but_our_own_files_may_run(path: str, server: Serving) -> None:
    response = server.get(path, headers=PAGE)
    policy = response.headers["Content-Security-Policy"]
    read = Reading(response.text)

    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self';")
    assert "unsafe" not in policy
    assert "style" not in read.tags
    assert read.handlers == []
    assert all(link.startswith("/") for link in read.links if link != "#main")
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("path", PAGES)
def test_every_link_leads_somewhere(path: str, server: Serving) -> None:
    for link in {*page(server, path).links} - {"#main"}:
        assert server.get(link).status_code == 200, link


@pytest.mark.parametrize("path", PAGES)
def test_head_is_get_without_the_body(path: str, server: Serving) -> None:
    head = server.client.head(server.internal + path)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["Content-Length"]) > 0


def test_the_overview_shows_problems_and_figures(server: Serving) -> None:
    text = page(server, "/").text

    assert "1 eSIM has no separate series" in text
    assert "2 rejected deliveries are kept" in text
    assert "63 since the start" in text
    assert "at most 62 get their own series" in text
    assert "ACTIVATED 63" in text
    assert "Pool & Co pool 0 60 29 % of 58.6 GiB" in text
    assert "All in all-in 0 1 95 % of 1 GiB 1 SMS 1 1 0" in text


def test_the_overview_shows_settings_and_no_secret(server: Serving) -> None:
    response = server.get("/")
    text = Reading(response.text).text

    assert SECRET.decode() not in response.text
    assert "--limits.max-esims 62" in text
    assert "--retention.silent 30d" in text
    assert "--webhook.allow-unsigned false" in text
    assert "--webhook.secret-file not set" in text
    assert "--metrics.esim-labels reference_id" in text
    assert "--storage.url set, not shown" in text
    assert "--webhook.secret set, not shown" in text


def test_no_page_holds_an_iccid(server: Serving) -> None:
    for path in PAGES:
        assert ICCID not in server.get(path).text


def test_names_from_events_are_text_and_nothing_else(server: Serving) -> None:
    for path in ("/", "/packages", "/esims?prefix=%3C", "/deliveries", address_of(server, "%3C")):
        text = server.get(path).text
        assert not {"i", "b", "u", "img"}.intersection(Reading(text).tags)
        assert text.count("<script") == 1
        assert "\u202e" not in text
    read = page(server, address_of(server, "%3C"))
    assert "<script>alert(1)</script>/\"q' &⌈U+202E⌉.." in read.text
    assert '"><img src=x onerror=alert(2)>' in read.text
    assert "⌈U+202E⌉<i>n</i>" in read.text


def test_parameters_are_repeated_as_text_only(server: Serving) -> None:
    hostile = "%22%3E%3Cimg%20src%3Dx%3E"
    read = page(server, f"/esims?prefix={hostile}&reference_id={hostile}&package_id={hostile}")
    assert "img" not in read.tags
    assert "No eSIM matches." in read.text
    assert "img" not in page(server, f"/packages?text={hostile}").tags


def test_an_esim_is_shown_in_full(server: Serving) -> None:
    text = page(server, "/esims/roamify/known").text

    assert "Reference order-2026" in text
    assert "973 MiB of 1 GiB used (95 %), 51.2 MiB left; 973 MiB consumed" in text
    assert "8 of 10 used (80 %), 2 left" in text
    assert "0 min of 100 min used (0 %), 100 min left" in text
    assert "France 75 % 600 MiB Italy 25 % 200 MiB" in text
    assert "Data: last report" in text
    assert "usage roamify 200 accepted" in text
    assert "Delete" not in text


def test_history_says_what_each_report_added(server: Serving) -> None:
    for at, left in ((0, 900), (1, 700), (2, 1000)):
        usage = MB | {"remaining_data": left}
        server.post(event(esim_id="known-history", timestamp=NOW + at, usage_data=usage))
    text = page(server, "/esims/roamify/known-history").text
    assert "Data: last 3 reports" in text
    changes = (
        "0 B fell: top-up, renewal or correction",
        "300 MiB 200 MiB",
        "100 MiB oldest report that is",
    )
    assert [c for c in changes if c in text] == [*changes]


@pytest.mark.parametrize(
    ("reports", "status", "service"),
    [
        ([("p1", 0)], "ACTIVATED", r"Out of data since \d+ h ago . Nothing is left in any package"),
        ([("p1", 0), ("p2", 0)], "INACTIVE", r"Out of data since .*; Second package ran out last"),
        ([("p1", 0), ("p2", 1000)], "ACTIVATED", "Has data : 1000 MiB left in 1 of 2 packages"),
        ([("p1", 0), ("p2", 50)], "ACTIVATED", "About to run out : 50 MiB left in 1 of 2"),
        ([("p1", 100), ("p2", 500)], "ACTIVATED", "Has data : 600 MiB left in 2 of 2 packages"),
        ([("p1", 500)], "ACTIVATED", r"Has data : 500 MiB left\. "),
        ([("p1", 0), ("p2", None)], "ACTIVATED", "Has data : it is unlimited in Second package"),
        ([("p1", 0)], "EXPIRED", "Ended : the eSIM is EXPIRED"),
        ([("p1", 500)], "DELETED", "Ended : the eSIM is DELETED"),
    ],
)
def test_an_esim_is_in_service_while_any_package_has_data(
    reports: list[tuple[str, int | None]], status: str, service: str, admin: Serving
) -> None:
    """A page must not call an eSIM dead because one of its packages is used up."""
    name = f"served-{status}-" + "-".join(f"{left}" for _, left in reports)
    for number, (package, left) in enumerate(reports):
        usage = MB | {"remaining_data": left or 0, "isUnlimited": left is None}
        admin.post(
            event(
                esim_id=name,
                timestamp=NOW - 7200 + number,
                status=status,
                package_id=package,
                package_name={"p1": "First package", "p2": "Second package"}[package],
                usage_data=usage,
                usage_list=[],
            )
        )
    text = page(admin, f"/esim/esims/roamify/{name}").text
    assert re.search(f"Data service {service}", text)
    row = admin.get(f"/esim/esims?prefix={name}").text
    assert ('class="bar critical"' in row) is service.startswith("Out of data")
    assert send(admin, f"/esim/esims/roamify/{name}", do="delete").status_code == 303


def test_it_is_told_where_no_event_said_how_much_data_is_left(admin: Serving) -> None:
    sms = {"isUnlimited": False, "allowed_sms": 10, "remaining_sms": 5}
    admin.post(event(esim_id="sms-only", timestamp=NOW, usage_data=sms, usage_list=[]))
    text = page(admin, "/esim/esims/roamify/sms-only").text
    assert "Data service Not known : no event said how much data is left" in text
    assert send(admin, "/esim/esims/roamify/sms-only", do="delete").status_code == 303


def test_the_overview_begins_with_who_is_out_of_data(admin: Serving) -> None:
    """Both lists have what their links lead to, and end with a top-up."""
    assert "0 eSIMs are out of data 0 eSIMs are about to run out Exporter" in (
        page(admin, "/esim/").text
    )
    for number in range(12):
        name, left = f"needy-{number:02}", 0 if number else 60
        usage = MB | {"remaining_data": left}
        document = event(esim_id=name, timestamp=NOW - number, usage_data=usage, usage_list=[])
        document["data"] |= {"reference_id": f"order-{number}", "package_name": "Pool & Co"}
        admin.post(document)
    read = page(admin, "/esim/")
    assert re.search(
        r"11 eSIMs are out of data .* needy-01 order-1 Pool & Co \d+ \w+ ago .* needy-10 order-10 "
        r".*All 11 eSIMs out of data 1 eSIM is about to run out .* needy-00 .* 94 % .* Exporter",
        read.text,
    )
    assert "needy-11" not in read.text
    for query, found in (("out_of_data=true", 11), ("out_of_data=soon", 1)):
        (link,) = {link for link in read.links if query in link and "package_id" not in link}
        assert len(set(re.findall("needy-[0-9]+", admin.get(link).text))) == found
    admin.post(event(esim_id="needy-01", timestamp=NOW + 1, usage_data=MB))
    assert "10 eSIMs are out of data" in page(admin, "/esim/").text
    for number in range(12):
        send(admin, f"/esim/esims/roamify/needy-{number:02}", do="delete")
    assert "0 eSIMs are out of data" in page(admin, "/esim/").text


def test_every_count_of_a_package_is_a_link_to_its_esims(server: Serving) -> None:
    read = page(server, "/packages?text=all-in")
    counts = [link for link in read.links if "vendor=roamify&package_id=all-in" in link]
    assert len(counts) == 5  # its name, all, data at 75 and 90 %, SMS at 75 %
    for link in counts:
        found = set(re.findall(r'href="/esims/roamify/([^"]+)"', server.get(link).text))
        assert found == {"known"}


def test_an_unlimited_esim_has_no_bar(server: Serving) -> None:
    usage = {"isUnlimited": True, "allowed_data": 1024, "remaining_data": 1}
    used = [{"date": "2026-06-01", "data_used": 7, "location": "France"}]
    server.post(event(esim_id="known-free", usage_data=usage, usage_list=used, timestamp=NOW))
    read = page(server, "/esims/roamify/known-free")
    assert "Unlimited; 7 MiB consumed" in read.text


def test_an_esim_with_only_a_status_has_a_page(server: Serving) -> None:
    status = {"esim_id": "known-status", "status": "INSTALLED", "timestamp": NOW}
    document = {"event_category": "esim", "event_type": "status", "data": status}
    assert server.post(document).status_code == 200
    text = page(server, "/esims/roamify/known-status").text
    assert "Status INSTALLED" in text
    assert "Only the status of this eSIM has arrived" in text


def test_a_list_is_paged_through_once(server: Serving) -> None:
    found: list[str] = []
    link = "/esims?prefix=many&sort=data_used_share"
    while link:
        response = server.get(link)
        found += re.findall(r'href="/esims/roamify/([^"]+)"', response.text)
        following = re.search(r'rel="next" href="([^"]+)"', response.text)
        link = unescape(following[1]) if following else ""
    assert found == [f"many-{number:02}" for number in reversed(range(60))]
    assert 'rel="first" href="/esims?prefix=many' in response.text


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ("prefix=known", ["known"]),
        ("prefix=many&used=data-75", []),
        ("package_id=pool&sort=newest", ["many-00", "many-01", "many-02"]),
        ("package_id=pool&sort=last_event", ["many-59", "many-58", "many-57"]),
        ("reference_id=order-7", ["many-07"]),
        ("vendor=other", []),
        ("used=data-90", ["known"]),
        ("over_limit=true&prefix=over", ["over-the-cap"]),
        ("over_limit=false&prefix=over", []),
        ("status=REVOKED", []),
    ],
)
def test_a_list_is_filtered_and_sorted(query: str, names: list[str], server: Serving) -> None:
    text = server.get(f"/esims?{query}").text
    found = re.findall(r'href="/esims/roamify/([^"]+)"', text)
    assert found[: len(names)] == names
    assert bool(found) == bool(names)


def test_a_list_says_how_many_there_are_where_that_is_known(server: Serving) -> None:
    assert re.search(r"50 of 6\d", page(server, "/esims").text)
    assert re.search(r"50 of 6\d", page(server, "/esims?status=ACTIVATED").text)
    assert "eSIMs on this page: 50 " in page(server, "/esims?package_id=pool").text


@pytest.mark.parametrize(
    "path",
    [
        *("/esims?sort=size", "/esims?status=BROKEN", "/esims?used=12", "/esims?over_limit=1"),
        "/esims?out_of_data=maybe",
        *("/esims?after=nonsense", "/packages?sort=x", "/packages?page=0", "/packages?page=x"),
        *("/deliveries?show=x", "/deliveries?page=-1", "/rejected?page=1e9"),
    ],
)
def test_an_invalid_parameter_is_refused(path: str, server: Serving) -> None:
    assert "Bad Request" in page(server, path, 400).text


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("/esims?package=pool", "package: no such parameter; there are after, done, out_of_data"),
        ("/esims?status=NEW&status=ACTIVATED", "status: given 2 times, once is allowed"),
        ("/packages?name=x", "name: no such parameter; there are page, sort, text"),
        ("/deliveries?code=400", "code: no such parameter; there are page, show"),
        ("/rejected?offset=5", "offset: no such parameter; there are done, page"),
    ],
)
def test_an_unknown_parameter_is_named_and_not_ignored(
    path: str, text: str, server: Serving
) -> None:
    assert text in page(server, path, 400).text


def test_a_page_beyond_the_last_is_empty(server: Serving) -> None:
    assert 'rel="prev"' in server.get("/packages?page=2").text
    assert "no more packages" in page(server, "/packages?page=2").text
    assert "no more rejected" in page(server, "/rejected?page=2").text
    assert "No eSIM" in page(server, "/esims?prefix=zzz").text


def test_packages_are_found_by_name_and_id(server: Serving) -> None:
    assert "Pool & Co" in page(server, "/packages?text=pOOl+%26&sort=name").text
    assert "Pool & Co" not in page(server, "/packages?text=all-IN").text
    order = re.findall(r"package_id=([^&\"]+)", server.get("/packages?sort=share").text)
    assert order[0] == "all-in"


@pytest.mark.parametrize("text", [ICCID, "order-2026", "known", " known "])
def test_a_search_leads_to_the_esim(text: str, server: Serving) -> None:
    response = send(server, "/search", text=text)
    assert (response.status_code, response.headers["Location"]) == (303, "/esims/roamify/known")


def test_a_search_that_finds_several_lists_them(server: Serving) -> None:
    for name in ("twin-1", "twin-2"):
        server.post(event(esim_id=name, reference_id="twins", timestamp=NOW))
    response = send(server, "/search", text="twins")
    assert response.status_code == 200
    assert "2 eSIMs match." in Reading(response.text).text


def test_a_search_that_finds_nothing_does_not_repeat_what_was_searched(server: Serving) -> None:
    response = send(server, "/search", text="8944500102198300000")
    assert "No eSIM has exactly this" in response.text
    assert "8944500102198300000" not in response.text


def test_an_empty_search_finds_nothing(server: Serving) -> None:
    assert "Enter the exact id" in send(server, "/search", text=" ").text
    assert "Enter the exact id" in send(server, "/search").text


def test_an_iccid_is_never_taken_from_an_address(server: Serving) -> None:
    assert "Enter the exact id" in server.get(f"/search?text={ICCID}").text


def test_what_is_searched_is_not_logged(server: Serving) -> None:
    before = len(server.lines)
    send(server, "/search", text=ICCID)
    server.post(b"{}", secret=b"wrong")  # is logged, after the search
    until(lambda: len(server.lines) > before)
    assert not any(ICCID in line for line in server.lines)


@pytest.mark.parametrize(
    ("body", "code"), [(b"text=" + b"x" * 5000, 413), (b"text=%ff", 400), (b"\xff", 400)]
)
def test_an_invalid_form_is_refused(body: bytes, code: int, server: Serving) -> None:
    response = server.client.post(f"{server.internal}/search", content=body, headers=PAGE)
    assert response.status_code == code


def test_deliveries_are_shown_with_answer_and_reason(server: Serving) -> None:
    text = page(server, "/deliveries?show=refused").text
    assert "unknown roamify none 401 signature X-Roamify-Signature is missing" in text
    assert "422 invalid data.timestamp: is required" in text
    assert "400 malformed the body is not JSON" in text
    assert "200" not in re.sub(r"1,200|with 200", "", text)
    assert "known" in page(server, "/deliveries").text


def test_older_deliveries_are_on_the_next_page(server: Serving) -> None:
    text = server.get("/deliveries").text
    assert 'rel="next" href="/deliveries?page=2"' in text
    assert "many-00" in server.get("/deliveries?page=2").text


def test_rejected_deliveries_are_shown_without_their_bodies(server: Serving) -> None:
    response = server.get("/rejected")
    text = Reading(response.text).text
    assert "malformed the body is not JSON" in text
    assert "data.timestamp : is required" in text
    assert "start the exporter with --web.enable-admin-api" in text
    assert "&lt;i&gt;" not in response.text
    assert "/rejected/" not in response.text


def test_nothing_can_be_changed_without_the_admin_api(server: Serving) -> None:
    (digest,) = re.findall(r'class="id">([0-9a-f]{12})<', server.get("/rejected").text)[:1]
    for method, path in (("GET", "rejected"), ("POST", "rejected"), ("POST", "esims/roamify")):
        name = "known" if "esims" in path else digest
        response = server.client.request(method, f"{server.internal}/{path}/{name}", headers=PAGE)
        assert response.status_code == 403
        assert "Set --web.enable-admin-api" in response.text
    assert "2 rejected deliveries are kept" in page(server, "/").text


@pytest.mark.parametrize(
    "path", ["/nothing", "/esims/roamify/none", "/esims/other/known", "/-/status/0/status.css"]
)
def test_a_missing_page_says_so(path: str, server: Serving) -> None:
    read = page(server, path, 404)
    assert "Page not found" in read.text
    assert "/" in read.links


def test_programs_get_errors_as_one_line(server: Serving) -> None:
    for headers in ({}, {"Accept": "*/*"}, {"Accept": "application/json"}):
        response = server.get("/nothing", headers=headers)
        assert response.headers["Content-Type"] == "text/plain; charset=utf-8"
        assert response.text == "Not Found\n"


def test_a_page_refuses_methods_that_it_does_not_have(server: Serving) -> None:
    response = send(server, "/packages")
    assert response.status_code == 405
    assert set(response.headers["Allow"].split(", ")) == {"GET", "HEAD"}
    assert "Request not allowed" in response.text


def test_files_are_kept_by_browsers_for_good(server: Serving) -> None:
    links = [link for link in page(server, "/").links if "/-/status/" in link]

    assert len(links) == 3  # icon, style sheet, script
    for link in links:
        response = server.get(link)
        assert "immutable" in response.headers["Cache-Control"]
        assert response.headers["X-Content-Type-Options"] == "nosniff"


def test_pages_of_other_sites_change_nothing(server: Serving) -> None:
    elsewhere = {"Origin": "https://evil.example"}
    for path in ("/search", "/-/reload", "/api/v1/admin/backup"):
        response = send(server, path, elsewhere)
        assert response.status_code == 403
        assert "another site" in response.text
    assert send(server, "/search", {"Origin": server.internal}).status_code == 200


def test_a_name_that_was_made_to_lead_here_changes_nothing(server: Serving) -> None:
    """DNS rebinding: to the browser, a page of the other site has the same origin as ours."""
    rebound = {"Host": "evil.example", "Origin": "http://evil.example"}
    rebound["Sec-Fetch-Site"] = "same-origin"
    for path in ("/search", "/-/reload", "/-/quit", "/api/v1/admin/backup"):
        response = send(server, path, rebound)
        assert response.status_code == 421
        assert "--web.allowed-hosts" in response.text
    assert server.get("/numbers?collect[]=exporter", headers=rebound).status_code == 200
    named = {"Host": "exporter.test", "Origin": "http://exporter.test"}
    assert send(server, "/search", named).status_code == 200


@pytest.fixture(scope="module")
def admin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    """A server behind a proxy, with its admin API enabled."""
    flags = ("--web.external-url=https://status.example.org/esim", "--web.enable-admin-api")
    folder: Path = tmp_path_factory.mktemp("admin")
    with serving(folder, *flags, ready="/esim/-/ready") as process:
        yield process


def test_links_lead_below_the_external_url(admin: Serving) -> None:
    admin.post(event(esim_id="known", timestamp=NOW))
    for path in ("/", "/esims", "/deliveries", "/esims/roamify/known", "/nothing"):
        response = admin.get(f"/esim{path}", headers=PAGE)
        links = {*Reading(response.text).links} - {"#main"}
        assert all(link.startswith("/esim/") for link in links)
    assert "/esim/esims/roamify/known" in page(admin, "/esim/esims").links
    assert send(admin, "/esim/search", text="known").headers["Location"].startswith("/esim/esims")
    assert admin.get("/").status_code == 404


def test_a_rejected_body_is_shown_and_dropped(admin: Serving) -> None:
    admin.post(b"{\n\t<b>&\xe2\x80\xae\xff")
    (link,) = re.findall(r'href="(/esim/rejected/\w+)"', admin.get("/esim/rejected").text)
    read = page(admin, link)

    assert "{ <b>&⌈U+202E⌉\ufffd" in read.text
    assert "b" not in read.tags
    dropped = send(admin, link, {"Origin": "https://status.example.org"}, do="drop")
    assert dropped.headers["Location"] == "/esim/rejected?done=dropped"
    text = page(admin, dropped.headers["Location"]).text
    assert "The rejected delivery was dropped." in text
    assert "No rejected delivery is kept." in text
    for action in ("drop", "replay"):
        assert send(admin, link, do=action).status_code == 404
    assert admin.get(link).status_code == 404


def test_a_replay_that_fails_says_why_and_keeps_the_delivery(admin: Serving) -> None:
    admin.post(b'{"event_category": "esim", "event_type": "usage", "data": {}}')
    (link,) = re.findall(r'href="(/esim/rejected/\w+)"', admin.get("/esim/rejected").text)
    response = send(admin, link, do="replay")
    assert response.status_code == 422
    assert "Not replayed: data.timestamp: is required" in Reading(response.text).text
    assert admin.get(link).status_code == 200
    assert send(admin, link, do="burn").status_code == 400
    send(admin, link, do="drop")


def test_an_esim_is_deleted_by_its_page(admin: Serving) -> None:
    admin.post(event(esim_id="going/..", timestamp=NOW))
    link = "/esim/esims/roamify/going%2F.."
    assert "Delete this eSIM" in page(admin, link).text

    response = send(admin, link, do="delete")
    assert response.headers["Location"] == "/esim/esims?done=deleted"
    assert "The eSIM was deleted." in page(admin, response.headers["Location"]).text
    assert admin.get(link).status_code == 404
    assert send(admin, link, do="delete").status_code == 404
    assert 'esim_id="going' not in admin.get("/esim/metrics").text


@pytest.mark.parametrize("esim_id", ["/first", "a//b", "last/", "two\nlines", "a?b#c%2F"])
def test_every_id_has_a_page(esim_id: str, admin: Serving) -> None:
    admin.post(event(esim_id=esim_id, timestamp=NOW))
    link = f"/esim/esims/roamify/{quote(esim_id, safe='')}"
    assert link in page(admin, "/esim/esims").links
    assert "Delete this eSIM" in page(admin, link).text
    assert send(admin, link, do="delete").status_code == 303


def test_an_unknown_word_for_a_change_shows_no_message(admin: Serving) -> None:
    assert "status" not in re.findall(r'role="(\w+)"', admin.get("/esim/esims?done=<b>").text)


def test_events_a_minute_are_counted(server: Serving) -> None:
    def drawn() -> bool:
        chart = re.search(r'<svg class="minutes".*?</svg>', server.get("/").text)
        return chart is not None and "<rect" in chart[0]

    until(drawn)
