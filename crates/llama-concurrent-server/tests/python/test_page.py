"""The page in a browser on a running server: a chat is answered; of many streams texts grow side by side, the keyboard is
enough, one and all can be cancelled. test_chat_page.py has the chat's details, without a server."""

import os
import pathlib
import re
import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
# With it set, pictures of the page are left there.
PICTURES = os.environ.get("PAGE_PICTURES")


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(params=["light", "dark"])
def page(browser, url, request):
    context = browser.new_context(color_scheme=request.param, viewport={"width": 1280, "height": 900})
    page = context.new_page()
    problems = []
    page.on("pageerror", lambda error: problems.append(str(error)))
    page.on("console", lambda message: problems.append(message.text) if message.type == "error" else None)
    page.scheme = request.param
    page.goto(url + "/#streams")
    expect(page.locator("#link")).to_have_text("connected")
    yield page
    assert problems == []
    context.close()


def fill(page, **fields):
    for name, value in fields.items():
        page.fill("#" + name, str(value))


def picture(page, name):
    if PICTURES:
        page.screenshot(path=pathlib.Path(PICTURES) / f"{name}-{page.scheme}.png")


def test_texts_grow_side_by_side(page):
    fill(page, count=12, tokens=400)
    page.click("#send")
    cards = page.locator("article")
    expect(cards).to_have_count(12)
    # More than slots: eight write, the others wait.
    expect(cards.first.locator("p")).to_have_text(re.compile(r"(.|\n){120}"))
    picture(page, "running")
    expect(page.locator("#done")).to_have_text("12", timeout=120_000)
    for card in cards.all():
        assert card.locator(".state").inner_text() in ("stop", "length")
        assert len(card.locator("p").inner_text()) > 40
        assert "tok" in card.inner_text() and "slot" in card.inner_text()
    assert page.locator("#ttft").inner_text() != "-"
    picture(page, "done")
    page.click("#clear")
    expect(cards).to_have_count(0)


def test_one_and_all_can_be_cancelled_by_keyboard(page):
    fill(page, count=3, tokens=100_000)
    page.focus("#temperature")
    page.keyboard.press("Control+Enter")
    expect(page.locator(".state", has_text="waiting")).to_have_count(0)
    first = page.locator("article button").first
    first.focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Escape")
    expect(page.locator("#done")).to_have_text("3")
    ends = {state.inner_text() for state in page.locator(".state").all()}
    # The demo model may have come to an end before.
    assert ends <= {"cancelled", "stop", "length"}
    assert page.locator("#stop").is_disabled()


def test_errors_are_shown_where_they_belong(page):
    fill(page, count=1, prompts="word " * 3000)
    page.click("#send")
    expect(page.locator("article .state")).to_have_text("error")
    assert "tokens" in page.locator("article p").inner_text()


def test_it_can_be_used_on_a_telephone(page):
    page.set_viewport_size({"width": 360, "height": 740})
    fill(page, count=2, tokens=8)
    page.click("#send")
    expect(page.locator("#done")).to_have_text("2")
    # No `evaluate` of strings: the page forbids it, as it should.
    wide = [box["x"] + box["width"] for box in map(lambda one: one.bounding_box(), page.locator("body *:visible").all()) if box]
    assert max(wide) <= 360, "nothing sticks out"
    picture(page, "telephone")


def test_chats_are_answered_beside_the_streams(page):
    fill(page, count=6, tokens=100_000)
    page.click("#send")
    expect(page.locator("article p").first).to_have_text(re.compile(r"(.|\n){40}"))
    page.click("#new")
    for _ in range(2):
        page.keyboard.press("Control+k")
        page.keyboard.type("Once upon a time")
        page.keyboard.press("Enter")
    expect(page.locator(".turn.answer > .prose")).to_have_text(re.compile(r"\w+ \w+"))
    expect(page.locator("#go")).to_have_attribute("aria-label", "Send")
    expect(page.locator(".turn.answer .figures").last).to_have_text(re.compile(r"tokens · .* tok/s"))
    picture(page, "chat")
    expect(page.locator("#slot-list li")).to_have_count(8)
    expect(page.locator("#chats li")).to_have_count(2)
    page.click("#to-streams")
    page.keyboard.press("Escape")
    expect(page.locator("#done")).to_have_text("6")
