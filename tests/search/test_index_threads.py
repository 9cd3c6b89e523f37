"""Threads: who searches sees one state of the index while others change it, and kernels let other threads run."""

import pickle
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest

from hashret import arrayfile
from hashret.codes import Codes
from hashret.relevance import SharedLabels
from hashret.search import HammingIndex, crew, kernels, multi_index, scan
from hashret.search import answers as answers_module
from hashret.search import segments as segments_module
from hashret.search.blocks import Blocks
from hashret.search.multi_index import MultiIndex

BITS = 24
READERS = 3


@pytest.fixture(autouse=True)
def restless() -> Iterator[None]:
    """Threads take turns as often as possible."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def random_codes(rows: int, seed: int, bits: int = BITS) -> Codes:
    return Codes(np.packbits(np.random.default_rng(seed).random((rows, bits)) < 0.5, axis=1), bits)


QUERIES = random_codes(3, 999)
Step = Callable[[HammingIndex], Any]
State = dict[int, bytes]


def history() -> list[tuple[Step, State]]:
    """Changes of an index, and what it holds after each."""
    rng, items, steps, last = np.random.default_rng(0), State(), list[tuple[Step, State]](), -1
    for number in range(240):
        kind = ("add", "add", "scatter", "remove", "replace", "add", "remove", "compact", "tables")[number % 9]
        known = rng.permutation(sorted(items)).astype(np.int64)
        ids, step = known[:5], None
        if kind == "add":
            ids = np.arange(last + 1, last + 1 + int(rng.integers(1, 40)))
        elif kind == "scatter":
            ids = rng.permutation(np.setdiff1d(np.arange(4000), known))[:7]
        codes = random_codes(len(ids), number)
        if kind in ("add", "scatter"):
            step = lambda index, codes=codes, ids=ids: index.add(codes, ids)  # noqa: E731
        elif kind == "remove":
            step = lambda index, ids=ids: index.remove(ids)  # noqa: E731
        elif kind == "replace":
            step = lambda index, codes=codes, ids=ids: index.replace(ids, codes)  # noqa: E731
        else:
            step = HammingIndex.compact if kind == "compact" else HammingIndex.build_tables
        if kind == "remove":
            items = {key: code for key, code in items.items() if key not in ids}
        elif kind not in ("compact", "tables"):
            items = items | {key: code.tobytes() for key, code in zip(ids.tolist(), codes.packed, strict=True)}
        last = max([last, *items])
        steps.append((step, items))
    return steps


def answers(items: State) -> list[list[tuple[int, int]]]:
    """All (distance, id) of the queries, sorted."""
    ids = np.array(sorted(items), np.int64)
    packed = np.array([list(items[key]) for key in ids.tolist()], np.uint8).reshape(len(ids), BITS // 8)
    found = []
    for query in QUERIES.packed:
        far = np.bitwise_count(packed ^ query).sum(axis=1, dtype=np.int64)
        order = np.lexsort((ids, far))
        found.append(list(zip(far[order].tolist(), ids[order].tolist(), strict=True)))
    return found


def cut(rows: list[list[tuple[int, int]]], k: int) -> list[list[tuple[int, int]]]:
    return [row[:k] for row in rows]


def rows_of(hits: Any) -> list[list[tuple[int, int]]]:
    lines = zip(hits.distances.tolist(), hits.ids.tolist(), strict=True)
    return [[pair for pair in zip(far, ids, strict=True) if pair[1] >= 0] for far, ids in lines]


def counted(rows: list[list[tuple[int, int]]]) -> list[list[int]]:
    return [np.bincount([far for far, _ in row], minlength=BITS + 1).tolist() for row in rows]


LABELS = SharedLabels([[1]] * 3, [[number % 2] for number in range(20_000)])
ASKED: list[tuple[Callable[[HammingIndex], Any], Callable[[list[list[tuple[int, int]]]], Any]]] = [
    (lambda index: rows_of(index.search(QUERIES, 5)), lambda rows: cut(rows, 5)),
    (lambda index: rows_of(index.search(QUERIES, 5, algorithm="scan", threads=2)), lambda rows: cut(rows, 5)),
    (lambda index: rows_of(index.search(QUERIES, 20_000)), lambda rows: rows),
    (lambda index: rows_of(index.within(QUERIES, BITS, threads=1)), lambda rows: rows),
    (lambda index: index.histogram(QUERIES, threads=2).tolist(), counted),
    (
        lambda index: index.joint_histogram(QUERIES, LABELS)[:, 1].tolist(),
        lambda rows: counted([[pair for pair in row if pair[1] % 2] for row in rows]),
    ),
    (lambda index: index.ids.tolist(), lambda rows: sorted(key for _, key in rows[0])),
    (lambda index: len(index), lambda rows: len(rows[0])),
    (
        lambda index: rows_of(pickle.loads(pickle.dumps(index)).search(QUERIES, 9)),
        lambda rows: cut(rows, 9),
    ),
]


def test_each_answer_is_that_of_one_state_the_index_went_through(monkeypatch) -> None:
    """Of one that it had between the begin and the end of the search."""
    monkeypatch.setattr(segments_module, "_SMALL", 50)
    monkeypatch.setattr(crew, "_THREAD_WORDS", 1)
    for name, value in (("_SHARE", 1e9), ("_BATCH", 1e9), ("_FEWEST", 0)):
        monkeypatch.setattr(answers_module, name, value)  # where there are tables, they are used
    steps = history()
    expected = [answers(items) for items in ({}, *(items for _, items in steps))]
    index, done, seen, finished = HammingIndex(BITS), [0], list[tuple[int, int, int, Any]](), threading.Event()
    for ask, _ in ASKED:
        ask(index)  # compiles

    def change() -> None:
        try:
            for number, (step, _) in enumerate(steps):
                step(index)
                done[0] = number + 1
                time.sleep(0.002)
        finally:
            finished.set()

    def read(reader: int) -> None:
        turn = reader
        while not finished.is_set() or turn < reader + len(ASKED):  # each asks everything once at least
            before = done[0]
            answer = ASKED[turn % len(ASKED)][0](index)
            seen.append((turn % len(ASKED), before, min(done[0] + 1, len(steps)), answer))
            turn += 1

    with ThreadPoolExecutor(READERS + 1) as pool:
        for future in [pool.submit(change), *(pool.submit(read, reader) for reader in range(READERS))]:
            future.result()
    assert done == [len(steps)]
    for kind, before, after, answer in seen:
        assert answer in [ASKED[kind][1](rows) for rows in expected[before : after + 1]]
    assert {kind for kind, *_ in seen} == set(range(len(ASKED)))
    assert [ask(index) for ask, _ in ASKED] == [shape(expected[-1]) for _, shape in ASKED]


def test_several_threads_add_and_remove_without_losing_any() -> None:
    index = HammingIndex(BITS)

    def work(worker: int) -> State:
        mine = State()
        for number in range(40):
            codes = random_codes(3, 1000 * worker + number)
            ids = index.add(codes)
            mine |= {key: code.tobytes() for key, code in zip(ids.tolist(), codes.packed, strict=True)}
            if number % 4 == 3:
                leaving = sorted(mine)[:2]
                index.remove(leaving)
                index.replace(ids[:1], codes[2:])
                mine = {key: code for key, code in mine.items() if key not in leaving}
                mine[int(ids[0])] = codes.packed[2].tobytes()
        return mine

    with ThreadPoolExecutor(4) as pool:
        parts = list(pool.map(work, range(4)))
    items = {key: code for part in parts for key, code in part.items()}
    assert len(items) == sum(map(len, parts)) == len(index) == 4 * (40 * 3 - 20)
    assert index.ids.tolist() == sorted(items)
    assert index.add(random_codes(1, 0)).tolist() == [480]
    index.remove([480])
    assert rows_of(index.search(QUERIES, 999)) == answers(items)


def test_what_is_saved_while_others_add_is_one_state(monkeypatch, tmp_path) -> None:
    """Also where codes come into spare room when the checksums are made and the bytes are not yet written."""
    index, path, replace_file = HammingIndex(BITS), tmp_path / "index", arrayfile.replace_file
    adders: list[threading.Thread] = []

    def delayed(*args: Any) -> None:
        adders.append(threading.Thread(target=index.add, args=(random_codes(5, len(index)),)))
        adders[-1].start()
        adders[-1].join(0.1)  # or it waits for the end of the save
        replace_file(*args)

    monkeypatch.setattr(arrayfile, "replace_file", delayed)
    for turn in range(8):
        count = len(index)
        index.save(path)
        adders[-1].join()
        assert len(index) == count + 5
        loaded = HammingIndex.load(path, mmap=bool(turn % 2))
        assert loaded.ids.tolist() == list(range(count))
        assert loaded.add(random_codes(1, 0)).tolist() == [count]


def test_what_is_copied_while_others_add_is_one_state() -> None:
    """Also between the moment the codes are there and the moment their ids are taken."""
    copies: list[Any] = []

    class Watched(HammingIndex):
        @property
        def _segments(self) -> Any:
            return self.__dict__["kept"]

        @_segments.setter
        def _segments(self, segments: Any) -> None:
            self.__dict__["kept"] = segments
            if hasattr(self, "_lock"):
                copier = threading.Thread(target=lambda: copies.append(pickle.loads(pickle.dumps(self.__getstate__()))))
                copier.start()
                copier.join(0.1)  # or it waits for the end of the change
                copiers.append(copier)

    copiers: list[threading.Thread] = []
    index = Watched(BITS)
    for _ in range(3):
        index.add(random_codes(4, len(index)))
        copiers[-1].join()
    for state in copies:
        other = HammingIndex(BITS)
        other.__setstate__(state)
        count = len(other)
        assert other.add(random_codes(2, 0)).tolist() == [count, count + 1]


def test_a_change_waits_for_another_and_a_search_for_none(monkeypatch) -> None:
    index = HammingIndex(BITS)
    index.add(random_codes(50, 0))
    begun, go_on = threading.Event(), threading.Event()
    build = MultiIndex.build

    def slow(*args: Any, **options: Any) -> Any:
        begun.set()
        assert go_on.wait(60)
        return build(*args, **options)

    monkeypatch.setattr(MultiIndex, "build", slow)
    builder = threading.Thread(target=index.build_tables)
    adder = threading.Thread(target=lambda: index.add(random_codes(7, 1)))
    builder.start()
    try:
        assert begun.wait(60)
        adder.start()
        assert len(index) == index.search(QUERIES, 3).distances.shape[1] + 47 == 50
        assert adder.is_alive()
    finally:
        go_on.set()
    builder.join()
    adder.join()
    assert len(index) == 57


def test_kernels_let_other_threads_run(monkeypatch) -> None:
    """Threads that never give way of themselves: another one runs only while a kernel has let go of the GIL."""
    counted, moved, stop = [0], dict[str, int](), threading.Event()

    def watched(name: str, kernel: Callable[..., Any]) -> Callable[..., Any]:
        moved[name] = 0

        def call(*args: Any) -> Any:
            before = counted[0]
            result = kernel(*args)
            moved[name] += counted[0] - before
            return result

        return call

    made = {name: watched(name, getattr(kernels, name)(1)) for name in ("collector", "measurer")}
    for name in made:
        monkeypatch.setattr(scan, name, lambda _, name=name: made[name])
    for name in ("tally", "tally_marked", "tally_shared", "order"):
        monkeypatch.setattr(scan, name, watched(name, getattr(kernels, name)))
    for name in ("searcher", "_filler"):
        made[name] = watched(name, getattr(multi_index, name)())
        monkeypatch.setattr(multi_index, name, lambda name=name: made[name])
    monkeypatch.setattr(scan, "_MEASURED", 1 << 19)

    codes = random_codes(1 << 19, 0, bits=64)
    blocks, words, queries, labels = Blocks.of(codes), codes.words(), codes[:40], np.ones((1 << 19, 1), np.uint64)
    marks = np.zeros((4, 1 << 19), np.bool_)

    def count() -> None:
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0)  # others may run now

    def search() -> None:
        scan.nearest(queries, blocks, 10)
        scan.nearest(queries[:2], blocks, 1 << 19)
        scan.histogram(queries[:4], blocks)
        scan.joint_histogram(queries[:4], blocks, (labels[:4], labels))
        scan.joint_histogram(queries[:4], blocks, lambda rows: marks[rows])
        MultiIndex.build(words, 64).nearest(words[:40], 10, budget=1e9)

    search()  # compiles
    python = watched("none", kernels.tally.py_func)
    sys.setswitchinterval(1000)
    other = threading.Thread(target=count)
    other.start()
    try:
        python(np.zeros((1, 3000), np.uint8), 0, np.empty(0, np.uint64), np.zeros((1, 9), np.int64))
        assert moved.pop("none") == 0  # so it is the kernels that let go
        for _ in range(50):
            search()
            if all(moved.values()):
                break
    finally:
        stop.set()
        other.join()
    assert [name for name, times in moved.items() if not times] == []
