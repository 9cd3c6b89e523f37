"""The stores that benchmarks/store_scale.py measures, and PostgreSQL as a plain peer; each loads codes and searches.

Ids are 0, 1, 2 ... Nothing here takes the time.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import shutil
import struct
import subprocess
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["ENGINES", "Engine", "Missing"]

Rows = NDArray[np.uint8]
Answers = tuple[NDArray[Any], NDArray[np.int64]]

_BLOCK = 1 << 20  # codes that are handed over at a time


class Missing(Exception):
    """What an engine needs is not installed."""


def need(*modules: str) -> None:
    """Refuse to go on without some modules."""
    for module in modules:
        if importlib.util.find_spec(module) is None:
            raise Missing(f"not installed: {module}")


class Engine(ABC):
    """A store that has been filled.

    Args:
        place: A folder of its own.
        codes: Packed codes (n, bits / 8), mapped.
        bits: Their width.
        threads: How many it may use, each of its workers if it has some.
    """

    def __init__(self, place: Path, codes: Rows, bits: int, threads: int) -> None:
        """Load."""
        self.place, self.bits, self.threads = place, bits, threads
        self.load(codes)

    @abstractmethod
    def load(self, codes: Rows) -> None:
        """Take the codes."""

    @abstractmethod
    def search(self, queries: Rows, k: int) -> Answers:
        """Distances and ids of the k nearest, by (distance, id)."""

    @abstractmethod
    def close(self) -> None:
        """Stop what was started."""

    def disk(self) -> int:
        """Bytes of its files."""
        return sum(file.stat().st_size for file in self.place.rglob("*") if file.is_file())


class Local(Engine):
    """A HammingIndex, saved and mapped."""

    def load(self, codes: Rows) -> None:
        """Add, save, map."""
        from hashret.search import HammingIndex

        index = HammingIndex(self.bits)
        index.add(codes)
        index.save(self.place / "codes.index")
        self.index = HammingIndex.load(self.place / "codes.index", mmap=True)

    def search(self, queries: Rows, k: int) -> Answers:
        """Scan."""
        hits = self.index.search(queries, k, threads=self.threads)
        return hits.distances, hits.ids

    def close(self) -> None:
        """Nothing was started."""


class Ray(Engine):
    """Shards held by actors on this machine; loading includes starting Ray."""

    workers = 1

    def load(self, codes: Rows) -> None:
        """Start Ray, write shards, open them."""
        need("ray")
        from hashret.codes import Codes
        from hashret.stores import open_store
        from hashret.stores.shards import write_shards

        ray = importlib.import_module("ray")
        ray.init(num_cpus=self.workers * self.threads, include_dashboard=False, log_to_driver=False,
                 logging_level="error")  # fmt: skip
        write_shards(self.place / "shards", Codes(codes, self.bits), shards=self.workers)
        self.store = open_store(f"ray://{self.place / 'shards'}?cpus={self.threads}")

    def search(self, queries: Rows, k: int) -> Answers:
        """Ask the actors and merge."""
        hits = self.store.search(queries, k)
        return hits.distances, hits.ids

    def close(self) -> None:
        """Stop Ray."""
        self.store.close()
        importlib.import_module("ray").shutdown()


class RayPair(Ray):
    """Two workers."""

    workers = 2


class Chdb(Engine):
    """ClickHouse within the process."""

    def load(self, codes: Rows) -> None:
        """Insert."""
        need("chdb", "clickhouse_connect")
        from hashret.stores import open_store

        self.store = open_store(f"chdb:{self.place / 'db'}?bits={self.bits}")
        for start in range(0, len(codes), _BLOCK):
            self.store.add(np.ascontiguousarray(codes[start : start + _BLOCK]))
        self.store._engine.run(f"SET max_threads = {self.threads}")  # type: ignore[attr-defined]

    def search(self, queries: Rows, k: int) -> Answers:
        """Ask by SQL."""
        hits = self.store.search(queries, k)
        return hits.distances, hits.ids

    def close(self) -> None:
        """Close the store."""
        self.store.close()


class PostgreSQL(Engine):
    """bit_count(code # query) over a table of bit(n), a statement a query; a server of its own on a local socket."""

    def load(self, codes: Rows) -> None:
        """Start a server and copy the codes in, in the binary form."""
        need("psycopg")
        programs = [Path(shutil.which("pg_ctl") or "/nowhere"), *Path("/usr/lib/postgresql").glob("*/bin/pg_ctl")]
        found = [path for path in programs if path.exists()]
        if not found:
            raise Missing("not installed: PostgreSQL's pg_ctl")
        self.programs, self.data = found[-1].parent, self.place / "data"
        self._as = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.getuid() == 0 else []
        if self._as:  # it refuses to run as root
            for folder in (self.place, self.place.parent):
                folder.chmod(0o755)
            shutil.chown(self.place, "postgres", "postgres")
        self._run("initdb", "-D", self.data, "-U", "bench", "--auth=trust", "--no-sync")
        options = (
            f"-k {self.place} -c listen_addresses= -c shared_buffers=1GB -c fsync=off -c max_wal_size=8GB "
            f"-c max_parallel_workers_per_gather={self.threads - 1}"
        )
        self._run("pg_ctl", "-D", self.data, "-w", "-l", self.place / "log", "-o", options, "start")
        psycopg = importlib.import_module("psycopg")
        self.connection = psycopg.connect(host=str(self.place), user="bench", dbname="postgres", autocommit=True)
        self.connection.execute(f"CREATE TABLE codes (id bigint, code bit({self.bits}))")
        with self.connection.cursor() as cursor, cursor.copy("COPY codes FROM STDIN (FORMAT binary)") as copy:
            copy.write(b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0))
            for start in range(0, len(codes), _BLOCK):
                copy.write(self._block(codes[start : start + _BLOCK], start))
            copy.write(struct.pack(">h", -1))
        self.connection.execute("VACUUM ANALYZE codes")

    def _block(self, codes: Rows, first: int) -> bytes:
        """Rows in COPY's binary form: 2 fields, a length before each; of bits, their number and then bytes."""
        width = codes.shape[1]
        fields = [("fields", ">i2"), ("a", ">i4"), ("id", ">i8"), ("b", ">i4"), ("bits", ">i4"), ("code", f"V{width}")]
        rows = np.empty(len(codes), fields)
        rows["fields"], rows["a"], rows["b"], rows["bits"] = 2, 8, 4 + width, self.bits
        rows["id"] = np.arange(first, first + len(codes))
        rows["code"] = np.ascontiguousarray(codes).view(f"V{width}")[:, 0]
        return rows.tobytes()

    def _run(self, program: str, *arguments: object) -> None:
        command = [*self._as, str(self.programs / program), *map(str, arguments)]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False,
                              cwd=self.place)  # fmt: skip
        if done.returncode:
            raise RuntimeError(f"{program}: {done.stderr.strip()}")

    def search(self, queries: Rows, k: int) -> Answers:
        """A statement a query."""
        statement = f"SELECT bit_count(code # %s::bit({self.bits})) AS d, id FROM codes ORDER BY d, id LIMIT {k}"
        found = []
        for query in np.unpackbits(queries, axis=1, count=self.bits):
            text = "".join("1" if bit else "0" for bit in query)
            found.append(self.connection.execute(statement, (text,)).fetchall())
        both = np.array(found, np.int64).reshape(len(queries), -1, 2)
        return both[:, :, 0].astype(np.int32), both[:, :, 1]

    def close(self) -> None:
        """Stop the server."""
        self.connection.close()
        self._run("pg_ctl", "-D", self.data, "-m", "immediate", "stop")


ENGINES: dict[str, type[Engine]] = {
    "local": Local, "Ray, 1 worker": Ray, "Ray, 2 workers": RayPair, "chdb": Chdb, "PostgreSQL": PostgreSQL,
}  # fmt: skip
