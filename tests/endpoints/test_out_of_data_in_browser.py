"""The first thing that the eye meets is how many eSIMs are out of data, the second is which."""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from browsing import chromium
from running import Serving, event, serving

if TYPE_CHECKING:
    from collections.abc import Iterator

    from browsing import Tab

pytestmark = pytest.mark.slow

PICTURES = Path(__file__).parents[2] / ".cache" / "screenshots"
NOW = int(time.time())
OUT, SOON, OTHERS = 59, 12, 150
COUNTRIES = ("france", "japan", "turkiye", "united-states", "thailand", "afghanistan")
RED = "rgb(196, 22, 42)"

DESKTOP, PHONE = 1280, 360


def identifier(number: int) -> str:
    return str(uuid.UUID(int=number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128))


def reference(number: int) -> str:
    """Return a short name of a booking, or a long one."""
    return f"booking-2026-{number:06}" if number % 3 else identifier(number + 1000)


def usage(number: int, remaining: int) -> dict[str, Any]:
    """Return an event of an eSIM whose names are as long as those of the vendor."""
    country = COUNTRIES[number * number % len(COUNTRIES)]
    return event(
        esim_id=identifier(number + 1),
        reference_id=reference(number),
        timestamp=NOW - 60 * number,
        package_id=f"esim-{country}-7days-1gb-all",
        package_name=f"{country.replace('-', ' ').title()} 7 days 1 GB",
        usage_data={"isUnlimited": False, "allowed_data": 1024, "remaining_data": remaining},
        usage_list=[],
    )


def events(out: int = OUT) -> Iterator[dict[str, Any]]:
    for number in range(out):
        yield usage(number, 0)
    for number in range(OUT, OUT + SOON):
        yield usage(number, 40)
    for number in range(OUT + SOON, OUT + SOON + OTHERS):
        yield usage(number, 1024 - number)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("out")) as process:
        for each in events():
            assert process.post(each).status_code == 200
        yield process


@pytest.fixture(scope="module")
def calm_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serving]:
    with serving(tmp_path_factory.mktemp("calm")) as process:
        for each in events(out=0):
            assert process.post(each).status_code == 200
        yield process


@pytest.fixture(scope="module")
def tab(server: Serving) -> Iterator[Tab]:  # noqa: ARG001  # the server must end after the browser
    with chromium() as browser:
        yield browser.tab()


def box(tab: Tab, selector: str) -> dict[str, float]:
    """Return where an element is on the page, in pixels."""
    found = tab.evaluate(
        f"(() => {{ const box = document.querySelector({selector!r}).getBoundingClientRect();"
        "return {top: box.top + scrollY, bottom: box.bottom + scrollY, width: box.width}; })()"
    )
    assert isinstance(found, dict)
    return found


def colour(tab: Tab, selector: str, of: str = "backgroundColor") -> object:
    return tab.evaluate(f"getComputedStyle(document.querySelector({selector!r})).{of}")


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [DESKTOP, PHONE])
def test_the_number_comes_first_and_the_list_second(
    width: int, dark: bool, tab: Tab, server: Serving
) -> None:
    tab.look(width, dark=dark)
    tab.open(server.internal)
    name = f"status-out-of-data-{width}{'-dark' if dark else ''}"
    PICTURES.mkdir(parents=True, exist_ok=True)
    tab.picture(PICTURES / f"{name}.png")

    blocks = "[...document.querySelectorAll('main > *, #out-of-data > *')]"
    shown = tab.evaluate(
        f"{blocks}.filter((e) => e.id != 'out-of-data' && e.getBoundingClientRect().height)"
        ".sort((a, b) => a.getBoundingClientRect().top - b.getBoundingClientRect().top)"
        ".slice(0, 2).map((e) => e.getAttribute('aria-label') ?? e.textContent)"
    )
    assert shown == [f"{OUT} eSIMs are out of data", "eSIMs out of data"]
    assert colour(tab, "h1") == RED
    headline, table = box(tab, "h1"), box(tab, "#out-of-data .scroll")
    assert headline["top"] < 250  # below the navigation, which has several rows on a phone
    assert headline["width"] == table["width"]
    assert 0 < table["top"] - headline["bottom"] < 30
    largest = tab.evaluate(
        "Math.max(...[...document.querySelectorAll('main *')].filter((e) => !e.closest('h1'))"
        ".map((e) => parseFloat(getComputedStyle(e).fontSize)))"
    )
    assert float(str(colour(tab, "h1", "fontSize")).removesuffix("px")) > largest


