#!/usr/bin/env python3
"""Checks the documents at the root and the book under docs against the repository, so that none can promise what is not there:

- every relative link leads to a file, and an anchor to a heading of it;
- every file or folder that is named in backticks exists;
- every page is in the book's summary;
- every block of Rust, C, C++ or Python in README.md or a chapter of the book is an excerpt of a file in examples/, which tests
  compile and run, and every Python session (pycon) one of the package's documentation, which its tests run;
- every command in a block of shell there exists, with all options that it is given;
- so does every option named in the last column of a table in the chapters below, and the table of errors is that of the source.

    scripts/check-docs.py [BINARY]          default: target/release/llama-concurrent
"""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
SOURCES = {"rust": ["*.rs"], "c": ["*.c"], "cpp": ["*.cpp"], "python": ["*.py"], "sh": ["*.sh"]}
# Their blocks are of other programs, or of what only a cluster runs.
ELSEWHERE = {"ray-serve.md"}
# Names with these endings are files of the repository, unless they are of llama.cpp.
OURS = re.compile(r"\.(rs|c|cpp|h|py|pyi|sh|toml|md|lock)$")
OF_LLAMA_CPP = {"include/llama.h", "llama-arch.cpp", "src/llama-ext.h", "src/models/"}
TABLES = {"coming-from.md", "tuning.md", "server.md"}

problems: list[str] = []


def fail(where: Path, line: int, words: str) -> None:
    problems.append(f"{where.relative_to(ROOT)}:{line}: {words}")


def blocks(text: str):
    """(language, line, lines) of each fenced block."""
    inside = None
    for number, line in enumerate(text.splitlines(), 1):
        fence = re.match(r"\s*```(\S*)", line)
        if not fence:
            if inside:
                inside[2].append(line)
        elif inside:
            yield inside
            inside = None
        else:
            inside = (fence[1], number, [])


def prose(text: str) -> str:
    """The text without its blocks, with as many lines."""
    outside, inside = [], False
    for line in text.splitlines():
        fence = re.match(r"\s*```", line)
        outside.append("" if inside or fence else line)
        inside ^= bool(fence)
    return "\n".join(outside)


def lean(lines) -> str:
    """Lines without indentation, and without empty ones."""
    return "\n".join(line.strip() for line in lines if line.strip())


