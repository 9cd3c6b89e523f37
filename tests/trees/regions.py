"""Bottom-up regions as they are passed on: ``bu_att/NUMBER.npz`` with "feat", ``bu_box/NUMBER.npy`` in pixels."""

from pathlib import Path

import numpy as np

FOLDER, REGIONS, WIDTH = "features_36", 5, 16


def save_regions(folder: Path, number: int, size: tuple[int, int], *, regions: int = REGIONS) -> None:
    """Regions of noise of an image of this width and height, other ones for each number."""
    chance = np.random.default_rng(number)
    for name in ("bu_att", "bu_box"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    features = np.maximum(chance.normal(size=(regions, WIDTH)), 0).astype(np.float32)
    np.savez_compressed(folder / "bu_att" / f"{number}.npz", feat=features)
    corners = np.sort(chance.random((regions, 2, 2)), axis=1) * size  # first and last of x and of y
    np.save(folder / "bu_box" / f"{number}.npy", corners.reshape(regions, 4).astype(np.float32))
