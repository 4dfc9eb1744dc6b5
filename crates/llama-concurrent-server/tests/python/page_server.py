"""Serves the page as the server does, over an API that is played: what a question says decides about its answer.

It needs no model and no binary, and can do what a small model cannot be made to: think, call tools, attack, fail.
`python page_server.py [PORT]` is for work on the page: a reload shows a change.
"""

import json
import pathlib
import re
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SOURCE = pathlib.Path(__file__).resolve().parents[2] / "src"
TYPES = {".html": "text/html", ".css": "text/css", ".js": "text/javascript"}
SLOTS = 8

HOSTILE = """<img src=x onerror="document.title='HACKED'"> <script>document.title='HACKED'</script>

[click](javascript:document.title='HACKED') [data](data:text/html,<script>alert(1)</script>) ![p](javascript:alert(1))
<a href="javascript:alert(1)">a</a> <javascript:alert(1)> [good](https://example.org/a_b?c=d&e) ![pic](https://example.org/p.png)

```"><img src=x onerror=alert(1)>
</code></pre><img src=x onerror=alert(1)>
```

| <b>x</b> | `<i>` |
|---|---|
| <svg onload=alert(1)> | [x](vbscript:x) |

<iframe src="https://example.org"></iframe> &lt;script&gt; **<style>*{display:none}</style>**
"""

MARKDOWN = """## Sharing one model

A **slot** holds one conversation. Requests are put together *call by call*, so that each of them goes on:

1. A prompt is computed in pieces, so that nobody waits for long.
   - Equal beginnings are found, see [the documents](https://example.org/docs).
   - The rest is `prefill`.
2. Each call then gives every running answer its next token.

```rust
/// Plans the next call: some prompt tokens, and one token of each answer.
fn plan(&mut self, budget: usize) -> Plan {
    let mut plan = Plan::default();
    for slot in self.slots.iter().filter(|slot| slot.is_decoding()) {
        plan.push(slot.id, slot.last_token());
    }
    plan.fill_with_prefill(budget - plan.len());
    plan
}
```

| streams | tokens per second | of one alone |
|:--|--:|--:|
| 1 | 41.2 | 1.0 |
| 8 | 163.9 | 4.0 |
| 16 | ~~212~~ 214.5 | 5.2 |

> It is the weights that are read once for all, so that eight answers cost little more than one.

That is all there is to it.
"""

THOUGHTS = "The person asks why the sky is blue. I should mention *Rayleigh scattering* and keep it short.\n\nLet me write two sentences."


