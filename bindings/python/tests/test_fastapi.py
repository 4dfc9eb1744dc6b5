"""The web service of the examples, in a process of its own, so that clients that go away really do."""

from __future__ import annotations

import asyncio
import concurrent.futures
import gc
import importlib.util
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path

import llama_concurrent as llama
import pytest
from llama_concurrent import SamplingParams

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")
httpx = pytest.importorskip("httpx")
connect = pytest.importorskip("websockets.sync.client").connect

APP = Path(__file__).resolve().parents[3] / "examples/python/fastapi_app.py"
PROMPT = "Once upon a time"
SLOTS = 4
SHORT = {"prompt": PROMPT, "max_tokens": 12, "ignore_eos": True}
# The context is far longer than the model's, so that this takes long enough to be seen and cancelled.
ENDLESS = {"prompt": PROMPT, "max_tokens": 8000, "ignore_eos": True}
GREEDY = SamplingParams(max_tokens=12, ignore_eos=True)


def eventually(condition) -> bool:
    end = time.monotonic() + 60
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


class Service:
    def __init__(self, process, log):
        self.process, self.log = process, log
        assert eventually(lambda: self.find_url() or process.poll() is not None) and self.find_url(), log.read_text()
        self.url = self.find_url()[1]
        self.client = httpx.Client(base_url=self.url, timeout=60, trust_env=False)

    def find_url(self):
        return re.search(r"running on (http://127\.0\.0\.1:\d+)", self.log.read_text())

    def post(self, body, path="/generate"):
        content = body if isinstance(body, str) else json.dumps(body)
        return self.client.post(path, content=content, headers={"content-type": "application/json"})

    def send_only(self, body, path):
        """A connection that has sent a request and reads nothing."""
        content = json.dumps(body)
        connection = socket.create_connection(("127.0.0.1", httpx.URL(self.url).port))
        head = f"POST {path} HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {len(content)}"
        connection.sendall(f"{head}\r\n\r\n{content}".encode())
        return connection

    @contextmanager
    def socket(self):
        with connect(self.url.replace("http", "ws") + "/ws", proxy=None, max_queue=None) as connection:
            yield Socket(connection)

    def stats(self):
        return self.client.get("/stats").json()

    def busy(self):
        health = self.client.get("/health").json()
        return health["running"] + health["waiting"]

    def lives_on(self):
        return self.post(SHORT).json()["n_output_tokens"] == 12


class Socket:
    def __init__(self, connection):
        self.connection = connection

    def send(self, message):
        self.connection.send(message if isinstance(message, (str, bytes)) else json.dumps(message))

    def receive(self):
        return json.loads(self.connection.recv(timeout=60))


@contextmanager
def serve(log):
    environment = os.environ | {"LLAMA_SLOTS": str(SLOTS), "LLAMA_N_CTX": "8192", "PORT": "0"}
    with log.open("w") as out:
        process = subprocess.Popen([sys.executable, APP], env=environment, stdout=out, stderr=out)
    try:
        service = Service(process, log)
        with service.client:
            yield service
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0
        assert "Traceback" not in log.read_text()
    finally:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def service(tmp_path_factory):
    with serve(tmp_path_factory.mktemp("service") / "log") as service:
        yield service


def events(response):
    """The events of a stream."""
    for line in response.iter_lines():
        if line:
            assert line.startswith("data: ")
            yield json.loads(line.removeprefix("data: "))


def test_generate(service, engine):
    got = service.post(SHORT)
    assert got.status_code == 200 and got.json()["text"] == engine.generate(PROMPT, GREEDY).text
    assert got.json()["finish_reason"] == "length" and got.json()["ttft"] <= got.json()["e2e_latency"]
    assert service.client.get("/health").json() == {"status": "ok", "slots": SLOTS, "running": 0, "waiting": 0}


def test_stream_is_the_text(service, engine):
    with service.client.stream("POST", "/generate/stream", json=SHORT) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        *pieces, end = events(response)
    assert len(pieces) > 1 and "".join(piece["text"] for piece in pieces) == engine.generate(PROMPT, GREEDY).text
    assert end["finish_reason"] == "length" and end["n_output_tokens"] == 12 and end["n_prompt_tokens"] > 0
    assert 0 <= end["queue_time"] <= end["ttft"] <= end["e2e_latency"]


def test_stop_strings_and_chance(service):
    words = service.post(SHORT).json()["text"]
    stopped = service.post(SHORT | {"stop": [words.split()[2]]}).json()
    assert stopped["finish_reason"] == "stop" and words.startswith(stopped["text"]) and stopped["text"] != words
    drawn = {service.post(SHORT | {"temperature": 2, "seed": seed}).json()["text"] for seed in range(5)}
    assert len(drawn) > 1


def test_twenty_clients_at_once(service):
    def ask(number):
        body = {"prompt": f"{number} foxes", "max_tokens": 30 + number, "ignore_eos": True}
        if number % 2:
            return service.post(body).json()["n_output_tokens"]
        with service.client.stream("POST", "/generate/stream", json=body) as response:
            return list(events(response))[-1]["n_output_tokens"]

    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        assert list(pool.map(ask, range(20))) == [30 + number for number in range(20)]


