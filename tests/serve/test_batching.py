"""The line before the encoder, with functions that note what they were given."""

import asyncio
import threading
import time

import pytest

from hashret.serve.batching import Batcher
from hashret.serve.problems import BusyError, NotReadyError


def together(jobs, *, most=4, wait=0.01, room=100, seconds=0.0):
    """Answers of all jobs asked at once, and the batches they went through in."""
    batches = []

    def double(batch):
        assert threading.current_thread() is not threading.main_thread()
        batches.append(list(batch))
        time.sleep(seconds)
        return [2 * job for job in batch]

    async def run():
        line = Batcher(double, most=most, wait=wait, room=room)
        line.start()
        answers = await asyncio.gather(*(line.ask(kind, job) for kind, job in jobs), return_exceptions=True)
        await line.stop()
        return answers

    return asyncio.run(run()), batches


def test_each_gets_the_answer_to_its_own():
    answers, batches = together([("text", number) for number in range(11)])
    assert answers == [2 * number for number in range(11)]
    assert batches == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9, 10]]


def test_only_one_kind_goes_through_together():
    jobs = [("ab"[number % 2], number) for number in range(6)]
    answers, batches = together(jobs)
    assert answers == [0, 2, 4, 6, 8, 10]
    assert batches == [[0, 2, 4], [1, 3, 5]]


def test_one_alone_waits_no_longer_than_it_must():
    async def run():
        line = Batcher(lambda batch: batch, most=16, wait=0.02)
        line.start()
        begun = time.monotonic()
        await line.ask("text", 1)
        took = time.monotonic() - begun
        await line.stop()
        return took

    assert 0.02 <= asyncio.run(run()) < 5


def test_a_full_line_is_told_at_once():
    answers, _ = together([("text", number) for number in range(9)], most=2, room=5, seconds=0.02)
    refused = [answer for answer in answers if isinstance(answer, BusyError)]
    assert len(refused) == 4
    assert [answer for answer in answers if isinstance(answer, int)] == [0, 2, 4, 6, 8]


def test_a_mistake_goes_to_all_of_its_batch_and_to_no_other():
    def fails(batch):
        if "bad" in batch:
            raise ValueError("no")
        return batch

    async def run():
        line = Batcher(fails, most=2, wait=0.01)
        line.start()
        asked = [line.ask("text", job) for job in ("bad", "with it", "fine", "too")]
        answers = await asyncio.gather(*asked, return_exceptions=True)
        await line.stop()
        return answers

    first, second, *others = asyncio.run(run())
    assert isinstance(first, ValueError)
    assert first is second
    assert others == ["fine", "too"]


def test_who_goes_away_is_not_computed():
    batches = []

    async def run():
        line = Batcher(lambda batch: batches.append(list(batch)) or batch, most=8, wait=0.05)
        line.start()
        gone = asyncio.create_task(line.ask("text", "gone"))
        kept = asyncio.create_task(line.ask("text", "kept"))
        await asyncio.sleep(0)
        gone.cancel()
        assert await kept == "kept"
        assert len(line) == 0
        await line.stop()

    asyncio.run(run())
    assert batches == [["kept"]]


def test_stopping_finishes_what_stands_in_line():
    async def run():
        line = Batcher(lambda batch: time.sleep(0.02) or batch, most=2, wait=10)
        line.start()
        asked = [asyncio.create_task(line.ask("text", number)) for number in range(5)]
        await asyncio.sleep(0)
        await line.stop()
        assert await asyncio.gather(*asked) == [0, 1, 2, 3, 4]
        with pytest.raises(NotReadyError):
            await line.ask("text", 5)

    asyncio.run(run())
