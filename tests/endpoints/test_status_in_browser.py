"""The status page in a real browser: colours, widths, keyboard, script, accessibility."""

from __future__ import annotations

import time
from importlib.resources import files
from typing import TYPE_CHECKING

import pytest
from browsing import chromium
from running import Serving, encoded, event, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browsing import Tab

pytestmark = pytest.mark.slow

HOSTILE = "<img src=x onerror=\"document.title='broken'\">\u202e" + "long" * 50
NOW = int(time.time())
PAGES = ("/", "/packages", "/esims", "/esims/roamify/first", "/search", "/deliveries", "/rejected")
AXE = files("axe_core_python").joinpath("axe.min.js").read_text()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("browser"), "--web.enable-admin-api") as process:
        process.post(event(esim_id="first", timestamp=NOW - 3600))
        process.post(event(esim_id=HOSTILE, package_id=HOSTILE, package_name=HOSTILE))
        process.post(encoded({"event_category": "esim", "event_type": "usage", "data": {}}))
        yield process


@pytest.fixture(scope="module")
def tab(server: Serving) -> Iterator[Tab]:  # noqa: ARG001  # the server must end after the browser
    with chromium() as browser:
        yield browser.tab()


def every_page(tab: Tab, server: Serving) -> Iterator[str]:
    """Open every page in turn, including an eSIM with a hostile name and a rejected body."""
    links = (
        'document.querySelector(`main tbody a[href*="%3Cimg"]`).href',
        'document.querySelector(`main a[href*="/rejected/"]`).href',
    )
    for path, link in (
        *((path, "") for path in PAGES),
        ("/esims", links[0]),
        ("/rejected", links[1]),
    ):
        tab.open(server.internal + path)
        if link:
            tab.open(tab.evaluate(link))
        yield tab.evaluate("location.pathname")


def violations(tab: Tab, options: str = "{}") -> object:
    """Return the problems that axe finds in the open page."""
    tab.evaluate(AXE)
    return tab.evaluate(f"axe.run({options}).then(r => r.violations.map(v => JSON.stringify(v)))")


def test_every_page_is_accessible_on_a_phone(tab: Tab, server: Serving) -> None:
    tab.look(360)
    for path in every_page(tab, server):
        assert tab.evaluate("document.documentElement.scrollWidth <= innerWidth"), path
        assert tab.evaluate("document.title.endsWith('eSIM exporter')"), path
        assert violations(tab) == [], path
    assert tab.complaints == []


def test_every_page_can_be_read_in_the_dark(tab: Tab, server: Serving) -> None:
    tab.look(dark=True)
    for path in PAGES[:4]:
        tab.open(server.internal + path)
        assert violations(tab, "{runOnly: ['color-contrast']}") == [], path


def test_axe_finds_a_planted_problem(tab: Tab, server: Serving) -> None:
    tab.open(server.internal)
    tab.evaluate("document.documentElement.lang = ''; document.querySelector('h1').remove()")
    assert violations(tab)


def test_colours_follow_what_the_viewer_prefers(tab: Tab, server: Serving) -> None:
    grounds = []
    for dark in (False, True):
        tab.look(dark=dark)
        tab.open(server.internal)
        grounds.append(tab.evaluate("getComputedStyle(document.body).backgroundColor"))
    assert grounds == ["rgb(244, 245, 245)", "rgb(17, 18, 23)"]


def test_a_bar_is_as_long_as_what_is_used(tab: Tab, server: Serving) -> None:
    tab.look()
    tab.open(f"{server.internal}/esims/roamify/first")
    share = tab.evaluate(
        "(() => { const [track, fill] = ['.track', '.fill'].map((part) => document.querySelector("
        "`main .bar ${part}`).getBoundingClientRect().width); return fill / track; })()"
    )
    assert share == pytest.approx(0.5, abs=0.01)


def test_the_keyboard_reaches_the_content_first(tab: Tab, server: Serving) -> None:
    tab.open(f"{server.internal}/esims")
    tab.press("Tab")
    assert tab.evaluate("document.activeElement.textContent") == "Skip to content"
    assert tab.evaluate("document.activeElement.getBoundingClientRect().left >= 0")
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    tab.press("Enter", "\r")
    tab.until("document.activeElement.id == 'main'")


def test_figures_are_fetched_again_without_going_anywhere(tab: Tab, server: Serving) -> None:
    tab.open(server.internal)
    tab.evaluate("window.stayed = true")
    tab.evaluate("document.getElementById('as-of').textContent = 'old'")
    server.post(event(status="REVOKED"))
    tab.evaluate("refresh.click(); refresh.click()")  # paused, and on again at once
    tab.until("document.querySelector('.chips').textContent.includes('REVOKED')")
    assert tab.evaluate("window.stayed && refresh.textContent == 'Pause refresh'")
    assert tab.evaluate("document.getElementById('as-of').textContent.endsWith('UTC')")


def test_ages_go_on(tab: Tab, server: Serving) -> None:
    tab.open(f"{server.internal}/esims/roamify/first")
    assert tab.evaluate("document.querySelector('time[data-age]').textContent") == "1 h ago"
    server.post(event(esim_id="young", timestamp=int(time.time())))
    tab.open(f"{server.internal}/esims/roamify/young")
    tab.until("/^[1-9]\\d* s ago$/.test(document.querySelector('time[data-age]').textContent)")


def test_a_refresh_keeps_the_part_that_has_the_focus(tab: Tab, server: Serving) -> None:
    tab.open(server.internal)
    tab.evaluate(
        "document.querySelector('#fleet a').focus(); window.focused = document.activeElement"
    )
    tab.evaluate("document.querySelector('#glance li').textContent = 'old'")
    tab.evaluate("document.getElementById('as-of').textContent = 'old'")
    tab.evaluate(
        "refresh.dispatchEvent(new Event('click')); refresh.dispatchEvent(new Event('click'))"
    )
    tab.until("document.querySelector('#glance li').textContent != 'old'")
    assert tab.evaluate("document.activeElement == window.focused && focused.isConnected")
    assert tab.evaluate("document.getElementById('as-of').textContent") == "old"


def test_buttons_do_what_they_say(tab: Tab, server: Serving) -> None:
    server.post(b"to be dropped")
    tab.open(f"{server.internal}/rejected")
    tab.open(tab.evaluate("document.querySelector('main a[href*=\"/rejected/\"]').href"))
    tab.evaluate("document.querySelector('button[value=drop]').click()")
    tab.until("location.search == '?done=dropped' && document.readyState == 'complete'")
    assert "was dropped" in tab.evaluate("document.querySelector('[role=status]').textContent")


def test_a_search_leads_to_the_esim_in_the_browser(tab: Tab, server: Serving) -> None:
    tab.open(server.internal)
    tab.evaluate("document.querySelector('[role=search] input').focus()")
    tab.call("Input.insertText", text="first")
    tab.press("Enter", "\r")
    tab.until("location.pathname == '/esims/roamify/first' && document.readyState == 'complete'")
    assert tab.evaluate("location.search") == ""
