"""The augmented copies a method asks for: of a recipe's training pairs, encoded once where the image encoder stands."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hashret.errors import DataError
from hashret.examples import Example, RetrievalDataset
from hashret.methods.method import Method
from hashret.models import FeatureCache, Processor
from hashret.recipe import Recipe
from hashret.regions import RegionFiles
from hashret.training import Views

__all__ = ["views_of"]


def views_of(
    recipe: Recipe,
    dataset: RetrievalDataset,
    method: Method,
    processor: Processor,
    device: str,
    say: Callable[[str], None] = lambda line: None,
) -> Views | None:
    """Augmented copies of the query images of the training pairs.

    Args:
        recipe: Says whether the image encoder is frozen; its seed is that of the copies.
        dataset: Before its images are replaced by features.
        method: Says whether it wants copies, and which.
        processor: Of the method.
        device: Where a frozen encoder runs.
        say: Told in a line what happens.

    Returns:
        The copies: pixels, made when they are drawn, or what a frozen encoder makes of them; None for methods and
        recipes that read none.

    Raises:
        DataError: The images are features, of which no copy can be made.
    """
    read = any("view" in (*stage.reads, *stage.keeps) for stage in method.stages if recipe.stages[stage.name]["epochs"])
    if method.augmentation is None or not read:
        return None
    pairs = list(dataset.train)
    without = next((pair.query for pair in pairs if not _has_pixels(pair.query)), None)
    if without is not None or processor.image_preprocess is None or recipe.image.name in ("vector", "tokens"):
        raise DataError(
            f"dataset {dataset.name}", expected="pictures, of which the method wants augmented copies",
            got=f"features, as of {(without or pairs[0].query).key}",
            remedy="Ask for no copies (method.self_weight=0 of MLCL, method.copies=0 of IConE), or take pictures.",
        )  # fmt: skip
    views = Views.of(pairs, processor, method.augmentation, copies=method.copies, seed=recipe.training.seed)
    if not recipe.frozen["image"]:
        return views
    say(f"features of {method.copies} augmented copies of {views.references} references")
    cache = FeatureCache()
    encoded = [
        cache.features(method.image, reader, copy, "image", device=device)
        for reader, copy in zip(views.read, views.examples, strict=True)
        if isinstance(reader, Processor)
    ]
    return views.with_features(encoded)


def _has_pixels(example: Example) -> bool:
    image = example.image
    vectors = isinstance(image, np.ndarray) and (image.ndim == 1 or image.dtype.kind == "f")
    return not (image is None or vectors or isinstance(image, RegionFiles))
