"""A real HTTP server on loopback that speaks these APIs: a scripted chat endpoint, and whatever functions a test puts behind the others.

The tests put the packaged MiniLM behind /embeddings, /embed and, by its cosines, /rerank; and, since MiniLM has no head of a cross-encoder,
a small one with seeded random weights behind /rerank too. Numbers of both are compared with the local backend's, not judged.

A chat script is a function from (messages, number of times that this very request came) to a behaviour.
"""

import hashlib
import json
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np


@dataclass
class Behaviour:
    """What the endpoint does with one request."""

    content: str = ""
    status: int = 200
    headers: dict = field(default_factory=dict)
    delay: float = 0.0
    refusal: str | None = None
    finish: str = "stop"
    cut: bool = False  # the body (or the stream) ends in the middle
    raw: str | None = None  # a body of its own
    usage: bool = True
    code: str | None = None


class Endpoint:
    """Settings and the record of one server."""

    def __init__(self, chat=None, embed=None, rerank=None, info=None):
        self.chat, self.embed, self.rerank, self.info = chat, embed, rerank, info
        self.requests = []  # (path, body, headers) in the order of arrival
        self.times = []
        self.seen = Counter()
        self.in_flight = self.most_in_flight = 0
        self.prompt_tokens = self.completion_tokens = 0  # billed
        self.lock = threading.Lock()
        self.url = ""

    @property
    def calls(self):
        return len(self.requests)

    def bodies(self, path):
        return [body for name, body, _ in self.requests if name.endswith(path)]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        endpoint = self.server.endpoint
        if self.path.endswith("/info") and endpoint.info:
            self.reply(200, endpoint.info)
        else:
            self.reply(404, {"error": {"message": "no such path"}})

    def do_POST(self):
        endpoint = self.server.endpoint
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        with endpoint.lock:
            endpoint.requests.append((self.path, body, dict(self.headers)))
            endpoint.times.append(time.monotonic())
            digest = hashlib.sha256(json.dumps([self.path, body], sort_keys=True).encode()).hexdigest()
            endpoint.seen[digest] += 1
            times = endpoint.seen[digest]
            endpoint.in_flight += 1
            endpoint.most_in_flight = max(endpoint.most_in_flight, endpoint.in_flight)
        try:
            self.answer(endpoint, body, times)
        except BrokenPipeError:
            pass
        finally:
            with endpoint.lock:
                endpoint.in_flight -= 1

    def answer(self, endpoint, body, times):
        if self.path.endswith("/chat/completions"):
            self.chat(endpoint, body, endpoint.chat(body["messages"], times))
        elif self.path.endswith("/embeddings"):
            given = endpoint.embed(body["input"], body, times)
            if isinstance(given, Behaviour):
                self.fail(given)
            else:
                rows = [{"object": "embedding", "index": i, "embedding": row} for i, row in enumerate(np.asarray(given).tolist())]
                usage = {"prompt_tokens": sum(map(len, body["input"])), "total_tokens": 0}
                self.reply(200, {"object": "list", "data": rows[::-1], "model": endpoint.info or body["model"], "usage": usage})
        elif self.path.endswith("/embed"):
            given = endpoint.embed(body["inputs"], body, times)
            self.fail(given) if isinstance(given, Behaviour) else self.reply(200, np.asarray(given).tolist())
        elif self.path.endswith("/rerank"):
            given = endpoint.rerank(body["query"], body["texts"], times)
            if isinstance(given, Behaviour):
                self.fail(given)
            else:
                order = np.argsort(-np.asarray(given))
                self.reply(200, [{"index": int(i), "score": float(given[i])} for i in order])
        else:
            self.reply(404, {"error": {"message": "no such path"}})

    def chat(self, endpoint, body, behaviour):
        time.sleep(behaviour.delay)
        if behaviour.status != 200 or behaviour.raw is not None:
            self.fail(behaviour)
            return
        usage = {"prompt_tokens": sum(len(m["content"]) for m in body["messages"]) // 4, "completion_tokens": len(behaviour.content) // 4}
        usage["total_tokens"] = sum(usage.values())
        with endpoint.lock:
            endpoint.prompt_tokens += usage["prompt_tokens"]
            endpoint.completion_tokens += usage["completion_tokens"]
        if body.get("stream"):
            self.stream(body, behaviour, usage)
            return
        message = {"role": "assistant", "content": behaviour.content, "refusal": behaviour.refusal}
        choice = {"index": 0, "message": message, "finish_reason": behaviour.finish}
        document = {"id": "x", "object": "chat.completion", "created": 0, "model": body["model"], "choices": [choice]}
        self.reply(200, document | ({"usage": usage} if behaviour.usage else {}), cut=behaviour.cut)

    def stream(self, body, behaviour, usage):
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("connection", "close")
        self.end_headers()
        text = behaviour.content[: len(behaviour.content) // 2] if behaviour.cut else behaviour.content
        base = {"id": "x", "object": "chat.completion.chunk", "created": 0, "model": body["model"]}

        def send(choices, **more):
            self.wfile.write(b"data: " + json.dumps({**base, "choices": choices, **more}).encode() + b"\n\n")

        if behaviour.refusal:
            send([{"index": 0, "delta": {"refusal": behaviour.refusal}, "finish_reason": None}])
        for start in range(0, len(text), 16):
            choice = {"index": 0, "delta": {"content": text[start : start + 16]}, "finish_reason": None}
            send([choice])
        if not behaviour.cut:
            send([{"index": 0, "delta": {}, "finish_reason": behaviour.finish}])
            send([], usage=usage)
            self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def fail(self, behaviour):
        time.sleep(behaviour.delay if behaviour.status == 200 else 0)
        if behaviour.raw is not None:
            self.reply(behaviour.status, behaviour.raw, behaviour.headers, behaviour.cut)
        else:
            self.reply(behaviour.status, {"error": {"message": "scripted", "code": behaviour.code}}, behaviour.headers)

    def reply(self, status, document, headers=None, cut=False):
        data = document.encode() if isinstance(document, str) else json.dumps(document).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data[: len(data) // 2] if cut else data)
        if cut:
            self.close_connection = True


@contextmanager
def serving(endpoint):
    """Serve on a free port of 127.0.0.1."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.endpoint = endpoint
    endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield endpoint
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
