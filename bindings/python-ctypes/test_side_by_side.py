"""Our library beside another llama.cpp in one process: xllamacpp, which exports thousands of llama.cpp's symbols.

Both generate from the demo model at the same time, greedily, and must say what each of them says alone. Needs
`pip install xllamacpp`; skipped without it. The other library is loaded so that its symbols are visible to everyone,
first or second, each in a process of its own, because what is loaded stays.
"""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import unittest
from pathlib import Path

HERE = Path(__file__).resolve().parent
MODEL = os.environ.get("LLAMA_CONCURRENT_MODEL", str(HERE / "../../models/demo.gguf"))
PROMPT = "Once upon a time there was a fox"

PROGRAM = """
import os, sys, threading
sys.path.insert(0, {here!r})
sys.setdlopenflags(os.RTLD_NOW | os.RTLD_GLOBAL)

def theirs():
    import xllamacpp
    params = xllamacpp.CommonParams()
    params.model.path, params.n_ctx, params.n_parallel, params.warmup = {model!r}, 1024, 2, False
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    server = xllamacpp.Server(params)
    request = {{"prompt": {prompt!r}, "max_tokens": 40, "temperature": 0}}
    return server, lambda: server.handle_completions(request)["choices"][0]["text"]

def ours():
    import llama_concurrent_ctypes as llama
    engine = llama.Engine({model!r}, threads=1, pin=False)
    return engine, lambda: engine.generate({prompt!r}, llama.SamplingParams(max_tokens=40)).text

loaders = [ours, theirs] if {ours_first} else [theirs, ours]
(first, ask_first), (second, ask_second) = [load() for load in loaders]
alone = [ask_first(), ask_second()]
assert alone[0] == alone[1] and len(alone[0]) > 50, alone

answers = []
def ask(question):
    for _ in range(8):
        answers.append(question())

threads = [threading.Thread(target=ask, args=(question,)) for question in (ask_first, ask_second) for _ in range(2)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
assert len(answers) == 32 and set(answers) == set(alone), answers
print("side by side:", alone[0])
"""


@unittest.skipUnless(importlib.util.find_spec("xllamacpp"), "xllamacpp is not installed")
class SideBySide(unittest.TestCase):
    def run_with(self, ours_first: bool) -> None:
        program = PROGRAM.format(here=str(HERE), model=MODEL, prompt=PROMPT, ours_first=ours_first)
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=300)
        self.assertEqual(done.returncode, 0, done.stderr[-3000:])
        self.assertIn("side by side:", done.stdout)

    def test_ours_first(self) -> None:
        self.run_with(ours_first=True)

    def test_theirs_first(self) -> None:
        self.run_with(ours_first=False)


if __name__ == "__main__":
    unittest.main()
