"""The page's chat in a browser, over an API that is played (page_server.py): no binary and no model is needed.

    python -m pytest crates/llama-concurrent-server/tests/python/test_chat_page.py
"""

import json
import os
import pathlib
import re
import shutil
import threading

import pytest
from page_server import HOSTILE, MARKDOWN, SOURCE, PageServer

playwright = pytest.importorskip("playwright.sync_api")
expect = playwright.expect
BROWSER = next(filter(None, map(shutil.which, ["chromium", "chromium-browser", "google-chrome"])), None)
pytestmark = pytest.mark.skipif(BROWSER is None, reason="no Chromium here")
# With it set, pictures of the page are left there.
PICTURES = os.environ.get("PAGE_PICTURES")
TOOLS = [{"type": "function", "function": {"name": "get_weather", "parameters": {"type": "object", "properties": {}}}}]


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as session:
        browser = session.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def server():
    server = PageServer()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def open_page(browser, server):
    """Opens the page; what goes wrong in it fails the test, but for refusals that the test asks for."""
    contexts, problems = [], []

    def start(**options):
        context = browser.new_context(**{"viewport": {"width": 1280, "height": 860}} | options)
        contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("dialog", lambda dialog: (problems.append("dialog: " + dialog.message), dialog.dismiss()))
        page.on("request", lambda request: None if request.url.startswith((server.url, "blob:", "data:")) else problems.append(request.url))
        page.on("console", lambda one: problems.append(one.text) if one.type == "error" and "Failed to load" not in one.text else None)
        page.goto(server.url)
        expect(page.locator("#meter-text")).to_have_text("0/8")
        return page

    yield start
    for context in contexts:
        context.close()
    assert problems == []


@pytest.fixture
def page(open_page):
    return open_page()


def say(page, text, waits=True):
    page.fill("#say", text)
    page.keyboard.press("Enter")
    if waits:
        done(page)


def done(page):
    expect(page.locator("#go")).to_have_attribute("aria-label", "Send", timeout=20_000)


def last(page):
    return page.locator(".turn.answer").last


def text_of(page):
    return last(page).locator(":scope > .prose")


def picture(page, name):
    if PICTURES:
        page.screenshot(path=pathlib.Path(PICTURES) / f"{name}.png")


def test_an_answer_streams_and_says_what_it_cost(page, server):
    say(page, "slow 80", waits=False)
    expect(text_of(page)).to_contain_text("word10")
    assert "word79" not in text_of(page).inner_text(), "it is seen while it is written"
    expect(last(page)).to_have_class(re.compile("live"))
    expect(page.locator("#meter-text")).to_have_text("1/8")
    done(page)
    expect(text_of(page)).to_contain_text("word79")
    expect(last(page).locator(".figures")).to_have_text(re.compile(r"^\d+ tokens · 41\.3 tok/s · first after \d+ ms$"))
    assert server.requests[-1]["stream_options"] == {"include_usage": True}
    assert server.requests[-1]["messages"] == [{"role": "user", "content": "slow 80"}]
    # The next question has the whole conversation.
    say(page, "and now?")
    assert [one["role"] for one in server.requests[-1]["messages"]] == ["user", "assistant", "user"]
    expect(page.locator("#announce")).to_contain_text("You said: and now?")


def test_thoughts_are_folded(page, server):
    say(page, "think about the sky")
    thoughts = last(page).locator("details.thoughts")
    expect(thoughts.locator("summary")).to_have_text(re.compile(r"^Thought for .+, \d+ tokens$"))
    assert not thoughts.locator(".prose").is_visible()
    thoughts.locator("summary").focus()
    page.keyboard.press("Enter")
    expect(thoughts.locator("em")).to_have_text("Rayleigh scattering")
    expect(text_of(page).locator("strong")).to_have_text("short waves")
    say(page, "go on")
    assert "Rayleigh" in server.requests[-1]["messages"][1]["reasoning_content"]