def test_the_list_has_the_newest_first_and_leads_to_all(tab: Tab, server: Serving) -> None:
    tab.look(DESKTOP)
    tab.open(server.internal)
    rows = "[...document.querySelectorAll('#out-of-data tbody')[0].rows]"
    references = tab.evaluate(f"{rows}.map((row) => row.cells[1].textContent)")
    assert references == [*map(reference, range(10))]
    tab.open(tab.evaluate("[...document.links].find((l) => l.text.startsWith('All 59 ')).href"))
    assert "50 of 59" in tab.evaluate("document.querySelector('#esims p').textContent")
    assert tab.evaluate(
        rows.replace("#out-of-data", "#esims") + ".map((r) => r.cells[1].textContent)"
    ) == [*map(reference, range(50))]


def test_without_trouble_the_number_is_calm(tab: Tab, calm_server: Serving) -> None:
    tab.look(DESKTOP)
    tab.open(calm_server.internal)
    tab.picture(PICTURES / "status-calm.png")
    assert tab.evaluate("document.querySelector('h1').textContent") == "0 eSIMs are out of data"
    assert RED not in {colour(tab, "h1"), colour(tab, "h1", "color")}
    assert tab.evaluate("document.querySelectorAll('#out-of-data table').length") == 1


@pytest.mark.parametrize("path", ["/", "/esims", "/esims?out_of_data=true"])
def test_ids_and_references_stay_on_one_line(path: str, tab: Tab, server: Serving) -> None:
    tab.look(DESKTOP)
    tab.open(server.internal + path)
    heights = "[...document.querySelectorAll('tbody tr')].map((r) => r.offsetHeight)"
    if path != "/":  # rows of packages have two lines
        assert max(tab.evaluate(heights)) < 45
    cells = "document.querySelectorAll('.one-line bdi')"
    assert tab.evaluate(f"[...{cells}].every((e) => e.scrollWidth <= e.clientWidth)")
    assert tab.evaluate(f"[...{cells}].every((e) => e.offsetHeight < 30)")
    wide = "[...document.querySelectorAll('.scroll')].filter((e) => e.scrollWidth > e.clientWidth)"
    assert tab.evaluate(f"{wide}.length") == 0


def test_the_filters_stand_in_one_row(tab: Tab, server: Serving) -> None:
    tab.look(DESKTOP)
    tab.open(f"{server.internal}/esims")
    tab.picture(PICTURES / "status-esims.png", 900)
    fields = "[...document.querySelectorAll('form.row :is(input, select, button)')]"
    bottoms = tab.evaluate(f"{fields}.map((e) => Math.round(e.getBoundingClientRect().bottom))")
    tops = tab.evaluate(f"{fields}.map((e) => Math.round(e.getBoundingClientRect().top))")
    labels = tab.evaluate(
        "[...document.querySelectorAll('form.row label')].map((e) => e.getBoundingClientRect().top)"
    )
    assert len(bottoms) == 9
    assert len(set(bottoms)) == len(set(tops)) == len(set(labels)) == 1


def test_every_count_of_a_package_leads_to_as_many_esims(tab: Tab, server: Serving) -> None:
    tab.look(DESKTOP)
    tab.open(f"{server.internal}/packages")
    tab.picture(PICTURES / "status-packages.png", 900)
    links = tab.evaluate(
        "[...document.querySelectorAll('td.number a')].map((a) => [a.href, Number(a.text)])"
    )
    assert len(links) > 3 * len(COUNTRIES)
    for address, number in links:
        tab.open(address)
        assert tab.evaluate("document.querySelectorAll('tbody tr').length") == min(number, 50)
