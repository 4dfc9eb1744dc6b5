"""The Ray Serve example: two replicas with the demo model on a local cluster, and its parts without one."""

import asyncio
import dataclasses
import http.client
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import pytest
from llama_concurrent import Engine, InvalidRequest, Overloaded, SamplingParams

# Ray's routers read these when they are imported. A replica that is slow to answer on a busy machine is still the one.
for name in ("RAY_SERVE_QUEUE_LENGTH_RESPONSE_DEADLINE_S", "RAY_SERVE_MAX_QUEUE_LENGTH_RESPONSE_DEADLINE_S"):
    os.environ[name] = "10"
ray = pytest.importorskip("ray", reason='Ray is not installed: pip install "ray[serve]"')
serve = pytest.importorskip("ray.serve", reason='Ray Serve is not installed: pip install "ray[serve]"')

EXAMPLES = str(Path(__file__).resolve().parents[3] / "examples/python")
sys.path.insert(0, EXAMPLES)
import ray_serve_app as app  # noqa: E402
from ray.exceptions import ActorDiedError, RayActorError, TaskCancelledError  # noqa: E402
from ray.serve.exceptions import BackPressureError, RequestCancelledError  # noqa: E402

PROMPT = "Once upon a time"
SHORT = SamplingParams(max_tokens=40, ignore_eos=True)
LONG = SamplingParams(max_tokens=900, ignore_eos=True)
ENDLESS = SamplingParams(max_tokens=8000, ignore_eos=True)
"""It is cancelled or killed before its end."""
SETTINGS = app.Settings(
    slots=1,
    queue=1,
    waiting=4,
    n_ctx=8192,
    min_replicas=2,
    max_replicas=2,
    prefix_chars=40,
    reproducible=True,
    drain_seconds=30,
)
BOUND = 60
"""Seconds after which something counts as hanging."""


# Without a cluster.


class Replicas:
    """A handle whose calls play what they were given: events, errors, and seconds to wait."""

    def __init__(self, *scripts):
        self.scripts, self.sessions, self.cancelled = list(scripts), [], 0

    def options(self, session_id=None, **_):
        self.sessions.append(session_id)
        return self

    def remote(self, prompt, params):
        async def play():
            for step in self.scripts.pop(0):
                if isinstance(step, Exception):
                    raise step
                if isinstance(step, float):
                    await asyncio.sleep(step)
                else:
                    yield step

        response = play()
        return Response(response, self)


class Response:
    def __init__(self, events, replicas):
        self.events, self.replicas = events, replicas

    def __anext__(self):
        return anext(self.events)

    def cancel(self):
        self.replicas.cancelled += 1


async def post(replicas, body, **settings):
    """Status, headers and lines of what the ingress answers."""
    ingress = app.Ingress.func_or_class(replicas, app.Settings(**settings))
    scope = {"type": "http", "method": "POST", "path": "/", "headers": [(b"x-session-id", b"alice")]}

    async def receive():
        return {"type": "http.request", "body": body if isinstance(body, bytes) else json.dumps(body).encode()}

    response = await ingress(app.Request(scope, receive))
    if response.status_code == 200:
        lines = [json.loads(line) async for line in response.body_iterator]
    else:
        lines = [json.loads(response.body)]
    return response.status_code, response.headers, lines


A, B, END = {"text": "a"}, {"text": "b"}, {"finish_reason": "stop"}


async def test_the_ingress_retries_before_the_first_event_and_never_after():
    replicas = Replicas([ActorDiedError()], [A, END])
    status, _, lines = await post(replicas, {"prompt": "x"})
    assert (status, lines, replicas.cancelled) == (200, [A, END], 2)
    assert replicas.sessions.count("alice") == 2
    status, _, lines = await post(Replicas([A, B, ActorDiedError()]), {"prompt": "x"})
    assert (status, lines[:2]) == (200, [A, B]) and "died" in lines[2]["error"]
    status, headers, lines = await post(Replicas([ActorDiedError()], [ActorDiedError()]), {"prompt": "x"})
    assert (status, headers["retry-after"]) == (503, "2") and "died" in lines[0]["error"]