def test_calls_of_tools_are_cards_that_take_results(page, server):
    page.click("#settings-open")
    page.fill("#set-tools", json.dumps(TOOLS))
    expect(page.locator("#tools-note")).to_have_text("Shown to the model: get_weather.")
    say(page, "weather in Zürich")
    assert server.requests[-1]["tools"] == TOOLS
    cards = last(page).locator(".call")
    expect(cards).to_have_count(2)
    expect(cards.first.locator("b")).to_have_text("get_weather")
    expect(cards.first.locator("pre").first).to_have_text('{\n  "city": "Zürich",\n  "days": [\n    1,\n    2\n  ]\n}')
    picture(page, "calls")
    # The focus is where the result is wanted.
    page.keyboard.type("sunny")
    page.keyboard.press("Enter")
    page.keyboard.type("rain <b>")
    page.keyboard.press("Enter")
    expect(page.locator(".turn.answer")).to_have_count(2)
    done(page)
    expect(text_of(page)).to_contain_text("take an umbrella")
    calls, *results = server.requests[-1]["messages"][1:]
    assert [call["function"]["name"] for call in calls["tool_calls"]] == ["get_weather"] * 2
    assert json.loads(calls["tool_calls"][0]["function"]["arguments"]) == {"city": "Zürich", "days": [1, 2]}
    assert results == [
        {"role": "tool", "tool_call_id": "call_0", "content": "sunny"},
        {"role": "tool", "tool_call_id": "call_1", "content": "rain <b>"},
    ]


@pytest.mark.parametrize(
    ("tools", "message"),
    [
        ("[{", "This is not JSON"),
        ('{"name": "f"}', "A list is expected"),
        ('[{"type": "function"}]', 'Tool 1 needs "function"'),
        ('[{"type": "function", "function": {"name": "a b"}}]', "letters, digits"),
        (json.dumps(TOOLS + TOOLS), "Tool 2: there is another"),
    ],
)
def test_tools_are_checked_before_they_are_sent(page, server, tools, message):
    page.click("#settings-open")
    page.fill("#set-tools", tools)
    expect(page.locator("#tools-note")).to_contain_text(message)
    say(page, "hello")
    expect(page.locator("#set-tools")).to_be_focused()
    assert server.requests == [] and page.input_value("#say") == "hello"


def test_settings_are_sent(page, server):
    page.click("#settings-open")
    for name, value in {"system": "Be brief.", "temperature": "0.7", "max": "64"}.items():
        page.fill("#set-" + name, value)
    page.select_option("#set-thinking", "off")
    page.select_option("#set-effort", "low")
    page.select_option("#set-priority", "batch")
    say(page, "hello")
    request = server.requests[-1]
    assert request["messages"][0] == {"role": "system", "content": "Be brief."}
    assert (request["temperature"], request["max_tokens"], request["reasoning_effort"]) == (0.7, 64, "low")
    assert (request["chat_template_kwargs"], request["priority"]) == ({"enable_thinking": False}, "batch")


def test_stop_cancels_at_the_server_and_an_answer_goes_on(page, server):
    say(page, "slow 2000", waits=False)
    expect(text_of(page)).to_contain_text("word5")
    page.keyboard.press("Escape")
    done(page)
    expect(last(page).locator(".figures")).to_contain_text("stopped")
    page.wait_for_timeout(200)
    assert server.cancelled == 1 and not server.tasks
    last(page).get_by_role("button", name="Continue").click()
    expect(text_of(page)).to_contain_text("and the rest of it.")
    assert server.requests[-1]["messages"][-1]["role"] == "assistant"


def test_chats_are_answered_side_by_side(page, server):
    say(page, "slow 150 first", waits=False)
    page.keyboard.press("Control+k")
    say(page, "slow 150 second", waits=False)
    expect(page.locator("#chats .mark.now")).to_have_count(2)
    expect(page.locator("#meter-text")).to_have_text("2/8")
    expect(text_of(page)).to_contain_text("word20")
    page.locator("#chats a", has_text="first").click()
    expect(text_of(page)).to_contain_text("word20")
    expect(page.locator(".bubble")).to_have_text("slow 150 first")
    done(page)
    expect(text_of(page)).to_contain_text("word149")
    expect(page.locator("#chats .mark.now")).to_have_count(0)