@pytest.mark.parametrize("path", ["/generate", "/generate/stream"])
def test_clients_that_go_away_free_their_slots_and_places(service, path):
    before = service.stats()
    held = [service.send_only(ENDLESS, path) for _ in range(SLOTS + 2)]
    assert eventually(lambda: service.stats()["requests_submitted"] == before["requests_submitted"] + SLOTS + 2)
    assert eventually(lambda: service.client.get("/health").json()["running"] == SLOTS)
    [connection.close() for connection in held]
    assert eventually(lambda: service.busy() == 0)
    assert service.stats()["requests_cancelled"] == before["requests_cancelled"] + SLOTS + 2
    assert service.lives_on()


def test_leaving_in_the_middle_of_a_stream(service):
    before = service.stats()["requests_cancelled"]
    with service.client.stream("POST", "/generate/stream", json=ENDLESS) as response:
        following = events(response)  # held: collected, it closes the connection
        assert next(following)["text"]
        assert service.busy() == 1
    assert eventually(lambda: service.busy() == 0)
    assert service.stats()["requests_cancelled"] == before + 1


def test_many_generations_on_one_socket(service, engine):
    texts = {f"request {number}": "" for number in range(SLOTS + 2)}
    ends, order = {}, []
    with service.socket() as socket:
        for number, name in enumerate(texts):
            socket.send(SHORT | {"id": name, "max_tokens": 100 + number})
        while len(ends) < len(texts):
            event = socket.receive()
            name = event.pop("id")
            assert name not in ends
            if "text" in event:
                texts[name] += event["text"]
                order.append(name)
            else:
                ends[name] = event
    assert [ends[name]["n_output_tokens"] for name in texts] == [100 + number for number in range(SLOTS + 2)]
    assert all(text.startswith(engine.generate(PROMPT, GREEDY).text[:8]) for text in texts.values())
    changes = sum(a != b for a, b in zip(order, order[1:]))
    assert changes > len(texts), "they should take turns"


def test_cancelling_one_of_many(service):
    with service.socket() as socket:
        for name in ("a", "b"):
            socket.send(ENDLESS | {"id": name})
        while socket.receive()["id"] != "a":
            pass
        socket.send({"cancel": "nobody"})
        socket.send({"cancel": "a"})
        while "text" in (event := socket.receive()):
            pass
        assert event == {"id": "a", "finish_reason": "cancelled"}
        assert [socket.receive()["id"] for _ in range(20)] == ["b"] * 20
        # An id is free again after its end, and not before.
        socket.send(SHORT | {"id": "b"})
        while (event := socket.receive()).get("id") == "b":
            pass
        assert "'b' is running" in event["error"]
        socket.send({"cancel": "b"})
        while "finish_reason" not in socket.receive():
            pass
        socket.send(SHORT | {"id": "b"})
        got = [socket.receive()]
        while "finish_reason" not in got[-1]:
            got.append(socket.receive())
        assert got[-1]["n_output_tokens"] == 12 and {event["id"] for event in got} == {"b"}


def test_a_closed_socket_cancels_all(service):
    before = service.stats()["requests_cancelled"]
    with service.socket() as socket:
        for number in range(SLOTS + 3):
            socket.send(ENDLESS | {"id": str(number)})
        assert eventually(lambda: service.busy() == SLOTS + 3)
    assert eventually(lambda: service.busy() == 0)
    assert service.stats()["requests_cancelled"] == before + SLOTS + 3
    assert service.lives_on()


BAD = [
    ('{"prompt": ', 422, "JSON"),
    ("[" * 100_000, 400, "body"),
    ("[]", 422, "body"),
    ({}, 422, "prompt: Field required"),
    ({"prompt": ""}, 422, "at least 1 character"),
    ({"prompt": 5}, 422, "prompt: Input should be a valid string"),
    ({"prompt": "a " * 20_000}, 422, "at most 32000 characters"),
    ({"prompt": "a " * 1_000_000}, 413, "Too Large"),
    ({"prompt": "fox " * 7_900, "max_tokens": 8000}, 422, "8192 tokens"),
    ({"prompt": "a", "max_tokens": "many"}, 422, "max_tokens: Input should be a valid integer"),
    ({"prompt": "a", "max_tokens": 9000}, 422, "max_tokens 9000"),
    ({"prompt": "a", "temperature": float("nan")}, 422, "temperature"),
    ({"prompt": "a", "stop": [""]}, 422, "stop: 0"),
    ({"prompt": "a", "stop": ["\ud800"]}, 422, "stop: 0"),
    ({"prompt": "\ud800"}, 422, "prompt"),
    ({"prompt": "a", "temprature": 1}, 422, "temprature: Extra inputs"),
    (ENDLESS | {"timeout": 0.001}, 504, "time"),
]