async def test_the_ingress_gives_each_error_its_status():
    for error, status, expected in (
        (InvalidRequest("too long"), 400, "too long"),
        (Overloaded("full", 3.2), 503, "full"),
        (BackPressureError(2, 2), 503, "all replicas are busy"),
        (RuntimeError("a defect"), 500, "a defect"),
    ):
        got, headers, lines = await post(Replicas([error]), {"prompt": "x"})
        assert got == status and expected in lines[0]["error"]
        assert headers.get("retry-after") == {"full": "4", "all replicas are busy": "2"}.get(expected)
    replicas = Replicas([60.0])
    status, _, lines = await post(replicas, {"prompt": "x"}, wait_seconds=0.05)
    assert status == 504 and "no text came in time" in lines[0]["error"] and replicas.cancelled == 1


async def test_the_ingress_names_what_is_wrong_with_a_body():
    for body, expected in (
        (b'{"prompt": ', "body: Invalid JSON"),
        ([1], "body: Input should be an object"),
        ({}, "prompt: Field required"),
        ({"prompt": "x", "max_token": 1}, "max_token: Extra inputs"),
        ({"prompt": "x", "seed": -1}, "seed: Input should be greater"),
    ):
        status, _, lines = await post(Replicas(), body)
        assert status == 400 and expected in lines[0]["error"]


async def test_the_router_keeps_keys_together_and_moves_few():
    router = object.__new__(app.AffinityRouter)
    router.initialize_state(prefix_chars=8)
    replicas = [SimpleNamespace(replica_id=SimpleNamespace(unique_id=f"replica{i}")) for i in range(4)]

    async def choose(among, session="", prompt="short"):
        request = SimpleNamespace(
            metadata=SimpleNamespace(session_id=session), args=[prompt], kwargs={}, routing_context=SimpleNamespace()
        )
        return await router.choose_replicas(among, request)

    for prompt in ("short", 7, None):
        [two] = await choose(replicas, prompt=prompt)
        assert len(two) == 2 and two[0] is not two[1]
    homes = [(await choose(replicas, f"session{i}"))[0] for i in range(200)]
    assert all(len(home) == 1 for home in homes) and len({id(home[0]) for home in homes}) == 4
    fewer = [(await choose(replicas[:3], f"session{i}"))[0] for i in range(200)]
    assert all(after == before for before, after in zip(homes, fewer) if before[0] is not replicas[3])
    alike = [await choose(replicas, prompt=f"A prefix {i}") for i in range(20)]
    assert len({id(first[0]) for first, _ in alike}) == 1
    assert all(len(ranks[-1]) == 2 for ranks in alike)
    assert len((await choose(replicas[:1], "one"))[-1]) == 1


def test_the_watchdog_barks_at_an_engine_that_stands_still():
    with Engine(slots=1, threads=1, pin=False) as engine:
        idle = engine.stats()
    watchdog = app.Watchdog(patience=3)

    def check(running, waiting, calls):
        watchdog.check(
            dataclasses.replace(idle, requests_running=running, requests_waiting=waiting, prefill_calls=calls)
        )

    for _ in range(9):
        check(0, 0, calls=0)
    for calls in (0, 0, 0, 1, 1, 1, 2):
        check(1, 1, calls)
    for waiting in (3, 3, 3):
        check(0, 0, calls=3)
        check(0, waiting, calls=3)
    check(0, 1, calls=3)
    check(1, 0, calls=3)
    for _ in range(2):
        with pytest.raises(RuntimeError, match="no call of the model has ended"):
            check(1, 0, calls=3)
    check(1, 0, calls=4)
    watchdog.defect = ValueError("broken")
    with pytest.raises(ValueError, match="broken"):
        watchdog.check(idle)


def test_settings_that_do_not_exist_are_refused():
    for wrong in ({"slot": 1}, {"slots": 0}, {"slots": "many"}):
        with pytest.raises(ValueError, match="slot"):
            app.Settings(**wrong)


# On a cluster.


