"""Lanes: batches go through the network side by side on one core each, and come back in order."""

import threading
import time

import pytest
import torch
from drawn import content, draw

from hashret.pipeline import encode
from hashret.pipeline.lanes import Lanes
from hashret.retriever import Retriever


@pytest.fixture
def three_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    yield
    torch.set_num_threads(before)


def test_results_come_in_order_though_later_ones_are_done_first():
    def slow(number: int) -> int:
        time.sleep(0.02 if number % 3 == 0 else 0)
        return number * number

    for count in (1, 2, 5):
        with Lanes(count, slow) as lanes:
            assert list(lanes.results(iter(range(20)))) == [(number, number * number) for number in range(20)]
            assert list(lanes.results(iter([]))) == []


def test_lanes_work_at_the_same_time_and_take_no_more_ahead_than_they_need():
    meeting, asked = threading.Barrier(3, timeout=30), []

    def given():
        for number in range(12):
            asked.append(number)
            yield number

    with Lanes(3, lambda number: meeting.wait() >= 0) as lanes:
        results = lanes.results(given())
        next(results)
        assert asked == [0, 1, 2, 3]
        for _ in range(8):
            next(results)
        assert asked == list(range(12))
        results.close()


def test_a_lane_has_one_core_and_nobody_else_loses_any(three_threads):
    with Lanes(2, lambda number: torch.get_num_threads()) as lanes:
        found = [threads for _, threads in lanes.results(iter(range(6)))]
        other: list[int] = []
        thread = threading.Thread(target=lambda: other.append(torch.get_num_threads()))
        thread.start()
        thread.join()
    assert found == [1] * 6
    assert [*other, torch.get_num_threads()] == [3, 3]


def test_what_goes_wrong_is_raised_in_its_turn():
    with Lanes(2, lambda number: 12 // number) as lanes:
        results = lanes.results(iter([3, 2, 0, 1]))
        assert [next(results), next(results)] == [(3, 4), (2, 6)]
        with pytest.raises(ZeroDivisionError):
            next(results)


def test_codes_do_not_depend_on_the_number_of_cores(model, tmp_path, monkeypatch, three_threads):
    photos, used = draw(tmp_path / "photos", 150), set[int]()
    relaxed = Retriever.relaxed

    def noted(self, inputs, *, embed=False):
        used.add(torch.get_num_threads())
        return relaxed(self, inputs, embed=embed)

    monkeypatch.setattr(Retriever, "relaxed", noted)
    for threads in (3, 1):
        torch.set_num_threads(threads)
        encode(model, photos, "image", tmp_path / str(threads), shard_size=60, embeddings="fp16", quiet=True)
    assert used == {1}
    assert content(tmp_path / "3") == content(tmp_path / "1")