@pytest.mark.parametrize(("body", "status", "words"), BAD, ids=[f"{words}, {status}" for _, status, words in BAD])
def test_bad_requests(service, body, status, words):
    got = service.post(body)
    assert got.status_code == status and words in got.text and len(got.text) < 400
    if status != 504:
        got = service.post(body, "/generate/stream")
        assert got.status_code == status and words in got.text
    assert service.lives_on()


def test_a_stream_that_fails_ends_with_the_error(service):
    with service.client.stream("POST", "/generate/stream", json=ENDLESS | {"timeout": 0.05}) as response:
        *pieces, end = events(response)
    assert all("text" in piece for piece in pieces) and end["status"] == 504 and "time" in end["error"]


@pytest.mark.parametrize(
    ("message", "about", "words"),
    [
        ("", None, "Invalid JSON"),
        ("{", None, "Invalid JSON"),
        ("[" * 100_000, None, "Invalid JSON"),
        (b"\xff\xfe", None, "Invalid JSON"),
        ("[1]", None, "should be an object"),
        ({"hello": 1}, None, "hello: Extra inputs"),
        ({"prompt": "a"}, None, "id: Field required"),
        ({"id": 5, "prompt": "a"}, None, "id: Input should be a valid string"),
        ({"id": "x"}, "x", "prompt: Field required"),
        ({"id": "x", "prompt": 5}, "x", "prompt: Input should be a valid string"),
        ({"id": "x", "prompt": "a" * 40_000}, "x", "at most 32000 characters"),
        ({"id": "x", "prompt": "a", "max_tokens": 9000}, "x", "max_tokens 9000"),
        ({"id": "x", **ENDLESS, "timeout": 0.001}, "x", "time"),
        ({"cancel": 5}, None, "cancel: Input should be a valid string"),
    ],
)
def test_bad_messages_leave_the_socket_open(service, message, about, words):
    with service.socket() as socket:
        socket.send(message)
        while "text" in (got := socket.receive()):
            pass
        assert words in got["error"] and got.get("id") == about and len(got["error"]) < 400
        socket.send(SHORT | {"id": "good"})
        while "text" in (got := socket.receive()):
            pass
        assert got["n_output_tokens"] == 12
    assert service.lives_on()


def test_a_message_beyond_the_limit_closes_the_socket(service):
    with service.socket() as socket:
        socket.send("x" * 2_000_000)
        with pytest.raises(Exception, match="1009"):
            socket.receive()
    assert service.lives_on()


def test_a_full_queue(service):
    count = 1024 + SLOTS + 20
    with service.socket() as socket:
        for number in range(count):
            socket.send(ENDLESS | {"id": str(number)})
        while "text" in (event := socket.receive()):
            pass
        assert event["status"] == 503 and event["error"]
        for path in ("/generate", "/generate/stream"):
            got = service.post(SHORT, path)
            assert got.status_code == 503 and int(got.headers["retry-after"]) >= 1 and got.json()["detail"]
    assert eventually(lambda: service.busy() == 0)
    assert service.lives_on()


@pytest.fixture
def module(monkeypatch):
    """The program as a module, in this process."""
    spec = importlib.util.spec_from_file_location("fastapi_app", APP)
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "fastapi_app", module)
    spec.loader.exec_module(module)
    return module


def test_status_of_every_error(module):
    expected = {llama.PromptTooLong: 422, llama.InvalidRequest: 400, llama.DeadlineExceeded: 504}
    expected |= {llama.Overloaded: 503, llama.ShuttingDown: 503, llama.DecodeError: 500}
    assert {kind: module.status(kind("words")) for kind in expected} == expected


async def test_a_client_that_reads_nothing_and_goes_away(module):
    """The server waits to send when the client goes away; nothing is left to the garbage collector."""
    body = json.dumps({"prompt": PROMPT, "max_tokens": 900, "ignore_eos": True}).encode()
    messages = [{"type": "http.request", "body": body}]
    full, gone = asyncio.Event(), asyncio.Event()

    async def receive():
        if messages:
            return messages.pop()
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message):
        if message.get("body"):
            full.set()
            await asyncio.Event().wait()

    headers = [(b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/generate/stream", "query_string": b"", "headers": headers}
    gc.disable()
    try:
        async with module.lifespan(module.app):
            serving = asyncio.ensure_future(module.app(scope, receive, send))
            await full.wait()
            gone.set()
            await serving
            stats = module.app.state.engine.stats
            for _ in range(6000):
                if stats().requests_cancelled == 1:
                    break
                await asyncio.sleep(0.01)
            assert stats().requests_cancelled == 1 and stats().requests_running == 0
    finally:
        gc.enable()


def test_ctrl_c_during_a_stream(tmp_path):
    with serve(tmp_path / "log") as service:
        with service.client.stream("POST", "/generate/stream", json=ENDLESS) as response:
            following = events(response)
            assert next(following)["text"]
            service.process.send_signal(signal.SIGINT)
            *_, end = following
        assert end["finish_reason"] in ("cancelled", "length")
        assert service.process.wait(60) == 0