@pytest.fixture(scope="module")
def port():
    """The HTTP port of the application; the cluster ends with the last test."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
        # Ray's own ports are open to the network: a token of this run alone, and none written into the home folder.
        patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(16))
        patch.setenv("PYTHONPATH", EXAMPLES)  # for the replicas
        ray.init("local", num_cpus=2, include_dashboard=False, log_to_driver=False, object_store_memory=10**8)
        try:
            serve.start(http_options={"host": "127.0.0.1", "port": number})
            serve.run(app.build(SETTINGS))
            yield number
        finally:
            serve.shutdown()
            ray.shutdown()


@pytest.fixture
def handle(port):
    return serve.get_deployment_handle("Generator", "default").options(stream=True)


def text(events):
    return "".join(event.get("text", "") for event in events)


def stats(handle, session):
    return handle.options(stream=False, session_id=session).stats.remote().result(timeout_s=BOUND)


def homes(handle):
    """For each of the two replicas, a session that it serves; waits until there are two."""
    found = {}

    def both():
        found.clear()
        for number in range(20):
            found.setdefault(stats(handle, f"session{number}")["replica"], f"session{number}")
        return len(found) == 2

    wait_until(both)
    return found


def actor(replica):
    return ray.get_actor(f"SERVE_REPLICA::default#Generator#{replica}", namespace="serve")


def pid(replica):
    return ray.get(actor(replica).__ray_call__.remote(lambda _: os.getpid()), timeout=BOUND)


def wait_until(condition):
    end = time.monotonic() + BOUND
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.05)


def begin(port, session=None, prompt=PROMPT, **params):
    """A connection that has sent a request, and its response."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=BOUND)
    headers = {"x-session-id": session} if session else {}
    connection.request("POST", "/", json.dumps({"prompt": prompt} | params), headers)
    return connection, connection.getresponse()


def ask(port, prompt=PROMPT, session=None, **params):
    """Status, headers and lines of an answer over HTTP."""
    connection, response = begin(port, session, prompt, **params)
    body = response.read()
    connection.close()
    # Ray's own proxy refuses a crowd in plain text, before the ingress sees it.
    is_json = "json" in response.headers["content-type"]
    lines = [json.loads(line) for line in body.splitlines()] if is_json else [{"error": body.decode()}]
    return response.status, response.headers, lines


def test_a_stream_is_what_an_engine_gives_alone(port, handle):
    with Engine(slots=1, threads=1, pin=False, reproducible=True) as engine:
        alone = engine.generate(PROMPT, SHORT).text
        over_http = engine.generate(PROMPT, SamplingParams(max_tokens=40)).text
    *pieces, end = handle.generate.remote(PROMPT, SHORT)
    assert len(pieces) > 5 and text(pieces) == alone
    assert (end["finish_reason"], end["n_output_tokens"]) == ("length", 40)
    status, headers, lines = ask(port, max_tokens=40)
    assert (status, headers["content-type"]) == (200, "application/x-ndjson")
    assert len(lines) > 5 and text(lines) == over_http and "finish_reason" in lines[-1]


def test_errors_reach_the_caller_in_words(port, handle):
    status, _, lines = ask(port, "word " * 5000)
    assert status == 400 and "10003 tokens" in lines[0]["error"] and "Traceback" not in lines[0]["error"]
    with pytest.raises(InvalidRequest, match="10003 tokens"):
        list(handle.generate.remote("word " * 5000))


def test_both_serve_and_sessions_and_prefixes_stay(port, handle):
    assert len(homes(handle)) == 2
    for session in homes(handle).values():
        assert len({ask(port, session=session, max_tokens=4)[2][-1]["replica"] for _ in range(5)}) == 1
    prefix = "A fox lived in the forest and liked to sit in the sun. "
    assert len({ask(port, f"{prefix}{i}", max_tokens=4)[2][-1]["replica"] for i in range(6)}) == 1


def test_a_full_replica_does_not_keep_its_sessions(handle):
    """Three requests at once of one session: two fill its replica, the third goes to the other."""
    session = next(iter(homes(handle).values()))
    one = handle.options(session_id=session)
    with ThreadPoolExecutor(3) as pool:

        def both():
            """Whether the three met; on a busy machine one may have ended before the third came."""
            ends = pool.map(lambda _: list(one.generate.remote(PROMPT, LONG))[-1], range(3))
            return len({end["replica"] for end in ends}) == 2

        wait_until(both)


