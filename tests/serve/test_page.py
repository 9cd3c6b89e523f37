"""The page in a real browser: Debian's Chromium, driven by Playwright, against a real server."""

import base64
import re
from urllib.parse import parse_qs, urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe
from live import live
from playwright.sync_api import expect

from hashret.serve import Service

GIVE = """([base64, name, how]) => {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const data = new DataTransfer();
  data.items.add(new File([bytes], name, { type: "image/png" }));
  const options = { dataTransfer: data, clipboardData: data, bubbles: true, cancelable: true };
  const events = how === "drop"
    ? [new DragEvent("dragover", options), new DragEvent("drop", options)]
    : [new ClipboardEvent("paste", options)];
  for (const event of events) document.body.dispatchEvent(event);
}"""
WATCH = """new PerformanceObserver((list) => {
  for (const entry of list.getEntries()) {
    window.moved = (window.moved ?? 0) + entry.value;
    const movers = entry.sources.map((source) => source.node?.id || source.node?.className);
    window.movers = [...(window.movers ?? []), ...movers];
  }
}).observe({ type: "layout-shift", buffered: true })"""


@pytest.fixture
def page(chromium, served):
    """A page that has begun; what it complained of or asked of others fails the test."""
    context = chromium.new_context(viewport={"width": 1200, "height": 800})
    made, wrong = context.new_page(), []
    made.set_default_timeout(30_000)
    made.on("console", lambda said: wrong.append(said.text) if said.type == "error" else None)
    made.on("pageerror", lambda error: wrong.append(str(error)))
    made.on(
        "request",
        lambda asked: wrong.append(asked.url) if not asked.url.startswith((served.address, "blob:")) else None,
    )
    made.goto(served.address)
    expect(made.locator("#status")).to_have_text("30 images")
    yield made
    context.close()
    assert [each for each in wrong if "status of 4" not in each and "ERR_" not in each] == []


def base64_of(path):
    return base64.b64encode(path.read_bytes()).decode()


def first(page):
    """What is under the first picture, once answers are there."""
    expect(page.locator("#status")).to_contain_text("Nearest")
    expect(page.locator("[aria-busy]")).to_have_count(0)
    return page.locator(".card .caption").first


def address_of(page):
    return {name: values for name, values in parse_qs(urlsplit(page.url).query).items()}


def test_answers_appear_as_one_types(page):
    page.locator("#text").press_sequentially("a red picture", delay=5)
    expect(first(page)).to_have_text("a red picture")
    assert page.locator(".card .caption").all_inner_texts()[:10] == ["a red picture"] * 10
    expect(page.locator(".card").first).to_contain_text("distance")
    expect(page.locator(".card .labels").first).to_contain_text("red")
    expect(page.locator("#times")).to_contain_text("encoding")
    picture = page.locator(".card img").first
    picture.evaluate("image => image.decode()")
    assert picture.evaluate("image => image.naturalWidth") > 100
    assert address_of(page) == {"text": ["a red picture"]}


def test_a_picture_is_dropped_pasted_or_chosen(page, world):
    page.evaluate(GIVE, [base64_of(world.picture("green")), "green.png", "drop"])
    expect(first(page)).to_have_text("a green picture")
    expect(page.locator("#chip")).to_contain_text("green.png")
    expect(page.locator("#hint")).to_contain_text("not part of a shared link")
    page.evaluate(GIVE, [base64_of(world.picture("blue")), "blue.png", "paste"])
    expect(page.locator("#chip")).to_contain_text("blue.png")
    expect(first(page)).to_have_text("a blue picture")
    page.locator("#file").set_input_files(world.picture("red"))
    expect(page.locator("#chip")).to_contain_text("red-0.png")
    expect(first(page)).to_have_text("a red picture")
    page.get_by_role("button", name="Search without this").click()
    expect(page.locator("#status")).to_have_text("30 images")


