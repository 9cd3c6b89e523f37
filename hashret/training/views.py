"""Views: augmented copies of the query images of training pairs, one of which an epoch draws for each pair.

Copies are numbered, and a copy is always the same. So a frozen image encoder runs over each copy once, like over the
image itself, and an epoch then draws among features; where an encoder learns, the copies are made as they are drawn,
and their number costs nothing. A view of features that were cached could not be made afterwards: an augmentation
changes pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hashret.examples import Example, Pair
from hashret.models.augmentation import Augmentation, Augmented
from hashret.models.features import Inputs
from hashret.models.processor import Processor
from hashret.training.pairs import distinct

__all__ = ["Views"]


@dataclass(frozen=True, eq=False)
class Views:
    """Copies of the distinct query images; a copy of a reference has the place ``copy * references + reference``.

    Attributes:
        examples: For each copy the R distinct references, images alone: pictures, the same for all copies, or the
            features of each copy.
        read: For each copy what makes inputs of its examples.
        reference: int64 (P,), which reference each training pair has.
    """

    examples: Sequence[Sequence[Example]]
    read: Sequence[Callable[[Sequence[Example]], Inputs]]
    reference: NDArray[np.int64]

    @classmethod
    def of(
        cls, pairs: Sequence[Pair], processor: Processor, augmentation: Augmentation, *, copies: int, seed: int
    ) -> Views:
        """So many copies of the query image of each pair.

        Args:
            pairs: Training pairs whose queries have pictures.
            processor: Of the method; its preparation of images is that of the copies.
            augmentation: What changes.
            copies: How many, >= 1.
            seed: Of the copies.
        """
        queries = [Example(image=pair.query.image, key=pair.query.key) for pair in pairs]
        references, reference = distinct(queries)
        assert processor.image_preprocess is not None
        augmented = [Augmented(processor.image_preprocess, augmentation, seed, copy) for copy in range(copies)]
        return cls([references] * copies, [Processor(prepare, None) for prepare in augmented], reference)

    @property
    def references(self) -> int:
        """How many distinct references there are."""
        return len(self.examples[0])

    def with_features(self, features: Sequence[NDArray[np.float32]]) -> Views:
        """The same copies by the features (R, D) an encoder has made of each."""
        examples = [
            [replace(example, image=row) for example, row in zip(copy, rows, strict=True)]
            for copy, rows in zip(self.examples, features, strict=True)
        ]
        return replace(self, examples=examples)

    def keys(self) -> list[str]:
        """A name for each copy, in the order of their places."""
        return [f"{example.key}~{number}" for number, copy in enumerate(self.examples) for example in copy]

    def drawn(self, *position: int) -> NDArray[np.int64]:
        """The place of the copy that each pair has in the epoch at a position such as (seed, stage, epoch), (P,)."""
        generator = np.random.default_rng(np.random.SeedSequence((*position, len(self.examples))))
        copies = generator.integers(len(self.examples), size=len(self.reference))
        return np.asarray(copies * self.references + self.reference, np.int64)

    def inputs(self, places: NDArray[np.int64]) -> Inputs:
        """The copies at these places, in their order, as an encoder reads them."""
        copies, references = np.divmod(places, self.references)
        order = np.argsort(copies, kind="stable")
        parts = [
            self.read[copy]([self.examples[copy][number] for number in references[order][copies[order] == copy]])
            for copy in np.unique(copies)
        ]
        return Inputs.stack(parts).rows(np.argsort(order).tolist())
