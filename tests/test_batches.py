"""Dropout masks: their values, and how many entries they keep."""

import numpy as np
import pytest

from trainer.config import Config, Data, Model, Train
from trainer.text.batches import draw_mask, draw_masks


@pytest.mark.parametrize(
    ("train", "kept"),
    [
        (Train(embedding_dropout=0.5, dropout=0.6), [0.5, 0.5, 0.5, 0.4]),
        (Train(context_dropout=0.75, dropout=0.1), [0.25, 0.625, 1, 0.9]),
        (Train(context_dropout=0.75, embedding_dropout=0.5, dropout=0.5), [0.125, 0.3125, 0.5, 0.5]),
    ],
)
def test_masks_keep_the_shares_and_the_mean(train: Train, kept: list[float]) -> None:
    both = draw_masks(Config(Data("x"), Model(3, 625, 625), train), np.random.default_rng(0))
    masks = np.hstack([mask for mask in both if mask is not None])  # (32, 4 * 625)
    for mask, share in zip(np.split(masks, 4, axis=1), kept, strict=True):
        assert np.unique(mask) == pytest.approx([1] if share == 1 else [0, 1 / share], rel=1e-4)
        # The share of 20,000 kept entries deviates by 0.0035 at most: four times that.
        assert np.mean(mask > 0) == pytest.approx(share, abs=0.014)


def test_a_rate_close_to_one_leaves_finite_masks() -> None:
    mask = draw_mask(0.9999999, (1000, 1000), "float32", np.random.default_rng(0))
    # One entry in 2^16 is kept: of a million 15 in the mean, with a deviation of 4: five times that.
    assert set(np.unique(mask)) == {0, 1 << 16}
    assert np.count_nonzero(mask) == pytest.approx(15, abs=20)
