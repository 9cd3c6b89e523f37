"""From the first moment to the last: the port answers while the model loads, and what was asked is still answered."""

import os
import shutil
import socket
import sys
import threading
import time
from importlib.util import find_spec

import pytest
from click.testing import CliRunner
from live import live

from hashret.catalogue import catalogue_path
from hashret.cli import main
from hashret.errors import FormatError, InputError, StoreError
from hashret.serve import Limits, Service, run_server


def test_the_port_answers_truthfully_while_the_model_is_loaded(world, tmp_path):
    """The catalogue is a pipe: loading lasts until somebody writes it."""
    place = shutil.copy(world.indexes[0], tmp_path / "images.index")
    os.mkfifo(catalogue_path(place))
    with live(Service(world.run, [place], device="cpu"), wait=False) as loading:
        for _ in range(3):
            answer = loading.get("/healthz")
            assert (answer.status_code, answer.json()) == (503, {"state": "loading"})
        refused = loading.get("/search?text=red")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "1")
        assert "hashret_ready 0.0" in loading.get("/metrics").text
        catalogue_path(place).write_bytes(catalogue_path(world.indexes[0]).read_bytes())
        until = time.monotonic() + 60
        while loading.get("/healthz").status_code == 503:
            assert time.monotonic() < until
        assert loading.get("/search?text=red").status_code == 200
        assert "hashret_ready 1.0" in loading.get("/metrics").text


def takes_connections(host, port):
    try:
        socket.create_connection((host, port), timeout=5).close()
    except OSError:
        return False
    return True


def test_what_was_asked_before_the_end_is_answered(world):
    """Half of a request has come when the server is told to stop; the other half is still waited for."""
    with live(Service(world.run, world.indexes[:1], device="cpu")) as ending:
        host, port = ending.address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=60) as begun:
            head = f"POST /encode HTTP/1.1\r\nHost: {host}\r\nContent-Length: 8\r\n"
            begun.sendall(head.encode() + b"Content-Type: application/x-www-form-urlencoded\r\n\r\ntext")
            until = time.monotonic() + 30
            while not ending.server.server_state.tasks and time.monotonic() < until:
                time.sleep(0.01)
            ending.server.should_exit = True
            while takes_connections(host, int(port)):
                assert time.monotonic() < until
            begun.sendall(b"=red")
            answer = b"".join(iter(lambda: begun.recv(10_000), b""))
    assert answer.startswith(b"HTTP/1.1 200 ")
    assert b'"bits":32' in answer
    assert ending.service.state == "stopping"


def test_a_run_that_did_not_make_the_index_is_an_error(world, checkpoints):
    done = CliRunner().invoke(
        main, ["serve", "--run", str(checkpoints("run")), "--index", str(world.indexes[0]), "--port", "0"]
    )
    assert done.exit_code == 1, done.output
    assert "codes of another model" in done.output
    service = Service(world.run, [world.indexes[0], world.indexes[0]])
    with pytest.raises(InputError, match="two of images"):
        run_server(service, host="127.0.0.1", port=0)
    assert service.state in ("failed", "stopping")


def test_a_damaged_catalogue_is_an_error(world, tmp_path):
    place = shutil.copy(world.indexes[0], tmp_path / "images.index")
    catalogue_path(place).write_text("{}\n")
    with pytest.raises(FormatError, match="index again"):
        run_server(Service(world.run, [place]), host="127.0.0.1", port=0)


def test_the_port_is_its_own_and_not_open_to_others(world):
    service = Service(world.run, world.indexes)
    with socket.create_server(("127.0.0.1", 0)) as taken, pytest.raises(StoreError, match="0 takes a free one"):
        run_server(service, host="127.0.0.1", port=taken.getsockname()[1])
    with pytest.raises(InputError, match="Give --token"):
        run_server(service, host="0.0.0.0", port=0)
    with pytest.raises(InputError, match="limit pixels"):
        Limits(pixels=0)


def test_without_the_extra_the_command_says_how_to_get_it(world, monkeypatch):
    monkeypatch.setattr(
        sys.modules["hashret.cli.serve"], "find_spec", lambda name: None if name == "uvicorn" else find_spec(name)
    )
    done = CliRunner().invoke(main, ["serve", "--run", str(world.run), "--index", str(world.indexes[0])])
    assert done.exit_code == 1
    assert "no uvicorn. Run: pip install 'hashret[serve]'" in done.output


def test_the_command_serves_until_it_is_interrupted(world):
    """In the main thread, as a terminal runs it: SIGINT ends it quietly."""
    told = []

    def interrupt():
        until = time.monotonic() + 60
        while not told and time.monotonic() < until:
            time.sleep(0.01)
        time.sleep(0.5)
        os.kill(os.getpid(), 2)

    ender = threading.Thread(target=interrupt)
    ender.start()
    run_server(Service(world.run, world.indexes[:1]), host="127.0.0.1", port=0, told=told.append)
    ender.join()
    assert told[0].startswith("http://127.0.0.1:")