def test_more_chats_than_connections_wait(page, server):
    for i in range(6):
        page.keyboard.press("Control+k")
        say(page, f"slow 5000 number {i}", waits=False)
    expect(last(page).locator(".figures")).to_contain_text("Waits for another answer")
    expect(page.locator("#chats .mark.now")).to_have_count(6)
    page.locator("#chats a", has_text="number 0").click()
    page.keyboard.press("Escape")
    page.locator("#chats a", has_text="number 5").click()
    expect(text_of(page)).to_contain_text("word5")
    assert len(server.requests) == 6


def test_a_reload_keeps_chats(page, server):
    say(page, "hello there")
    page.keyboard.press("Control+k")
    say(page, "slow 2000", waits=False)
    expect(text_of(page)).to_contain_text("word5")
    page.fill("#say", "a draft")
    page.reload()
    expect(page.locator("#chats li")).to_have_count(2)
    expect(text_of(page)).to_contain_text("word5")
    expect(last(page).locator(".figures")).to_contain_text("stopped")
    assert page.input_value("#say") == "a draft"
    page.locator("#chats a", has_text="hello").click()
    expect(text_of(page)).to_have_text("You said: hello there")
    page.go_back()
    expect(text_of(page)).to_contain_text("word5")


def test_what_is_kept_is_bounded(open_page):
    page = open_page(bypass_csp=True)
    keep = """() => { for (let i = 0; i < 4; i++) localStorage.setItem('llama-concurrent.chat.old' + i, JSON.stringify(
        {id: 'old' + i, title: 'old ' + i, at: i, settings: {}, messages: [{role: 'user', content: 'x'.repeat(990_000)}]})) }"""
    page.evaluate(keep)
    page.reload()
    expect(page.locator("#chats li")).to_have_count(4)
    page.keyboard.press("Control+k")
    say(page, "y" * 100_000)
    expect(page.locator("#toast")).to_contain_text("“old 0” is gone")
    page.reload()
    assert page.locator("#chats a .name").all_inner_texts()[1:] == ["old 3", "old 2", "old 1"]


def test_two_windows_have_the_same_chats(page):
    say(page, "hello there")
    other = page.context.new_page()
    other.goto(page.url)
    expect(text_of(other)).to_have_text("You said: hello there")
    say(other, "and from here")
    expect(text_of(page)).to_have_text("You said: and from here")
    expect(page.locator(".turn")).to_have_count(4)


def test_half_a_call_is_not_sent_again(page, server):
    say(page, "weather, at length", waits=False)
    expect(page.locator(".call pre").first).to_contain_text("{")
    page.keyboard.press("Escape")
    done(page)
    expect(page.locator(".call .soft").first).to_have_text("was not completed")
    say(page, "never mind")
    assert "tool_calls" not in server.requests[-1]["messages"][1]


def test_chats_are_renamed_deleted_and_exported(page):
    say(page, "hello there")
    page.fill("#title", "<b>Mine</b>")
    page.keyboard.press("Enter")
    expect(page.locator("#chats a .name")).to_have_text("<b>Mine</b>")
    with page.expect_download() as download:
        page.click("#export")
    chat = json.loads(pathlib.Path(download.value.path()).read_text())
    assert download.value.suggested_filename == "b-Mine-b.json" and chat["title"] == "<b>Mine</b>"
    assert [one["content"] for one in chat["messages"]] == ["hello there", "You said: hello there"]
    page.locator("#chats li").hover()
    page.get_by_role("button", name="Delete “<b>Mine</b>”").click()
    expect(page.locator(".turn")).to_have_count(0)
    page.get_by_role("button", name="Undo").click()
    expect(text_of(page)).to_have_text("You said: hello there")


def test_messages_are_edited_and_answered_again(page, server):
    say(page, "one")
    say(page, "two")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("End")
    page.keyboard.type(" and a half")
    page.keyboard.press("Enter")
    expect(text_of(page)).to_have_text("You said: two and a half")
    done(page)
    page.get_by_role("button", name="Edit").first.click()
    page.keyboard.type("!")
    page.keyboard.press("Enter")
    expect(page.locator(".turn")).to_have_count(2)
    expect(text_of(page)).to_have_text("You said: one!")
    page.get_by_role("button", name="Undo").click()
    expect(page.locator(".turn")).to_have_count(4)
    last(page).get_by_role("button", name="Answer again").click()
    done(page)
    assert [one["content"] for one in server.requests[-1]["messages"]] == ["one", "You said: one", "two and a half"]