def test_a_picture_and_a_sentence_are_one_query(page, world, served):
    page.locator("#file").set_input_files(world.picture("red"))
    first(page)
    with page.expect_response(lambda answer: "/search" in answer.url) as got:
        page.locator("#text").fill("something blue")
    files = {"image": world.picture("red").read_bytes()}
    wanted = served.post("/search", data={"text": "something blue"}, files=files).json()
    assert [hit["id"] for hit in got.value.json()["hits"]] == [hit["id"] for hit in wanted["hits"]]
    assert wanted["code"] != served.search(text="something blue")["code"]


def test_more_like_this_and_like_this_but(page, served):
    page.locator("#text").fill("a blue picture")
    expect(first(page)).to_have_text("a blue picture")
    page.get_by_role("button", name="More like a blue picture").first.click()
    expect(page.locator("#chip")).to_contain_text("a blue picture")
    expect(first(page)).to_have_text("a blue picture")
    (item,) = address_of(page)["item"]
    assert item not in [hit["id"] for hit in served.search(item=item)["hits"]]
    page.locator(".card .but").nth(1).click()
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("something green")
    expect(page).to_have_url(re.compile("text=something"))
    shown = address_of(page)
    first(page)
    wanted = served.search(item=shown["item"][0], text="something green")["hits"]
    assert page.locator(".card .caption").all_inner_texts() == [hit["text"] for hit in wanted]
    page.go_back()
    expect(page.locator("#text")).to_have_value("")


def test_a_shared_address_shows_the_same(page, served):
    page.goto(f"{served.address}/?text=something+red&side=text&k=12&look=1&where=year%3A2000..2001&where=labels%3Aodd")
    expect(page.locator("#status")).to_have_text("Nearest 12 of 20 texts")
    wanted = served.search(
        text="something red", side="text", k=12, shortlist=100, where=["year:2000..2001", "labels:odd"]
    )
    assert page.locator(".said").all_inner_texts() == [hit["text"] for hit in wanted["hits"]]
    expect(page.locator("#look")).to_be_checked()
    expect(page.locator("#times")).to_contain_text("second look")
    expect(page.get_by_role("button", name="Texts")).to_have_attribute("aria-pressed", "true")
    page.get_by_role("button", name="Remove the filter labels:odd").click()
    expect(page.locator("#status")).to_have_text("Nearest 12 of 40 texts")
    page.locator("#filters-toggle").click()
    page.locator(".value", has_text="even").click()
    expect(page.locator("#status")).to_have_text("Nearest 12 of 20 texts")
    page.get_by_role("button", name="Images").click()
    expect(page.locator("#status")).to_have_text("Nearest 12 of 30 images")


def test_which_bits_differ_is_shown_on_demand(page, served):
    page.locator("#text").fill("a green picture")
    first(page)
    answer = served.search(text="a green picture")
    hit = answer["hits"][-1]
    page.locator(".card .bits").last.click()
    differing = int(answer["code"], 16) ^ int(hit["code"], 16)
    assert differing.bit_count() == hit["distance"] > 0
    places = [str(place + 1) for place in range(32) if differing >> (31 - place) & 1]
    expect(page.locator(".places")).to_contain_text(", ".join(places))
    expect(page.locator(".bit.differs")).to_have_count(len(places))
    expect(page.locator(".facts-of")).to_contain_text(hit["key"])


def test_mistakes_are_said(page, served, tmp_path):
    page.goto(f"{served.address}/?text=red&where=colour:red")
    expect(page.get_by_role("alert")).to_contain_text("colour:red")
    page.get_by_role("button", name="Start over").click()
    expect(page.locator("#status")).to_have_text("30 images")
    (tmp_path / "torn.png").write_bytes(b"\x89PNG\r\n\x1a\n no picture")
    page.locator("#file").set_input_files(tmp_path / "torn.png")
    expect(page.get_by_role("alert")).to_contain_text("cannot be answered: image: expected")
    (tmp_path / "song.mp3").write_bytes(b"x")
    page.locator("#file").set_input_files(tmp_path / "song.mp3")
    expect(page.get_by_role("alert")).to_contain_text("song.mp3 is no picture")
    page.goto(f"{served.address}/?text=red&where=year:1900..1950")
    expect(page.locator("#state")).to_contain_text("No image passes these filters")
    page.context.set_offline(True)
    page.locator("#text").fill("a green picture")
    expect(page.get_by_role("alert")).to_contain_text("cannot be reached")
    page.context.set_offline(False)
    page.get_by_role("button", name="Try again").click()
    expect(page.locator("#state")).to_contain_text("No image passes these filters")


