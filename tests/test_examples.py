"""The raw things: what they call themselves and what they refuse."""

from pathlib import Path

import numpy as np
import pytest

from hashret.errors import DataError, InputError
from hashret.examples import Example, Pair, RetrievalDataset, Task
from hashret.relevance import SameInstance


def test_an_example_needs_an_image_or_a_text() -> None:
    with pytest.raises(InputError, match="example: expected an image, a text or both, got neither"):
        Example()


@pytest.mark.parametrize(
    ("example", "key"),
    [
        (Example(image="photos/cat.jpg"), "cat.jpg"),
        (Example(image=Path("photos/cat.jpg"), text="but black"), "cat.jpg"),
        (Example(text="a black cat"), "a black cat"),
        (Example(image=np.zeros(4), text="a black cat"), "a black cat"),
        (Example(image=np.zeros(4)), ""),
        (Example(text=np.zeros(4)), ""),
        (Example(image="photos/cat.jpg", key="17"), "17"),
    ],
)
def test_an_example_is_called_by_its_key_path_or_text(example: Example, key: str) -> None:
    assert example.key == key


def some_pairs(count: int, classes: int = 0) -> list[Pair]:
    labels = np.ones(classes, np.uint8) if classes else None
    return [Pair(Example(text=f"q{row}"), Example(text=f"t{row}"), labels, row) for row in range(count)]


def test_a_task_needs_relevance_of_its_own_size() -> None:
    examples = [Example(text=str(number)) for number in range(3)]
    task = Task("t2i", examples[:2], examples, SameInstance([0, 1], [0, 1, 2]))
    assert task.relevance.totals().tolist() == [1, 1]
    with pytest.raises(DataError, match="task t2i: expected relevance for 3 queries and 3 gallery items, got 2 and 3"):
        Task("t2i", examples, examples, task.relevance)
    with pytest.raises(DataError, match="2 queries and 2 gallery items, got 2 and 3"):
        Task("t2i", examples[:2], examples[:2], task.relevance)


@pytest.mark.parametrize("count", [0, 1])
def test_a_dataset_needs_pairs_to_contrast(count: int) -> None:
    with pytest.raises(DataError, match=f"at least 2 training pairs, got {count}"):
        RetrievalDataset("tiny", some_pairs(count))


def test_label_rows_are_as_wide_as_the_classes() -> None:
    dataset = RetrievalDataset("tiny", some_pairs(2, classes=3), classes=("a", "b", "c"))
    assert dataset.validation == ()
    assert dataset.test == ()
    with pytest.raises(DataError, match=r"training pair 0 \(q0\): expected \(2,\), got \(3,\)"):
        RetrievalDataset("tiny", some_pairs(2, classes=3), classes=("a", "b"))
    mixed = [*some_pairs(2, classes=2), Pair(Example(text="x"), Example(text="y"), np.ones((1, 2), np.uint8))]
    with pytest.raises(DataError, match=r"training pair 2 \(x\)"):
        RetrievalDataset("tiny", mixed, classes=("a", "b"))