@pytest.mark.parametrize("policy", ["with the policy", "without it"])
def test_hostile_answers_stay_text(open_page, policy):
    # Nothing may depend on the policy alone.
    page = open_page(bypass_csp=policy == "without it")
    title = "hostile <img src=x onerror=\"document.title='HACKED'\">"
    say(page, title)
    answer = text_of(page)
    for line in HOSTILE.split("\n\n")[0].splitlines():
        expect(answer).to_contain_text(line)
    expect(answer.locator("img, script, iframe, svg, style, b, i")).to_have_count(0)
    links = [link.get_attribute("href") for link in answer.locator("a").all()]
    assert links == ["https://example.org/a_b?c=d&e", "https://example.org/p.png", "https://example.org"]
    for link in answer.locator("a").all():
        assert "noopener" in link.get_attribute("rel")
    say(page, "weather")
    expect(last(page).locator(".call b").first).to_have_text("<img src=x onerror=alert(1)>")
    say(page, "error 400")
    expect(last(page).locator(".failure")).to_contain_text("no, <b>because</b> of this")
    page.reload()
    expect(page.locator(".turn")).to_have_count(6)
    expect(page.locator("main img, main script")).to_have_count(0)
    assert page.title() == title + " – llama-concurrent"


def test_markdown(open_page):
    page = open_page(bypass_csp=True)
    say(page, "markdown, please")
    answer = text_of(page)
    expect(answer.locator("h4")).to_have_text("Sharing one model")
    expect(answer.locator("ol > li")).to_have_count(2)
    expect(answer.locator("ol ul > li")).to_have_count(2)
    expect(answer.locator(".code span")).to_have_text("rust")
    expect(answer.locator("td.right")).to_have_count(6)
    expect(answer.locator("del")).to_have_text("212")
    expect(answer.locator("blockquote")).to_contain_text("It is the weights")
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    answer.get_by_role("button", name="Copy this rust").click()
    assert page.evaluate("navigator.clipboard.readText()").startswith("/// Plans the next call")
    # A text in pieces gives what it gives whole.
    differ = """async ([texts, size]) => {
        const {Markdown} = await import('/page/markdown.js');
        return texts.filter(text => {
            const [whole, pieces] = [document.createElement('div'), document.createElement('div')];
            const [one, other] = [new Markdown(whole), new Markdown(pieces)];
            one.feed(text); one.end();
            for (let i = 0; i < text.length; i += size) other.feed(text.slice(i, i + size));
            other.end(); whole.normalize(); pieces.normalize();
            return whole.innerHTML !== pieces.innerHTML;
        });
    }"""
    texts = [MARKDOWN, HOSTILE, "*a **b* c**\n1. x\n  - y\n\n\tz\n> q\nr\n~~~\n`", "| a |\n|-|\n| `b` |\nc\n# d #\n- [x] e\n***\nf  \ng\\\nh", "w *x* " * 3000]
    for size in (1, 2, 7):
        assert page.evaluate(differ, [texts, size]) == []


def test_the_keyboard_is_enough(page):
    page.keyboard.press("Tab")
    page.keyboard.press("Shift+Tab")
    expect(page.locator("#say")).to_be_focused()
    page.keyboard.type("one")
    page.keyboard.press("Shift+Enter")
    page.keyboard.type("line")
    page.keyboard.press("Enter")
    done(page)
    expect(page.locator(".bubble")).to_have_text("one\nline")
    expect(page.locator("#say")).to_be_focused()
    page.keyboard.press("Control+k")
    expect(page.locator(".turn")).to_have_count(0)
    page.reload()
    # The first stop leads to the message, the next ones through the list of chats.
    names = []
    page.locator("#skip").focus()
    for _ in range(12):
        focused = page.locator(":focus")
        names.append(focused.get_attribute("id") or focused.get_attribute("aria-label") or focused.inner_text().split("\n")[0])
        page.keyboard.press("Tab")
    assert names[:3] == ["skip", "side-close", "new"] and "to-streams" in names and "title" in names
    page.locator("#chats a", has_text="one").focus()
    page.keyboard.press("Enter")
    expect(page.locator(".bubble")).to_have_text("one\nline")
    page.locator("#settings-open").focus()
    page.keyboard.press("Enter")
    expect(page.locator("#tab-settings")).to_be_focused()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#tab-slots")).to_have_attribute("aria-selected", "true")


