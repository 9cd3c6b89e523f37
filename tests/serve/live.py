"""A real server in a thread: a socket, uvicorn and the application."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpx
import uvicorn

from hashret.serve import Service, create_app


@dataclass
class Live:
    """What a test holds of it."""

    address: str
    service: Service
    server: uvicorn.Server
    app: Any
    client: httpx.Client

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self.client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self.client.post(path, **options)

    def search(self, **fields: Any) -> dict[str, Any]:
        answer = self.get("/search", params=fields)
        assert answer.status_code == 200, answer.text
        return answer.json()


@contextmanager
def live(service: Service, *, wait: bool = True, **options: Any) -> Iterator[Live]:
    opened = socket.create_server(("127.0.0.1", 0))
    app = create_app(service, **options)
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", timeout_graceful_shutdown=20))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [opened]})
    thread.start()
    try:
        until = time.monotonic() + 120
        while not server.started or (wait and service.state == "loading"):
            assert time.monotonic() < until
            assert thread.is_alive()
            time.sleep(0.01)
        assert not wait or service.state == "ready", service.failure
        address = f"http://127.0.0.1:{opened.getsockname()[1]}"
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield Live(address, service, server, app, client)
    finally:
        server.should_exit = True
        thread.join(60)
        opened.close()
        assert not thread.is_alive()
