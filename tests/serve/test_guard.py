"""Who is let in, and what no request may do."""

import socket
import time

import pytest
from live import live

from hashret.serve import Limits, Service
from hashret.serve.guard import HEADERS


@pytest.fixture(scope="module")
def guarded(world):
    """A server that asks for a token, knows its names, and is strict."""
    service = Service(
        world.run, world.indexes[:1], device="cpu", limits=Limits(body=50_000, pixels=10_000, seconds=1.0)
    )
    with live(service, token="open sesame", hosts=["127.0.0.1", "localhost", "::1"]) as running:
        yield running


ASK = {"Authorization": "Bearer open sesame"}


def test_only_the_page_and_the_health_are_open(guarded):
    for path in ("/", "/page/main.js", "/page/style.css", "/healthz"):
        assert guarded.get(path).status_code == 200, path
    for path in (
        "/search?text=red",
        "/about",
        "/items/i1",
        "/items/i1/picture",
        "/metrics",
        "/openapi.json",
        "/nowhere",
    ):
        answer = guarded.get(path)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer"), path
        assert guarded.get(path, headers={"Authorization": "Bearer open"}).status_code == 401
        assert guarded.get(path, headers={"Authorization": "Basic open sesame"}).status_code == 401
        assert guarded.get(path, headers=ASK).status_code == (404 if path == "/nowhere" else 200), path
    assert guarded.post("/encode", data={"text": "red"}).status_code == 401
    assert guarded.post("/encode", data={"text": "red"}, headers=ASK).status_code == 200


def test_every_answer_carries_the_headers(guarded):
    for path in ("/", "/page/main.js", "/about", "/nowhere"):
        headers = guarded.get(path, headers=ASK).headers
        assert {name: headers[name] for name in HEADERS} == HEADERS
    policy = HEADERS["Content-Security-Policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert guarded.get("/search?text=red", headers=ASK).headers["cache-control"] == "no-store"


def test_foreign_hosts_and_pages_are_refused(guarded):
    assert guarded.get("/", headers={"Host": "evil.example"}).status_code == 421
    assert guarded.get("/", headers={"Host": "[::1]:8000"}).status_code == 200
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert guarded.get("/about", headers=ASK | {"Sec-Fetch-Site": site}).status_code == status
    assert guarded.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200  # a shared address


def test_a_body_may_be_so_long_and_no_longer(guarded):
    def in_pieces(size):
        yield from (b"x" * 1000 for _ in range(size // 1000))

    large = {"image": ("a.png", b"x" * 60_000, "image/png")}
    assert guarded.post("/encode", files=large, headers=ASK).status_code == 413
    form = ASK | {"Content-Type": "application/x-www-form-urlencoded"}
    assert guarded.post("/encode", content=in_pieces(60_000), headers=form).status_code == 413
    assert guarded.post("/encode", content=in_pieces(2_000), headers=form).status_code == 422


def test_a_request_that_never_ends_is_ended(guarded):
    host, port = guarded.address.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=30) as slow:
        head = f"POST /encode HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer open sesame\r\nContent-Length: 500\r\n"
        slow.sendall(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntext=")
        begun = time.monotonic()
        assert b" 503 " in slow.recv(1000)
        assert 0.5 < time.monotonic() - begun < 20
    assert guarded.get("/about", headers=ASK).status_code == 200