def test_errors_say_what_to_do(page):
    say(page, "error 429")
    expect(last(page).locator(".failure")).to_contain_text("Error 429. no, <b>because</b> of this")
    expect(last(page).locator(".failure")).to_contain_text("It may work again in 7 s.")
    last(page).get_by_role("button", name="Try again").click()
    expect(page.locator(".turn")).to_have_count(2)
    say(page, "break it")
    expect(text_of(page)).to_have_text("This breaks")
    expect(last(page).locator(".failure")).to_contain_text("the <i>engine</i> failed")
    say(page, "vanish")
    expect(last(page).locator(".failure")).to_contain_text("before the answer was complete")
    say(page, "length")
    expect(last(page).locator(".figures")).to_contain_text("cut at the limit of tokens")
    say(page, "error 401")
    last(page).get_by_role("button", name="Give the key").click()
    expect(page.locator("#key")).to_be_focused()
    # What failed is no part of the conversation.
    say(page, "again")
    expect(text_of(page)).to_have_text("You said: again")


def test_it_follows_the_end_only_from_the_end(page):
    for _ in range(3):
        say(page, "markdown")
    log = page.locator("#log")
    say(page, "slow 300", waits=False)
    expect(text_of(page)).to_contain_text("word100")
    assert page.locator("#latest").is_hidden()
    log.hover()
    page.mouse.wheel(0, -600)
    expect(page.locator("#latest")).to_be_visible()
    before = page.locator(".turn").first.bounding_box()
    expect(text_of(page)).to_contain_text("word200")
    assert page.locator(".turn").first.bounding_box() == before, "nothing moves"
    page.click("#latest")
    expect(page.locator("#latest")).to_be_hidden()
    done(page)
    assert last(page).locator(".acts").bounding_box()["y"] < 860


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_dark_and_light(open_page, scheme):
    page = open_page(color_scheme=scheme, bypass_csp=True)
    dark = "() => parseInt(getComputedStyle(document.body).backgroundColor.match(/\\d+/)[0]) < 128"
    assert page.evaluate(dark) == (scheme == "dark")
    page.click("#theme")
    assert page.evaluate(dark) == (scheme == "light")
    page.reload()
    assert page.evaluate(dark) == (scheme == "light"), "it is remembered"


def test_colours_have_contrast():
    css = (SOURCE / "page/page.css").read_text()
    pairs = {name: (light, dark) for name, light, dark in re.findall(r"--([\w-]+): light-dark\((#\w{6}), (#\w{6})\)", css)}

    def luminance(colour):
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    def contrast(one, other):
        high, low = sorted((luminance(one), luminance(other)), reverse=True)
        return (high + 0.05) / (low + 0.05)

    texts = [("ink", "back side plate raised hover asked"), ("soft", "back side plate raised hover"), ("accent", "back side"),
             ("on-accent", "accent"), ("bad", "back side bad-back"), ("decode", "side")]
    texts = [(text, back, 4.5) for text, backs in texts for back in backs.split()]
    for text, back, least in [*texts, ("edge", "back", 3), ("edge", "side", 3), ("prefill", "side", 3)]:
        for i, scheme in enumerate(("light", "dark")):
            assert contrast(pairs[text][i], pairs[back][i]) >= least, (text, back, scheme)


def test_it_can_be_used_on_a_telephone(open_page):
    page = open_page(viewport={"width": 375, "height": 740}, has_touch=True)
    say(page, "markdown")
    expect(page.locator("#side")).to_be_hidden()
    for box in (one.bounding_box() for one in page.locator("#turns > * > *:visible, #composer *:visible, .bar *:visible").all()):
        assert box is None or box["x"] + box["width"] <= 375
    page.click("#side-open")
    expect(page.locator("#chats a")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#side")).to_be_hidden()
    expect(page.locator("#side-open")).to_be_focused()
    page.click("#meter")
    expect(page.locator("#slot-list li")).to_have_count(8)
    page.click("#panel-close")
    expect(page.locator("#panel")).to_be_hidden()
    picture(page, "telephone-chat")
