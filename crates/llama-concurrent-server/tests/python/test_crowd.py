"""A crowd: 500 connections at once on 8 slots, and 2,000 that vanish in the middle of their streams."""

import asyncio
import json
import pathlib
import re
import urllib.request

import pytest

from conftest import Server

BODY = json.dumps({"prompt": "Once upon a time", "n_predict": 24, "ignore_eos": True, "stream": True})
LONG = BODY.replace("24", "900")


def request(body):
    return f"POST /completion HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {len(body)}\r\n\r\n{body}".encode()


async def ask(host, port):
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(request(BODY))
        answer = (await reader.read()).decode()
    finally:
        writer.close()
    return int(answer.split(" ", 2)[1]), answer


async def vanish(host, port, gate):
    async with gate:
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(request(LONG))
            while True:
                line = await reader.readline()
                # In the middle of the stream, or told that there is no room.
                if not line or line.startswith((b"data: ", b'{"error"')):
                    break
        finally:
            writer.transport.abort()


def memory(process):
    """Resident bytes."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return int(re.search(r"VmRSS:\s+(\d+) kB", status)[1]) * 1024


def figure(url, name):
    text = urllib.request.urlopen(url + "/metrics").read().decode()
    return float(re.search(rf"^{re.escape(name)} (\S+)$", text, re.MULTILINE)[1])


async def until_idle(url):
    for _ in range(3000):
        running, waiting = (figure(url, f"llama_concurrent:num_requests_{state}") for state in ("running", "waiting"))
        if running == waiting == 0:
            return
        await asyncio.sleep(0.02)
    raise AssertionError("slots were not freed")


@pytest.mark.skipif(not pathlib.Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_crowd():
    with Server("--slots", "8", "--max-queue", "200") as server:
        host, port = server.url.removeprefix("http://").rsplit(":", 1)

        async def crowd():
            results = await asyncio.gather(*(ask(host, port) for _ in range(500)))
            codes = {code for code, _ in results}
            assert codes <= {200, 429, 503}, codes
            accepted = [answer for code, answer in results if code == 200]
            assert len(accepted) >= 200
            assert all('"stop":true' in answer and '"tokens_predicted":24' in answer for answer in accepted)
            assert all("retry-after" in answer for code, answer in results if code != 200)
            await until_idle(server.url)

        asyncio.run(crowd())
        after_crowd = memory(server.process)

        async def vanishing():
            gate = asyncio.Semaphore(100)
            await asyncio.gather(*(vanish(host, port, gate) for _ in range(2000)))
            await until_idle(server.url)

        asyncio.run(vanishing())
        grown = memory(server.process) - after_crowd
        assert grown < 30e6, f"{grown / 1e6:.0f} MB stayed behind"
        with urllib.request.urlopen(server.url + "/slots") as slots:
            assert not any(slot["is_processing"] for slot in json.load(slots))
