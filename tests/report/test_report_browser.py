"""A report in a real browser: readable by everyone, in both schemes, and on a narrow screen."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from synthetic_runs import HOSTILE, examined

from hashret.report.writing import write_report


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Address of a report of two systems, one of them with names that are markup."""
    out = tmp_path_factory.mktemp("report")
    write_report([examined("a"), examined("b", HOSTILE, bits=4)], out)
    return (out / "report.html").as_uri()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_and_nothing_is_asked_for(chromium, report, scheme):
    page, asked = chromium.new_page(color_scheme=scheme, viewport={"width": 1120, "height": 900}), []
    page.on("request", lambda request: asked.append(request.url))
    page.goto(report)
    found = Axe().run(page).response["violations"]
    assert [each["id"] for each in found if each["impact"] in ("serious", "critical")] == []
    assert [url for url in asked if not url.startswith((report, "data:"))] == []
    assert page.locator("figure svg").count() > 3
    page.close()


def test_a_narrow_screen_scrolls_within_its_parts_alone(chromium, report):
    page = chromium.new_page(viewport={"width": 360, "height": 780})
    page.goto(report)
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
    page.close()
