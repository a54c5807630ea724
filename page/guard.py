"""What stands before everything that Gradio serves: it lets through what the page needs and no more.

Gradio serves much that this page does not use, and fetches web addresses for visitors; here nobody can ask for that.
"""

from __future__ import annotations

import ipaddress
import json
import logging
import os
import re
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from gradio.utils import get_upload_folder
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from page.log import FAULT, LOG

API = "/gradio_api/"
PATHS = re.compile(
    r"/($|health$|config/?$|theme\.css$|favicon\.ico$|robots\.txt$|manifest\.json$|pwa_icon(/|$)|(static|assets|svelte)/)"
    rf"|{API}(info|openapi\.json|startup-events|theme\.css|user|app_id|token|login_check|cancel|reset)/?$"
    rf"|{API}(queue/(join|data|status)$|upload/?$|upload_progress$|heartbeat/|file=|(run|api|call)/|mcp(/|$))"
)
PART = re.compile(rf"{API}[a-z_]+|/[a-z_]*")  # that may stand in the log: what follows can be the name of a file
CALLS = re.compile(rf"{API}(queue/join|run/|api/|call/|mcp)")
UPLOAD = re.compile(rf"{API}upload/?$")
ADDRESS = re.compile(r"\s*https?:", re.IGNORECASE)

MAX_PATH = 2000  # characters; no file has a longer one
MAX_BODY = 4_000_000  # bytes of a call, which names files and holds none
MAX_UPLOAD = 2_000_000_000  # bytes of an upload of many files; ``launch`` limits each
MOST_WAITING = 60  # calls of one visitor that wait at once; ``app.QUEUE`` of all
BURST, PER_SECOND = 300, 5.0  # calls and uploads of one visitor: at once, and then on and on
MOST_VISITORS = 10_000  # remembered

NOT_SERVED = "This address is not served here."
NO_FILE = "This file was not given to you by this page, or is there no longer."
NO_ADDRESS = "No picture is fetched from the web here; upload the file instead."
TOO_OFTEN = "You ask more often than this server can answer; wait a minute and try again."
TOO_MANY = "So many of your calls are waiting that others would have no place; wait until some are answered."
TOO_DEEP = "This is no call that the page would make."
TOO_LARGE = "This is more than {:.0f} MB, the limit; send less at a time."


