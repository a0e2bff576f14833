"""What stands before every request: who may ask, how much, and what answers carry."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import time
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from prometheus_client import CollectorRegistry, Counter, Histogram
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Guard", "is_loopback", "refusal"]

_MAX_BODY = 64 * 1024
_MAX_QUERY = 4096
_OPEN = ("/", "/health")
"""The paths that need no token."""
_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
}
_logger = logging.getLogger(__name__)


def refusal(status: int, reason: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an answer that says why there is none, in the one shape that all have."""
    return JSONResponse({"error": {"status": status, "reason": reason}}, status, headers)


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's own loopback."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class Guard:
    """Refuses who may not ask and what is too long, counts, and adds security headers.

    With a token, all but the page and ``/health`` need ``Authorization: Bearer TOKEN``. Without
    one, the ``Host`` needs to be a loopback address, so that no name that somebody points at this
    machine makes a browser's page of theirs one of ours.

    Args:
        app: The application.
        token: The token, or ``None``.
        registry: Where requests are counted.
    """

    def __init__(self, app: ASGIApp, token: str | None, registry: CollectorRegistry) -> None:
        self._app = app
        self._token = None if token is None else token.encode()
        self._requests = Counter(
            "mentor_pyg_requests", "Requests.", ["route", "status"], registry=registry
        )
        self._seconds = Histogram(
            "mentor_pyg_request_seconds", "Time to answer.", ["route"], registry=registry
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 0

        async def guarded(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                there = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(
                        (n.encode(), v.encode())
                        for n, v in _HEADERS.items()
                        if n.encode() not in there
                    ),
                ]
            await send(message)

        try:
            refused = self._refusal(scope)
            if refused is None:
                body = await _body(receive)
                if body is None:
                    refused = refusal(
                        413, f"a body has at most {_MAX_BODY} bytes", {"connection": "close"}
                    )
            if refused is not None:
                await refused(scope, receive, guarded)
            else:
                await self._app(scope, _Replayed(body, receive), guarded)
        except Exception:
            _logger.exception("a request failed")
            if status:  # Half an answer is sent.
                raise
            await refusal(500, "this is a bug; the log has it")(scope, receive, guarded)
        finally:
            route = getattr(scope.get("route"), "path", "none")
            self._requests.labels(route, str(status)).inc()
            self._seconds.labels(route).observe(time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> Response | None:
        headers = Headers(scope=scope)
        if len(scope["query_string"]) > _MAX_QUERY:
            return refusal(414, f"a query has at most {_MAX_QUERY} bytes")
        if self._token is None:
            return _from_elsewhere(headers)
        if scope["path"] in _OPEN:
            return None
        kind, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode("latin-1"), self._token)
        if kind.lower() == "bearer" and right:
            return None
        return refusal(
            401,
            "this needs the header 'Authorization: Bearer TOKEN', with the right token",
            {"www-authenticate": "Bearer"},
        )


def _from_elsewhere(headers: Headers) -> Response | None:
    """Return a refusal of what a browser sends for a page that is not ours."""
    host, origin = headers.get("host", ""), headers.get("origin")
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        name = ""
    if not is_loopback(name):
        return refusal(400, "without a token, requests need a loopback address as their Host")
    if origin is not None and origin not in (f"http://{host}", f"https://{host}"):
        return refusal(403, "requests of other sites' pages are refused")
    return None


async def _body(receive: Receive) -> bytes | None:
    """Return a request's body, or ``None`` if it is too long."""
    body, more = b"", True
    while more and len(body) <= _MAX_BODY:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
    return None if len(body) > _MAX_BODY else body


class _Replayed:
    """A body that was read, given once more; then what else comes."""

    def __init__(self, body: bytes | None, receive: Receive) -> None:
        self._messages = [{"type": "http.request", "body": body or b"", "more_body": False}]
        self._receive = receive

    async def __call__(self) -> dict[str, Any]:
        return self._messages.pop() if self._messages else dict(await self._receive())