def test_cancelling_frees_the_slot(port, handle):
    replica, session = next(iter(homes(handle).items()))
    before = stats(handle, session)["requests_cancelled"]
    response = handle.options(session_id=session).generate.remote(PROMPT, ENDLESS)
    next(response)
    response.cancel()
    with pytest.raises((RequestCancelledError, TaskCancelledError)):
        list(response)
    wait_until(lambda: stats(handle, session)["requests_cancelled"] > before)
    assert stats(handle, session)["requests_running"] == 0

    connection, response = begin(port, session, max_tokens=8000, ignore_eos=True)
    response.readline()
    connection.close()
    response.close()
    wait_until(lambda: stats(handle, session)["requests_cancelled"] > before + 1)
    assert stats(handle, session)["requests_running"] == 0
    assert list(handle.options(session_id=session).generate.remote(PROMPT, SHORT))[-1]["replica"] == replica


def test_too_many_requests_are_refused_at_once(port, handle):
    """Both replicas are held still, so that nothing ends: 2 * (1 + 1) + 4 requests fit, and some more of a crowd."""
    pids = [pid(replica) for replica in homes(handle)]
    answers = []
    with ThreadPoolExecutor(64) as pool:

        def six_are_refused():
            """Asks once more each time: how many of a crowd still fit is Ray's to say, but one that comes later does not."""
            if len(answers) < 64:
                answers.append(pool.submit(ask, port, max_tokens=40))
            return sum(answer.done() for answer in answers) >= 6

        for each in pids:
            os.kill(each, signal.SIGSTOP)
        try:
            answers += [pool.submit(ask, port, max_tokens=40) for _ in range(8)]
            wait_until(six_are_refused)
        finally:
            for each in pids:
                os.kill(each, signal.SIGCONT)
        answers = [answer.result(BOUND) for answer in answers]
    refused = [answer for answer in answers if answer[0] == 503]
    served = [answer for answer in answers if answer[0] == 200]
    assert len(refused) >= 6 and len(served) >= 2 and len(refused) + len(served) == len(answers)
    assert all(headers["retry-after"] == "2" and lines[0]["error"] for _, headers, lines in refused)
    assert all(lines[-1]["finish_reason"] == "length" for _, _, lines in served)


def test_a_killed_replica_hangs_nobody_and_comes_back(port, handle):
    victim, session = next(iter(homes(handle).items()))
    one = handle.options(session_id=session)
    running = one.generate.remote(PROMPT, ENDLESS)
    next(running)
    with ThreadPoolExecutor(1) as pool:
        # It waits in the replica's queue and has no output: the ingress gives it to the other replica.
        waiting = pool.submit(ask, port, session=session, max_tokens=40)
        wait_until(lambda: waiting.done() or ray.get(actor(victim).get_num_ongoing_requests.remote()) == 2)
        ray.kill(actor(victim))
        with pytest.raises(RayActorError, match="died"):
            list(running)
        status, _, lines = waiting.result(BOUND)
    assert status == 200 and lines[-1]["finish_reason"] == "length", lines
    wait_until(lambda: victim not in homes(handle))
    for session in homes(handle).values():
        assert list(handle.options(session_id=session).generate.remote(PROMPT, SHORT))[-1]["n_output_tokens"] == 40


def test_a_replica_that_dies_mid_stream_ends_the_answer_with_an_error(port, handle):
    victim, session = next(iter(homes(handle).items()))
    process = pid(victim)
    connection, response = begin(port, session, max_tokens=8000, ignore_eos=True)
    os.kill(process, signal.SIGKILL)
    lines = [json.loads(line) for line in response.read().splitlines()]
    connection.close()
    assert "died" in lines[-1]["error"]
    wait_until(lambda: victim not in homes(handle))
    assert ask(port, max_tokens=4)[0] == 200


def test_deleting_lets_running_requests_end(handle):
    response = handle.generate.remote(PROMPT, LONG)
    next(response)
    events = []
    reader = threading.Thread(target=lambda: events.extend(response), daemon=True)
    reader.start()
    serve.delete("default")
    reader.join(BOUND)
    assert events[-1]["finish_reason"] == "length" and events[-1]["n_output_tokens"] == 900