def anchors(path: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", prose(path.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).strip().replace(" ", "-") for heading in headings}


def check_links(path: Path, text: str) -> None:
    for number, line in enumerate(prose(text).splitlines(), 1):
        bare = re.sub(r"`[^`]*`", "", line)
        for target in re.findall(r"\]\(([^)\s]+)\)", bare) + re.findall(r"(?:src|srcset|href)=\"([^\"]+)\"", bare):
            if re.match(r"[a-z]+:", target):
                continue
            name, _, anchor = target.partition("#")
            file = (path.parent / name) if name else path
            if not file.exists():
                fail(path, number, f"{target} leads nowhere")
            elif anchor and anchor not in anchors(file):
                fail(path, number, f"{target}: no such heading")


class Files:
    """What is in the repository, built files aside."""

    def __init__(self) -> None:
        self._names: set[str] = set()
        self._top = {entry.name for entry in ROOT.iterdir()}
        for folder, folders, files in os.walk(ROOT):
            folders[:] = [name for name in folders if name not in {".git", "target", "__pycache__"}]
            where = Path(folder).relative_to(ROOT).as_posix()
            # Documents name a file by the end of its path where that is clear: every ending counts.
            for name in files + folders:
                parts = f"{where}/{name}".split("/")
                self._names.update("/".join(parts[start:]) for start in range(len(parts)))

    def lacks(self, code: str) -> bool:
        """Whether a piece of code names a file or a folder that is not there."""
        if not re.fullmatch(r"\.?[\w-][\w.-]*(/[\w.-]+)*/?", code) or code in OF_LLAMA_CPP:
            return False
        name = code.rstrip("/")
        first, *rest = name.split("/")
        # What a build makes is there after it.
        if first == "target":
            return False
        if not (OURS.search(name) or code.endswith("/") or (rest and first in self._top)):
            return False
        # The last part stands for any name where it is in capitals.
        if rest and re.fullmatch("[A-Z]+", rest[-1]):
            name = name.rpartition("/")[0]
        return name not in self._names


def check_files(path: Path, text: str, files: Files) -> None:
    for number, line in enumerate(prose(text).splitlines(), 1):
        for code in re.findall(r"`([^`]*)`", line):
            if files.lacks(code):
                fail(path, number, f"there is no {code}")


def check_excerpt(path: Path, language: str, line: int, lines: list[str], examples: dict[str, list[str]]) -> None:
    wanted = lean(lines)
    if not any(f"\n{wanted}\n" in f"\n{example}\n" for example in examples[language]):
        fail(path, line, f"this {language} is no excerpt of a file that tests run")


class Command:
    """What the help of each command lists."""

    def __init__(self, binary: str) -> None:
        self._binary = binary
        self._options: dict[str, set[str]] = {}
        self.names = set(re.findall(r"^  (\w+)  ", self._help(), re.MULTILINE)) - {"help"}

    def _help(self, *name: str) -> str:
        return subprocess.run([self._binary, *name, "--help"], capture_output=True, text=True, check=True).stdout

    def options(self, name: str) -> set[str]:
        if name not in self._options:
            text = self._help(name)
            listed = set(re.findall(r"^ +(-\w), ", text, re.MULTILINE))
            listed |= set(re.findall(r"^ +(?:-\w, )?(--[\w-]+)", text, re.MULTILINE))
            for aliases in re.findall(r"\[(?:short )?alias(?:es)?: ([^\]]*)\]", text):
                listed |= set(re.findall(r"-[\w-]+", aliases))
            self._options[name] = listed
        return self._options[name]


def check_shell(path: Path, line: int, lines: list[str], command: Command) -> bool:
    """Whether the block consists of commands that this can check."""
    text = "\n".join(lines).replace("\\\n", " ")
    known = True
    for one in filter(str.strip, text.splitlines()):
        words = shlex.split(one, comments=True)
        if not words:
            continue
        if words[0] == "llama-concurrent":
            name = words[1]
            if name not in command.names:
                fail(path, line, f"there is no command {name}")
                continue
            for word in words[2:]:
                option = word.split("=")[0]
                if re.fullmatch(r"--?[a-z][\w-]*", option) and option not in command.options(name):
                    fail(path, line, f"{name} has no option {option}")
        elif words[0].startswith("scripts/"):
            if not (ROOT / words[0]).exists():
                fail(path, line, f"there is no {words[0]}")
        elif words[:2] == ["pip", "install"]:
            for word in words[2:]:
                if word.startswith("./") and not (ROOT / word).exists():
                    fail(path, line, f"there is no {word}")
        else:
            known = False
    return known


def check_tables(path: Path, text: str, command: Command) -> None:
    every = set().union(*(command.options(name) for name in command.names))
    for number, line in enumerate(prose(text).splitlines(), 1):
        cells = line.split(" | ")
        if not line.startswith("|") or len(cells) < 2:
            continue
        # The second column of tuning.md, the last of the others.
        cell = cells[1] if path.name == "tuning.md" else cells[-1]
        for code in re.findall(r"`([^`]*)`", cell):
            for option in re.findall(r"(?<![\w-])--[a-z][\w-]*", code):
                if option not in every:
                    fail(path, number, f"no command has an option {option}")


def check_errors() -> None:
    path = DOCS / "troubleshooting.md"
    source = (ROOT / "crates/llama-concurrent-types/src/error.rs").read_text()
    rows = re.findall(r'^    (?:(\w+)|(\w+) \{[^}]*\}) = (\d+) "[^"]+", "(\w+)", (\d+), (\d+);', source, re.MULTILINE)
    rows = [(plain or numbered, *row) for plain, numbered, *row in rows]
    here = re.findall(r"^\| `(\w+)` \| (\d+) \| `(\w+)` \| (\d+) \| (\d+) \|", path.read_text(), re.MULTILINE)
    if not rows or rows != here:
        fail(path, 1, f"the kinds of errors are {rows}, not {here}")


def main() -> None:
    binary = sys.argv[1] if len(sys.argv) > 1 else str(ROOT / "target/release/llama-concurrent")
    command = Command(binary)
    examples = {
        language: [
            lean(file.read_text().splitlines())
            for pattern in patterns
            for file in sorted((ROOT / "examples").rglob(pattern))
        ]
        for language, patterns in SOURCES.items()
    }
    package = sorted((ROOT / "bindings/python/python/llama_concurrent").glob("*.py"))
    examples["pycon"] = [lean(file.read_text().splitlines()) for file in package]
    files = Files()
    readme = ROOT / "README.md"
    chapters = sorted(DOCS.glob("*.md"))
    pages = [*chapters, *sorted((DOCS / "design").glob("*.md")), *sorted((DOCS / "benchmarks").glob("*.md"))]
    summary = (DOCS / "SUMMARY.md").read_text()
    for page in pages:
        if page.name != "SUMMARY.md" and f"({page.relative_to(DOCS).as_posix()})" not in summary:
            fail(page, 1, "this page is not in SUMMARY.md")
    everything = [*sorted(ROOT.glob("*.md")), *pages]
    for path in everything:
        text = path.read_text()
        check_links(path, text)
        check_files(path, text, files)
        has_excerpts = path == readme or (path in chapters and path.name not in ELSEWHERE)
        for language, line, lines in blocks(text) if has_excerpts else ():
            if language == "sh":
                if not check_shell(path, line, lines, command):
                    check_excerpt(path, language, line, lines, examples)
            elif language in examples:
                check_excerpt(path, language, line, lines, examples)
        if path.parent == DOCS and path.name in TABLES:
            check_tables(path, text, command)
    check_errors()
    if problems:
        sys.exit("\n".join(problems))
    print(f"check-docs: {len(everything)} documents are as the repository")


if __name__ == "__main__":
    main()
