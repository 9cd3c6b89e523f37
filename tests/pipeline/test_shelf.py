"""A shelf's copies are their own, and the last few of them stay as they were."""

import torch

from hashret.models import Inputs
from hashret.pipeline.shelf import Shelf


def test_the_last_batches_stay_whatever_becomes_of_what_was_copied():
    generator = torch.Generator().manual_seed(0)
    shelf, under_way, used = Shelf(3), [], set()
    for rows in (4, 7, 2, 7, 1, 5, 7, 3, 6):
        given = Inputs(
            image=torch.rand(rows, 3, 2, 2, generator=generator),
            text=torch.randint(0, 9, (rows, rows + 1), generator=generator),
            text_mask=torch.ones(rows, rows + 1, dtype=torch.bool),
        )
        copied = shelf.copy(given)
        under_way = [
            *under_way,
            (copied, {name: part.clone() for name, part in vars(copied).items() if part is not None}),
        ][-3:]
        for part in (given.image, given.text, given.text_mask):
            part.zero_()  # the decoders go on
        for kept, expected in under_way:
            for name, part in expected.items():
                assert torch.equal(getattr(kept, name), part)
        assert under_way[-1][1]["image"].abs().sum() > 0
        used.add(copied.image.data_ptr())
    assert len(used) <= 6  # three places, each made larger once


def test_a_part_that_is_not_there_stays_so():
    copied = Shelf(1).copy(Inputs(image=torch.ones(2, 3)))
    assert (copied.text, copied.text_mask) == (None, None)
    assert torch.equal(copied.image, torch.ones(2, 3))
