"""How many threads a search takes."""

import os

from hashret.search import crew


def test_no_more_threads_than_are_allowed_there_or_worth_it(monkeypatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 3, 4}, raising=False)
    words = crew._THREAD_WORDS
    assert [crew.crew(None, work) for work in (0, words - 1, 2 * words, 100 * words)] == [1, 1, 2, 3]
    assert [crew.crew(threads, 100 * words) for threads in (1, 2, 7)] == [1, 2, 7]
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert crew.crew(None, 100 * words) == 1


def test_results_come_in_the_order_of_the_tasks() -> None:
    tasks = [lambda number=number: number * number for number in range(50)]
    assert crew.together(tasks, 1) == crew.together(tasks, 3) == [number * number for number in range(50)]
    assert crew.together([], 2) == []
