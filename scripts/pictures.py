#!/usr/bin/env python3
"""Draws the pictures of the documents, from target/release/llama-concurrent:

    scripts/pictures.py demo            docs/demo.svg: the demo in a terminal of tmux, half-way through its texts
    scripts/pictures.py page [MODEL]    docs/server-page.png, -dark.png: chats on the server's page beside other streams, of
                                        the demo model or of a file; wants playwright and chromium
"""

import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from xml.sax.saxutils import escape

ROOT = Path(__file__).resolve().parent.parent
BINARY = ROOT / "target/release/llama-concurrent"
DEMO = f"{BINARY} demo --no-table --read-speed 12"
COLUMNS, ROWS = 122, 42
CELL, LINE, MARGIN = 7.8, 16, 14
INK, BACK = "#e6e6e6", "#11151c"
# What the demo uses of the sixteen colours of a terminal.
COLOURS = {"36": "#7dcfff", "32": "#7dd3a8", "33": "#e0af68", "90": "#9aa4b2", "38;5;8": "#9aa4b2", "38;5;14": "#7dcfff",
           "38;5;10": "#7dd3a8", "38;5;11": "#e0af68", "38;5;6": "#7dcfff", "38;5;2": "#7dd3a8", "38;5;3": "#e0af68"}


def tmux(*words: str) -> str:
    return subprocess.run(["tmux", "-L", "pictures", *words], check=True, capture_output=True, text=True).stdout


def capture() -> list[str]:
    """The lines of the terminal once each text has some 60 tokens, with their colours."""
    tmux("new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), DEMO)
    try:
        for _ in range(300):
            time.sleep(0.1)
            counts = [int(n) for n in re.findall(r"decoding (\d+) tokens", tmux("capture-pane", "-p"))]
            if len(counts) == 8 and min(counts) >= 60:
                return tmux("capture-pane", "-p", "-e").rstrip("\n").split("\n")
        raise SystemExit("pictures: the demo did not come so far in 30 s")
    finally:
        tmux("kill-server")


def runs(line: str) -> list[tuple[int, str, str, bool]]:
    """Column, text, colour and boldness of the parts of a line."""
    column, colour, bold, parts = 0, INK, False, []
    for codes, text in re.findall(r"((?:\x1b\[[0-9;]*m)*)([^\x1b]*)", line):
        for code in re.findall(r"\x1b\[([0-9;]*)m", codes):
            if code in ("", "0"):
                colour, bold = INK, False
            elif code in ("39", "49"):
                colour = INK if code == "39" else colour
            elif code in ("1", "22"):
                bold = code == "1"
            else:
                colour = COLOURS[code]
        # A gap between two boxes is where it is by its column, not by spaces that a viewer may squeeze.
        for word in re.finditer(r"\S+(?: \S+)*", text):
            parts.append((column + word.start(), word.group(), colour, bold))
        column += len(text)
    return parts


def svg(lines: list[str]) -> str:
    width, height = round(COLUMNS * CELL + 2 * MARGIN), len(lines) * LINE + 2 * MARGIN
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-size="13"'
        ' font-family="ui-monospace,SFMono-Regular,Menlo,Consolas,monospace">',
        "<title>llama-concurrent demo: eight texts growing at once</title>",
        f'<rect width="100%" height="100%" rx="8" fill="{BACK}"/>',
    ]
    for row, line in enumerate(lines):
        for column, text, colour, bold in runs(line):
            x, y = MARGIN + column * CELL, MARGIN + row * LINE + 12
            weight = ' font-weight="bold"' if bold else ""
            out.append(
                f'<text x="{x:.1f}" y="{y}" fill="{colour}"{weight} textLength="{len(text) * CELL:.1f}"'
                f' lengthAdjust="spacingAndGlyphs">{escape(text)}</text>'
            )
    return "\n".join([*out, "</svg>", ""])


# The demo model is a small child.
SIMPLE = ("Tell me about the fox.", "What colour is the sky?", "What is a cow?")
QUESTIONS = (
    "Tell me a story about a robot in a garden.",
    "What should I see in Lisbon in two days?",
    "How can a computer answer several people at once? Use a list, a table and some lines of Python.",
)


def page(model: str | None = None) -> None:
    """Three chats are asked, and the last one is seen while a crowd of streams keeps the slots busy."""
    from playwright.sync_api import expect, sync_playwright

    command = [BINARY, "serve", "--port", "0", "--slots", "8", *(["-m", model] if model else ["--threads", "1"])]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        url = next(line.split()[-1] for line in server.stderr if line.startswith("listening on"))
        with sync_playwright() as session:
            chromium = shutil.which("chromium") or shutil.which("google-chrome")
            browser = session.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
            for scheme, name in (("light", "server-page.png"), ("dark", "server-page-dark.png")):
                view = browser.new_page(color_scheme=scheme, viewport={"width": 1280, "height": 860})
                view.goto(url)
                for question in QUESTIONS if model else SIMPLE:
                    view.keyboard.press("Control+k")
                    view.keyboard.type(question)
                    view.keyboard.press("Enter")
                view.click("#to-streams")
                expect(view.locator("#link")).to_have_text("connected")
                # The demo model writes some thousands of tokens a second.
                view.fill("#count", "4" if model else "120")
                view.fill("#tokens", "400")
                view.select_option("#priority", "batch")
                view.click("#send")
                view.locator("#chats a").first.click()
                text = view.locator(".turn.answer > .prose")
                stop = view.locator("#go[aria-label=Stop]")
                for _ in range(1200):
                    if len(text.inner_text()) > 900 or not stop.count():
                        break
                    view.wait_for_timeout(100)
                expect(view.locator("#meter-text")).to_have_text(re.compile("^[1-9]"))
                view.mouse.move(640, 700)
                server.send_signal(signal.SIGSTOP)  # the demo model is too fast for a camera
                view.wait_for_timeout(150)
                view.screenshot(path=ROOT / "docs" / name)
                server.send_signal(signal.SIGCONT)
                view.close()
    finally:
        server.terminate()
        server.wait()


if __name__ == "__main__":
    if sys.argv[1:] == ["demo"]:
        (ROOT / "docs/demo.svg").write_text(svg(capture()))
    elif sys.argv[1:2] == ["page"] and len(sys.argv) <= 3:
        page(*sys.argv[2:])
    else:
        sys.exit(__doc__)
