"""A world and a server over it, both made once; the browser that looks at its page."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from live import Live, live
from world import World, make_world

from hashret.serve import Service

sys.path.append(str(Path(__file__).parents[2] / "benchmarks"))  # for its mutants


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    return make_world(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def served(world: World) -> Iterator[Live]:
    """A server over both indexes, as `hashret serve` starts it, on a port of its own."""
    with live(Service(world.run, world.indexes, device="cpu")) as running:
        yield running