def test_the_keyboard_is_enough(page):
    page.keyboard.press("/")
    expect(page.locator("#text")).to_be_focused()
    page.keyboard.type("a red picture")
    page.keyboard.press("Enter")
    first(page)
    page.keyboard.press("ArrowDown")
    expect(page.locator(".card .open").nth(0)).to_be_focused()
    page.keyboard.press("ArrowRight")
    expect(page.locator(".card .open").nth(1)).to_be_focused()
    columns = page.locator(".grid").evaluate("grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length")
    page.keyboard.press("ArrowDown")
    expect(page.locator(".card .open").nth(1 + columns)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_be_hidden()
    expect(page.locator(".card .open").nth(1 + columns)).to_be_focused()
    page.keyboard.press("Tab")
    expect(page.locator(".card .more").nth(1 + columns)).to_be_focused()
    page.keyboard.press("m")
    expect(page.locator("#chip")).to_be_visible()
    assert "item" in address_of(page)


def test_360_pixels_are_wide_enough(page, served):
    page.set_viewport_size({"width": 360, "height": 740})
    page.goto(f"{served.address}/?text=a+red+picture")
    first(page)
    page.locator("#filters-toggle").click()
    assert page.evaluate("document.documentElement.scrollWidth <= document.documentElement.clientWidth")
    assert page.locator(".grid").evaluate("grid => getComputedStyle(grid).gridTemplateColumns.split(' ').length") == 2
    page.locator(".card .bits").first.click()
    box = page.locator("dialog").bounding_box()
    assert box["x"] >= 0
    assert box["x"] + box["width"] <= 360
    wide = (
        "[...document.querySelectorAll('dialog *')].filter(e => e.scrollWidth > e.clientWidth + 1 && e.clientWidth > 0)"
    )
    assert page.evaluate(f"{wide}.length") == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(page, served, scheme):
    page.emulate_media(color_scheme=scheme)

    def check(what):
        found = Axe().run(page).response["violations"]
        serious = [
            f"{each['id']}: {each['nodes'][0]['html']}" for each in found if each["impact"] in ("serious", "critical")
        ]
        assert serious == [], what

    if scheme == "light":
        check("start")
    page.goto(f"{served.address}/?text=a+red+picture&where=labels:odd&look=1")
    first(page)
    page.locator("#filters-toggle").click()
    check("answers")
    page.locator(".card .bits").last.click()
    check("details")
    if scheme == "dark":
        return
    page.goto(f"{served.address}/?text=red&where=colour:red")
    expect(page.get_by_role("alert")).to_be_visible()
    check("error")


def test_nothing_moves_while_answers_come(page):
    page.locator("#text").fill("a red picture")
    expect(first(page)).to_have_text("a red picture")
    page.evaluate(WATCH)
    page.evaluate("window.moved = 0")
    for colour in ("green", "blue"):
        page.locator("#text").fill(f"a {colour} picture")
        expect(first(page)).to_have_text(f"a {colour} picture")
    assert page.evaluate("window.moved") < 0.01, page.evaluate("window.movers")


def test_the_page_asks_for_the_token(chromium, world):
    with live(Service(world.run, world.indexes[:1], device="cpu"), token="open sesame") as guarded:
        page = chromium.new_page()
        page.goto(f"{guarded.address}/?text=a+green+picture")
        expect(page.locator("#state")).to_contain_text("asks for a token")
        page.get_by_label("Token").fill("wrong")
        page.get_by_role("button", name="Continue").click()
        expect(page.get_by_role("alert")).to_contain_text("not the token")
        page.get_by_label("Token").fill("open sesame")
        page.keyboard.press("Enter")
        expect(first(page)).to_have_text("a green picture")
        picture = page.locator(".card img").first
        expect(picture).to_have_attribute("src", re.compile("^blob:"))  # fetched with the token, after the answers
        picture.evaluate("image => image.decode()")
        expect(page.locator("#sides")).to_be_hidden()
        page.close()
