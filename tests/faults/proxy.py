"""A proxy before a real S3 server that spoils some requests: the faults of a network and of a store under load."""

from __future__ import annotations

import asyncio
import random
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import aiohttp
from aiohttp import web
from yarl import URL

Fault = Literal["none", "slow down", "error after it was done", "hang", "cut upload", "cut answer", "stale listing"]
Plan = Callable[[web.Request], Fault]
_SLOW_DOWN = '<?xml version="1.0"?><Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>'
_BROKEN = '<?xml version="1.0"?><Error><Code>InternalError</Code><Message>We encountered an internal error.</Message></Error>'


@dataclass
class Proxy:
    """``plan`` says what becomes of each request; ``done`` counts what was done.

    Args:
        server: of the real server, ``http://host:port``.
        hang: seconds that a hanging request takes.
    """

    server: str
    hang: float = 3.0
    plan: Plan = lambda _: "none"
    done: Counter[str] = field(default_factory=Counter)
    url: str = ""
    _lists: dict[str, tuple[int, bytes, dict[str, str]]] = field(default_factory=dict)

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """One request."""
        fault, listing = self._fault(request), request.method == "GET" and "list-type" in request.query
        self.done[fault] += 1
        if fault == "slow down":
            await request.read()
            return web.Response(status=503, text=_SLOW_DOWN, content_type="application/xml")
        if fault == "hang":
            await asyncio.sleep(self.hang)
            return self._drop(request)
        if fault == "cut upload":
            await request.content.read(16)
            return self._drop(request)
        if fault == "stale listing":
            return _answer(*self._lists[request.raw_path])
        status, body, headers = await self._forward(request)
        if listing:
            self._lists.setdefault(request.raw_path, (status, body, headers))
        if fault == "error after it was done":
            return web.Response(status=500, text=_BROKEN, content_type="application/xml")
        if fault == "cut answer" and len(body) > 1:
            return await self._cut(request, status, body, headers)
        return _answer(status, body, headers)

    def _fault(self, request: web.Request) -> Fault:
        """What the plan says, as far as this kind of request can have it."""
        fault, upload = self.plan(request), request.method in ("PUT", "POST")
        possible = {
            "stale listing": request.raw_path in self._lists,
            "cut upload": upload,
            "error after it was done": upload,
            "cut answer": request.method == "GET",
        }
        return fault if possible.get(fault, True) else "none"

    async def _forward(self, request: web.Request) -> tuple[int, bytes, dict[str, str]]:
        body = await request.read()
        async with (
            aiohttp.ClientSession(auto_decompress=False) as session,
            session.request(
                request.method,
                URL(self.server + request.raw_path, encoded=True),
                headers=request.headers,
                data=body or None,
                allow_redirects=False,
            ) as answer,
        ):
            return answer.status, await answer.read(), dict(answer.headers)

    def _drop(self, request: web.Request) -> web.Response:
        if request.transport is not None:
            request.transport.abort()
        return web.Response()

    async def _cut(self, request: web.Request, status: int, body: bytes, headers: dict[str, str]) -> web.StreamResponse:
        response = web.StreamResponse(status=status, headers={**_kept(headers), "Content-Length": str(len(body))})
        await response.prepare(request)
        await response.write(body[: len(body) // 2])
        if request.transport is not None:
            request.transport.abort()
        return response


def _answer(status: int, body: bytes, headers: dict[str, str]) -> web.Response:
    response = web.Response(status=status, body=body, headers=_kept(headers))
    if "Content-Length" in headers and not body:  # of HEAD
        response.headers["Content-Length"] = headers["Content-Length"]
    return response


def _kept(headers: dict[str, str]) -> dict[str, str]:
    return {
        name: value
        for name, value in headers.items()
        if name.lower() not in ("content-length", "transfer-encoding", "connection", "date", "server")
    }


def some(share: float, faults: tuple[Fault, ...], seed: int = 0) -> Plan:
    """Spoil a share of the requests, by a seeded draw."""
    draw = random.Random(seed)
    return lambda _: draw.choice(faults) if draw.random() < share else "none"


@contextmanager
def proxied(server: str, port: int) -> Iterator[Proxy]:
    """A proxy in a thread of its own."""
    proxy, ready = Proxy(server, url=f"http://127.0.0.1:{port}"), threading.Event()
    loop = asyncio.new_event_loop()

    async def start() -> None:
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", proxy.handle)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10)
    try:
        yield proxy
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)