def words(text: str) -> list[str]:
    return re.findall(r"\s*\S+|\s+$", text)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        self.send_response(status)
        for name, value in {"content-type": kind, "content-length": str(len(body)), **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def json(self, value, status: int = 200, **headers: str) -> None:
        self.answer(status, json.dumps(value).encode(), **headers)

    def do_GET(self) -> None:
        path = self.path.split("?")[0]
        name = "index.html" if path == "/" else path.removeprefix("/page/")
        file = SOURCE / "page" / name
        if re.fullmatch(r"/|/page/[a-z]+\.(css|js)", path) and file.exists():
            # The policy of the server itself.
            policy = re.search(r'policy = "([^;]*;.*?)";', (SOURCE / "page.rs").read_text(), re.DOTALL)[1]
            policy = re.sub(r"\\\n\s*", "", policy)
            self.answer(200, file.read_bytes(), TYPES[file.suffix] + "; charset=utf-8", content_security_policy=policy)
        elif path == "/v1/models":
            self.json({"data": [{"id": "played-model", "meta": {"n_ctx": 4096}}]})
        elif path == "/props":
            params = {"temperature": 0.0, "max_tokens": -1}
            self.json({"default_generation_settings": {"params": params}, "total_slots": SLOTS, "has_chat_template": True})
        elif path == "/slots":
            self.json(self.slots())
        else:
            self.json({"error": {"message": "there is nothing here"}}, 404)

    def slots(self) -> list:
        tasks = dict(enumerate(self.server.tasks.values()))
        return [
            {"id": i, "n_ctx": 4096, "is_processing": i in tasks}
            | (
                {
                    "id_task": tasks[i]["id"],
                    "state": "decode" if tasks[i]["n"] else "prefill",
                    "n_prompt_tokens": 812,
                    "n_prompt_tokens_processed": 300,
                    "n_prompt_tokens_cache": 64,
                    "next_token": [{"n_decoded": tasks[i]["n"]}],
                }
                if i in tasks
                else {}
            )
            for i in range(SLOTS)
        ]

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        self.server.requests.append(body)
        last = next(one for one in reversed(body["messages"]) if one["role"] != "assistant")
        text = str(last["content"])
        if found := re.match(r"error (\d+)", text):
            retry = {"retry_after": "7"} if found[1] == "429" else {}
            self.json({"error": {"message": "no, <b>because</b> of this", "code": int(found[1])}}, int(found[1]), **retry)
            return
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        self.close_connection = True
        with self.server.lock:
            self.server.last_task += 1
            task = {"id": self.server.last_task, "n": 0}
        self.server.tasks[task["id"]] = task
        try:
            self.stream(body, last["role"], text, task)
        except (BrokenPipeError, ConnectionResetError):
            self.server.cancelled += 1
        finally:
            del self.server.tasks[task["id"]]

    def stream(self, body: dict, role: str, text: str, task: dict) -> None:
        pause = 0.004
        resumed = body["messages"][-1]["role"] == "assistant"

        def send(delta: dict, finish: str | None = None) -> None:
            self.event({"choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})
            task["n"] += 1
            time.sleep(pause)

        def say(text: str) -> None:
            for word in words(text):
                send({"content": word})

        send({"role": "assistant", "content": ""})
        finish = "stop"
        if role == "tool":
            say(f"The tool says {text!r}, so take an umbrella.")
        elif resumed:
            say(" and the rest of it.")
        elif found := re.match(r"slow (\d+)", text):
            pause = 0.02
            say(" ".join(f"word{i}" for i in range(int(found[1]))))
        elif text.startswith("think"):
            pause = 0.01
            for word in words(THOUGHTS):
                send({"reasoning_content": word})
            say("The sky is blue because **short waves** are scattered more. At dusk the way is longer.")
        elif text.startswith("weather"):
            say("I shall look.")
            pause = 0.01
            name = body.get("tools", [{"function": {"name": "<img src=x onerror=alert(1)>"}}])[0]["function"]["name"]
            for i, city in enumerate(("Zürich", "<b>Bern</b>")):
                send({"tool_calls": [{"index": i, "id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": ""}}]})
                for piece in re.findall(".{1,5}", json.dumps({"city": city, "days": [1, 2]}, ensure_ascii=False)):
                    send({"tool_calls": [{"index": i, "function": {"arguments": piece}}]})
            finish = "tool_calls"
        elif text.startswith("hostile"):
            pause = 0.002
            for piece in re.findall(r"(?s).{1,3}", HOSTILE):
                send({"content": piece})
        elif text.startswith("markdown"):
            say(MARKDOWN)
        elif text.startswith("length"):
            say("This is cut")
            finish = "length"
        elif text.startswith("break"):
            say("This breaks")
            self.event({"error": {"message": "the <i>engine</i> failed", "code": 500}})
            return
        elif text.startswith("vanish"):
            say("This is lost")
            return
        else:
            say(f"You said: {text}")
        send({}, finish)
        n = task["n"]
        if body.get("stream_options", {}).get("include_usage"):
            usage = {"prompt_tokens": 812, "completion_tokens": n, "total_tokens": 812 + n}
            timings = {"cache_n": 64, "predicted_per_second": 41.25, "queue_ms": 3.5}
            self.event({"choices": [], "usage": usage, "timings": timings})
        self.wfile.write(b": a comment\n\ndata: [DONE]\n\n")

    def event(self, value: dict) -> None:
        self.wfile.write(b"data: " + json.dumps(value, ensure_ascii=False).encode() + b"\n\n")
        self.wfile.flush()


class PageServer(ThreadingHTTPServer):
    """The running server; `requests` has the bodies that came, `cancelled` how many streams were left."""

    daemon_threads = True

    def __init__(self, port: int = 0):
        super().__init__(("127.0.0.1", port), Handler)
        self.tasks, self.requests, self.cancelled = {}, [], 0
        self.last_task, self.lock = 0, threading.Lock()
        self.url = f"http://127.0.0.1:{self.server_port}/"

    def handle_error(self, *_):
        pass  # a browser that closes a connection


if __name__ == "__main__":
    server = PageServer(int(sys.argv[1]) if len(sys.argv) > 1 else 8099)
    print(server.url)
    server.serve_forever()
