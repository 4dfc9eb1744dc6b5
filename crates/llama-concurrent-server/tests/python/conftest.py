"""One server for most tests, as a process, on the demo model."""

import os
import pathlib
import re
import subprocess
import threading

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[4]
PROGRAM = ROOT / "target" / "release" / "llama-concurrent"


class Server:
    """A running server; `log` is what it wrote to stderr so far."""

    def __init__(self, *options: str, model: pathlib.Path = ROOT / "models" / "demo.gguf"):
        command = [PROGRAM, "serve", "-m", model, "--port", "0", "-t", "1", *options]
        environment = {name: value for name, value in os.environ.items() if name != "LLAMA_API_KEY"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log: list[str] = []
        for line in self.process.stderr:
            self.log.append(line)
            if found := re.search(r"listening on (http://\S+)", line):
                self.url = found[1]
                break
        else:
            raise RuntimeError("the server did not start: " + "".join(self.log))
        threading.Thread(target=lambda: self.log.extend(self.process.stderr), daemon=True).start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=60)


@pytest.fixture(scope="session")
def server():
    with Server("--slots", "8") as server:
        yield server


@pytest.fixture(scope="session")
def url(server):
    return server.url
