"""Guard: what every request passes first, and the headers every answer leaves with.

It refuses foreign hosts (a page elsewhere whose name was pointed at this machine), requests that pages of other sites
make, a missing token, bodies that are too large and requests that take too long; it counts them all; and it turns what
nobody expected into an answer without a traceback.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import time
from collections.abc import Iterable

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from hashret.serve.limits import Limits
from hashret.serve.metrics import Metrics
from hashret.serve.problems import Problem

__all__ = ["HEADERS", "Guard"]

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob:; connect-src 'self'; "
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
}
_OPEN = ("/", "/healthz")  # without a token; so are the page's own files
_FILES = "/page/"
_LOG = logging.getLogger("hashret.serve")


class Guard:
    """Middleware around everything.

    Args:
        app: What is guarded.
        limits: What a request may take.
        metrics: Told of every answer.
        token: What ``Authorization: Bearer ...`` must say; "" asks for none.
        hosts: Names in ``Host`` that are answered; None answers all.
    """

    def __init__(
        self, app: ASGIApp, *, limits: Limits, metrics: Metrics, token: str = "", hosts: Iterable[str] | None = None
    ) -> None:
        """Hold the rules."""
        self._app, self._limits, self._metrics, self._token = app, limits, metrics, token.encode()
        self._hosts = None if hosts is None else {host.lower() for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        begun, status = time.perf_counter(), 0

        async def sent(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store")
            await send(message)

        refused = self._refusal(scope)
        try:
            if refused is None:
                async with asyncio.timeout(self._limits.seconds):
                    await self._app(scope, self._counted(receive), sent)
        except TimeoutError:
            told = f"the answer took more than {self._limits.seconds:g} s"
            refused = _problem(503, told, "Ask again in a moment.")
        except Exception:
            _LOG.exception("%s %s", scope["method"], scope["path"])
            refused = _problem(500, "the server made a mistake", "Its log says which.")
        if refused is not None and not status:
            await refused(scope, receive, sent)
        route = getattr(scope.get("route"), "path", "other")
        self._metrics.request(scope["method"], route, status, time.perf_counter() - begun)

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        headers, path = Headers(scope=scope), scope["path"]
        host = headers.get("host", "").lower()
        name = host[1:].partition("]")[0] if host.startswith("[") else host.partition(":")[0]
        if self._hosts is not None and name not in self._hosts:
            return _problem(421, f"this server does not answer to {name[:80]!r}", "Use the address it printed.")
        is_open = path in _OPEN or path.startswith(_FILES)
        if not is_open and headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            return _problem(403, "asked for by a page of another site", "Open the page of this server itself.")
        if self._token and not is_open:
            kind, _, given = headers.get("authorization", "").partition(" ")
            if kind.lower() != "bearer" or not hmac.compare_digest(given.strip().encode(), self._token):
                refused = _problem(401, "a token is needed", "Send it as Authorization: Bearer TOKEN.")
                refused.headers["WWW-Authenticate"] = "Bearer"
                return refused
        length = headers.get("content-length", "0")
        if not length.isdecimal() or int(length) > self._limits.body:
            return _problem(413, f"a request may have {self._limits.body:,} bytes", "Send a smaller picture.")
        return None

    def _counted(self, receive: Receive) -> Receive:
        """The body of a request that does not say how long it is, up to the limit."""
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._limits.body:
                raise HTTPException(413, f"a request may have {self._limits.body:,} bytes")
            return message

        return counted


def _problem(status: int, detail: str, remedy: str) -> JSONResponse:
    return JSONResponse(Problem(detail=detail, remedy=remedy).model_dump(), status)
