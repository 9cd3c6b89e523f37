"""run_server: the application on a port, from the first request to the last."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from contextlib import suppress

import uvicorn

from hashret.errors import InputError, StoreError
from hashret.serve.app import create_app
from hashret.serve.service import Service, failure_of

__all__ = ["run_server"]

_LOCAL = ("localhost", "127.0.0.1", "::1")
_CONNECTIONS = 1_000
_GRACE = 10  # seconds that requests have to end in


def run_server(
    service: Service, *, host: str, port: int, token: str = "", told: Callable[[str], None] = lambda address: None
) -> None:
    """Answer until SIGINT or SIGTERM; what was asked before is still answered.

    Args:
        service: What answers; it is loaded while the port is already open.
        host: Where to listen. Anything but this machine itself needs a token.
        port: 0 takes a free one.
        token: What requests must carry; "" for none.
        told: Given the address once the port is open.

    Raises:
        InputError: The port would be open to others without a token.
        StoreError: The port cannot be had.
        HashretError: The service could not be loaded.
    """
    local = host in _LOCAL or _is_loopback(host)
    if not local and not token:
        raise InputError(
            f"host {host}", expected="a token where others can reach the port", got="none",
            remedy="Give --token, or listen on 127.0.0.1.",
        )  # fmt: skip
    opened = _open(host, port)
    hosts = {*_LOCAL, host} if local else None
    app = create_app(service, token=token, hosts=hosts, on_failure=lambda: setattr(server, "should_exit", True))
    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", server_header=False, limit_concurrency=_CONNECTIONS,
            timeout_graceful_shutdown=_GRACE, timeout_keep_alive=15,
        )
    )  # fmt: skip
    shown = f"[{host}]" if ":" in host else host
    told(f"http://{shown}:{opened.getsockname()[1]}/")
    with opened, suppress(KeyboardInterrupt):
        server.run(sockets=[opened])
    if failure := failure_of(service):
        raise failure


def _is_loopback(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return False


def _open(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise StoreError(
            f"{host}:{port}", expected="a free port of this machine", got=error.strerror or str(error),
            remedy="Choose another --port; 0 takes a free one.",
        ) from error  # fmt: skip
