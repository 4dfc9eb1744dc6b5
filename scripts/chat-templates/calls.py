#!/usr/bin/env python3
"""What llama.cpp's own tests expect of the calls and thoughts of real models, for the test `real` of the tools crate.

    calls.py SDIST DIR    builds the tests of llama.cpp and writes DIR/calls.json

SDIST is the source distribution of llama-cpp-python, an archive or a folder, as `pip download --no-deps --no-binary
llama-cpp-python llama-cpp-python==0.3.36` gets it. DIR holds its templates, which `reference.py fetch DIR` writes. Needs cmake
and a C++ compiler, and takes some minutes.

    LLAMA_CONCURRENT_TEMPLATES=DIR cargo test --release -p llama-concurrent-tools --test real -- --nocapture
"""

import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

DUMPER = Path(__file__).resolve().parent / "calls.h"
# Lines of tests/test-chat.cpp, and what is put in front of them or behind.
CASE = "static void test_peg_parser(common_chat_templates *"
PARSER = "auto parser = make_peg_parser(tmpls, tc.params, detailed_debug);"
TEMPLATE = "test_peg_parser(tester_.tmpls_.get(),"
OPTIONS = ["-DCMAKE_BUILD_TYPE=Release", "-DBUILD_SHARED_LIBS=OFF", "-DLLAMA_BUILD_TESTS=ON", "-DLLAMA_BUILD_UI=OFF"]
OPTIONS += ["-DLLAMA_CURL=OFF", "-DLLAMA_OPENSSL=OFF", "-DGGML_NATIVE=OFF"]


def unpack(source, scratch):
    if source.is_dir():
        shutil.copytree(source, scratch / "source")
    else:
        with tarfile.open(source) as tar:
            tar.extractall(scratch / "source", filter="data")
    (tests,) = (scratch / "source").glob("**/llama.cpp/tests/test-chat.cpp")
    return tests


def patch(text):
    """The tests, which write down each case that they run."""
    for line in (CASE, PARSER, TEMPLATE):
        if text.count(line) != 1:
            sys.exit(f"this version of llama.cpp has other tests: {line!r} stands {text.count(line)} times in test-chat.cpp")
    text = text.replace(CASE, f'#include "{DUMPER}"\n{CASE}')
    text = text.replace(PARSER, f"{PARSER}\n    calls_write(tc, parser);")
    return text.replace(TEMPLATE, f"calls_template = tester_.template_path();\n        {TEMPLATE}")


def main(source, folder):
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        tests = unpack(source, scratch)
        tests.write_text(patch(tests.read_text()))
        llama, build, lines = tests.parents[1], scratch / "build", scratch / "calls.jsonl"
        subprocess.run(["cmake", "-S", llama, "-B", build, *OPTIONS], check=True)
        subprocess.run(["cmake", "--build", build, "--target", "test-chat", "--parallel", str(os.cpu_count())], check=True)
        environment = {**os.environ, "CALLS": str(lines)}
        subprocess.run([build / "bin/test-chat"], cwd=llama, env=environment, check=True)
        cases = [json.loads(line) for line in lines.read_text().splitlines()]
    (folder / "calls.json").write_text(json.dumps(cases, indent=1, ensure_ascii=False))
    print(len(cases), "cases in", folder / "calls.json")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(Path(sys.argv[1]), Path(sys.argv[2]))
