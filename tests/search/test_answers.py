"""The choice between tables and scan: what it does, and that answers do not depend on it."""

from collections.abc import Callable

import numpy as np
import pytest

from hashret.codes import Codes
from hashret.search import HammingIndex, answers, scan


def codes_around(centres: int, rows: int, flip: float, seed: int) -> Codes:
    rng = np.random.default_rng(seed)
    middle = np.random.default_rng(0).random((centres, 64)) < 0.5
    return Codes(np.packbits(middle[rng.integers(0, centres, rows)] ^ (rng.random((rows, 64)) < flip), axis=1), 64)


@pytest.fixture
def scanned(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Numbers of queries that were scanned, call by call; tables are used however few the codes are."""
    calls: list[int] = []
    plain: Callable[..., answers.Answers] = scan.nearest

    def counted(queries: Codes, *rest: object, **more: object) -> answers.Answers:
        calls.append(len(queries))
        return plain(queries, *rest, **more)

    monkeypatch.setattr(scan, "nearest", counted)
    monkeypatch.setattr(answers, "_FEWEST", 0)
    return calls


def answers_of(index: HammingIndex, queries: Codes, k: int, scanned: list[int]) -> tuple[list[int], bool]:
    """What "auto" scanned, and whether it answers as the scan does."""
    found = index.search(queries, k, threads=1)
    calls = scanned.copy()
    return calls, found == index.search(queries, k, algorithm="scan", threads=1)


def index_of(codes: Codes) -> HammingIndex:
    index = HammingIndex(64)
    index.add(codes)
    index.build_tables()
    return index


def test_clustered_codes_are_not_scanned(scanned: list[int]) -> None:
    index = index_of(codes_around(5_000, 100_000, 0.02, 1))
    assert answers_of(index, codes_around(5_000, 60, 0.02, 2), 3, scanned) == ([], True)


def test_a_batch_whose_first_queries_were_given_up_is_scanned_whole(
    scanned: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    index, queries = index_of(codes_around(1, 20_000, 0.5, 3)), codes_around(1, 60, 0.5, 4)
    monkeypatch.setattr(answers, "_BATCH", 0.0)
    assert answers_of(index, queries, 3, scanned) == ([60], True)


def test_queries_far_from_all_codes_are_scanned_and_the_others_looked_up(scanned: list[int]) -> None:
    index = index_of(codes_around(5_000, 100_000, 0.02, 1))
    near, far = codes_around(5_000, 40, 0.02, 5), codes_around(1, 20, 0.5, 6)
    calls, same = answers_of(index, Codes.concatenate([near, far]), 3, scanned)
    assert same
    assert calls
    assert sum(calls) <= 20
    scanned.clear()
    calls, same = answers_of(index, Codes.concatenate([near[:5], far[:5]]), 3, scanned)
    assert same
    assert sum(calls) <= 5


def test_few_codes_are_scanned(scanned: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    index, queries = index_of(codes_around(5, 900, 0.02, 1)), codes_around(5, 7, 0.02, 2)
    used: list[int] = []
    plain = answers._look_up
    monkeypatch.setattr(answers, "_look_up", lambda *given: used.append(1) or plain(*given))
    assert index.search(queries, 3) == index.search(queries, 3, algorithm="multi-index")
    assert used == [1]
