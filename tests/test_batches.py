"""Dropout masks: their values, and how many entries they keep."""

import numpy as np
import pytest

from trainer.config import Config, Data, Model, Train
from trainer.text.batches import draw_mask, draw_masks


@pytest.mark.parametrize(
    ("K", "train", "kept_emb", "kept_h"),
    [
        (3, Train(), None, None),
        (3, Train(embedding_dropout=0.5, dropout=0.6), [0.5, 0.5, 0.5], 0.4),
        (3, Train(context_dropout=0.75), [0.25, 0.625, 1], None),
        (3, Train(context_dropout=0.75, embedding_dropout=0.5), [0.125, 0.3125, 0.5], None),
        (1, Train(context_dropout=0.75), [1], None),
    ],
)
def test_masks_keep_the_shares_and_the_mean(
    K: int, train: Train, kept_emb: list[float] | None, kept_h: float | None
) -> None:
    D, H, B = 625, 625, train.batch_size
    emb, h = draw_masks(Config(Data("x"), Model(K, D, H), train), np.random.default_rng(0))
    found = [] if emb is None else list(emb.reshape(B, K, D).transpose(1, 0, 2))
    for mask, share in zip([*found, h], [*(kept_emb or []), kept_h], strict=True):
        if share is None:
            assert mask is None
            continue
        assert (mask.dtype, mask.shape) == (np.float32, (B, D))
        assert np.unique(mask) == pytest.approx([1] if share == 1 else [0, 1 / share], rel=1e-4)
        # The share of 20,000 kept entries deviates by 0.0035 at most: four times that.
        assert np.mean(mask > 0) == pytest.approx(share, abs=0.014)


def test_a_rate_close_to_one_leaves_finite_masks() -> None:
    mask = draw_mask(0.9999999, (1000, 1000), "float32", np.random.default_rng(0))
    # One entry in 2^16 is kept: of a million 15 in the mean, with a deviation of 4: five times that.
    assert set(np.unique(mask)) == {0, 1 << 16}
    assert np.count_nonzero(mask) == pytest.approx(15, abs=20)