class Refusal(Exception):
    """A request that is not let through, with the HTTP ``status`` and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


class Buckets:
    """How often each visitor may ask: ``burst`` times at once, and ``per_second`` times from then on."""

    def __init__(self, burst: float = BURST, per_second: float = PER_SECOND) -> None:
        self._burst, self._per_second = burst, per_second
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()  # what was left, and when

    def take(self, visitor: str) -> bool:
        """Whether this visitor may ask now."""
        now = time.monotonic()
        left, before = self._left.pop(visitor, (self._burst, now))
        left = min(self._burst, left + (now - before) * self._per_second)
        allowed = left >= 1
        self._left[visitor] = left - allowed, now
        if len(self._left) > MOST_VISITORS:
            self._left.popitem(last=False)
        return allowed


class Guard:
    """ASGI middleware that refuses what the page does not need, in one sentence, and lets no error out.

    ``waiting`` tells the calls that wait for their turn.
    """

    def __init__(
        self, app: ASGIApp, buckets: Buckets | None = None, waiting: Callable[[], Iterable[Scope]] = tuple
    ) -> None:
        self._app, self._buckets, self._waiting = app, buckets or Buckets(), waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self._app(scope, receive, send)
        if scope["type"] != "http":  # the page opens no WebSocket
            return await send({"type": "websocket.close", "code": 1008})
        started = False

        async def answer(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                if message["status"] == 503 and CALLS.match(scope["path"]):  # the queue is full
                    _tell(scope, "busy")
                MutableHeaders(scope=message).update(
                    {"X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin"}
                )
            await send(message)

        try:
            await self._app(scope, await self._checked(scope, receive), answer)
        except Refusal as refusal:
            _tell(scope, "refused", status=refusal.status)
            if not started:
                await JSONResponse({"detail": str(refusal)}, refusal.status)(scope, receive, answer)
        except Exception as error:
            number = _tell(scope, "failed", error)
            if not started:
                await JSONResponse({"detail": FAULT.format(number)}, 500)(scope, receive, answer)
        return None

    async def _checked(self, scope: Scope, receive: Receive) -> Receive:
        """Refuse the request, or give what it may be received by."""
        path = scope["path"].removeprefix(scope.get("root_path", ""))
        if len(path) > MAX_PATH or not PATHS.match(path):
            raise Refusal(404, NOT_SERVED)
        if path.startswith(f"{API}file=") and not _is_ours(path.removeprefix(f"{API}file=")):
            raise Refusal(403, NO_FILE)
        if scope["method"] != "POST":
            return receive
        call, asking = CALLS.match(path), visitor(scope)
        if (call or UPLOAD.match(path)) and not self._buckets.take(asking):
            raise Refusal(429, TOO_OFTEN)
        if call and sum(visitor(other) == asking for other in self._waiting()) >= MOST_WAITING:
            raise Refusal(429, TOO_MANY)
        limited = _limited(receive, Headers(scope=scope), MAX_UPLOAD if UPLOAD.match(path) else MAX_BODY)
        return await _checked_call(limited) if call else limited


def visitor(scope: Scope) -> str:
    """Who asks, by network address. On Spaces that is the last public one that its proxies tell: a visitor can write
    only those before it."""
    own = scope["client"][0] if scope.get("client") else ""
    if "SPACE_ID" not in os.environ:
        return own
    for text in reversed(Headers(scope=scope).get("x-forwarded-for", "").split(",")):
        try:
            if ipaddress.ip_address(text.strip()).is_global:
                return text.strip()
        except ValueError:
            continue
    return own


def _tell(scope: Scope, outcome: str, error: Exception | None = None, **facts: Any) -> str:
    """A line in the log; of the path only the part that names no file. Returns the request's id."""
    path = scope["path"].removeprefix(scope.get("root_path", ""))
    found = PATHS.match(path) and PART.match(path)
    number = os.urandom(6).hex()
    told = {"request": number, "action": found[0] if found else "unknown", "outcome": outcome, **facts}
    LOG.log(logging.ERROR if error else logging.INFO, "http", exc_info=error, extra={"facts": told})
    return number


def _is_ours(text: str) -> bool:
    """Whether a path is that of an upload or a result, links followed."""
    try:
        return Path(text).resolve().is_relative_to(Path(get_upload_folder()).resolve())
    except (OSError, ValueError, RuntimeError):  # of names that no file can have, and of circles of links
        return False


def _limited(receive: Receive, headers: Headers, most: int) -> Receive:
    """Receive at most so many bytes."""
    told = headers.get("content-length", "")
    if told.isdecimal() and int(told) > most:
        raise Refusal(413, TOO_LARGE.format(most / 1e6))
    count = 0

    async def limited() -> Message:
        nonlocal count
        message = await receive()
        count += len(message.get("body", b""))
        if count > most:
            raise Refusal(413, TOO_LARGE.format(most / 1e6))
        return message

    return limited


async def _checked_call(receive: Receive) -> Receive:
    """Read the body of a call, refuse it where it names files that it must not, and give it again."""
    parts, message = [], {"more_body": True}
    while message.get("more_body"):
        message = await receive()
        if message["type"] == "http.disconnect":
            break
        parts.append(message.get("body", b""))
    body = b"".join(parts)
    try:
        _check_files(json.loads(body))
    except RecursionError:
        raise Refusal(400, TOO_DEEP) from None
    except ValueError:  # no JSON: Gradio says so
        pass
    given = False

    async def again() -> Message:
        nonlocal given
        if given or message["type"] == "http.disconnect":
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


def _check_files(value: Any) -> None:
    """Refuse a web address anywhere, but for the "url" that pages send back with a file and nobody reads, and a path
    anywhere that is neither an upload's nor a result's."""
    if isinstance(value, Mapping):
        for key, each in value.items():
            if key != "url" or not isinstance(each, str):
                _check_files(each)
        if isinstance(value.get("path"), str) and not _is_ours(value["path"]):
            raise Refusal(403, NO_FILE)
    elif isinstance(value, list):
        for each in value:
            _check_files(each)
    elif isinstance(value, str) and ADDRESS.match(value):
        raise Refusal(400, NO_ADDRESS)
