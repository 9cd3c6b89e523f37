"""TrainedRun: a run with its model loaded and its dataset read again, to be measured on the test split."""

from __future__ import annotations

import os
from dataclasses import dataclass

from hashret.errors import DataError
from hashret.examples import RetrievalDataset
from hashret.pipeline.demands import check_demands
from hashret.pipeline.train import Say, device_named, freeze, load_data, read_recipe
from hashret.recipe import Recipe
from hashret.retriever import Retriever
from hashret.run import Run

__all__ = ["TrainedRun"]


@dataclass(frozen=True)
class TrainedRun:
    """What measuring a run begins with.

    Attributes:
        run: Its folder.
        recipe: What was trained.
        retriever: The trained model, on the recipe's device.
        dataset: With a test split that the method can be asked of.
    """

    run: Run
    recipe: Recipe
    retriever: Retriever
    dataset: RetrievalDataset

    @classmethod
    def open(cls, folder: str | os.PathLike[str], data: str | os.PathLike[str] | None = None) -> TrainedRun:
        """Load both.

        Args:
            folder: The run.
            data: Root of the dataset, if it has moved since training.

        Raises:
            FileError: No run, no trained model in it, or no data.
            DataError: The dataset has no test split, or one the method cannot be asked of.
        """
        run = Run.open(folder)
        content, root = run.recipe()
        recipe = read_recipe(content)
        retriever = Retriever.from_pretrained(run.folder, device=device_named(recipe.training.device))
        dataset, _ = load_data(recipe, root if data is None else os.fspath(data), lambda note: None)
        if not dataset.test:
            raise DataError(
                f"dataset {dataset.name}", expected="test tasks", got="none",
                remedy="Set data.test to a split that is there.",
            )  # fmt: skip
        check_demands(recipe.method.name, dataset)
        return cls(run, recipe, retriever, dataset)

    def frozen(self, say: Say) -> RetrievalDataset:
        """The dataset with what encoders that stood still make of it in place of raw inputs; ``say`` is told."""
        retriever = self.retriever
        return freeze(self.recipe, self.dataset, retriever.method, retriever.processor, str(retriever.device), say)
