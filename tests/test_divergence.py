"""Training that diverges says what happened, and spares the last good checkpoint."""

import math

import numpy as np
import pytest
from conftest import SETTINGS, Trainer, assert_one_line, folder, fresh, rows

from trainer.runs.checkpoint import load
from trainer.runs.rows import histogram
from trainer.tools.report.curves import density

pytestmark = pytest.mark.usefixtures("place")


@pytest.mark.parametrize("settings", ["", "train.optimizer=adamw", "log.every=50", SETTINGS["threads"]], ids=len)
@pytest.mark.parametrize("rate", ["1e6", "1e30"])
@pytest.mark.filterwarnings("error")
def test_divergence_says_what_happened_and_spares_the_checkpoint(settings: str, rate: str, trainer: Trainer) -> None:
    outcome = trainer(*fresh("wild", f"train.learning_rate={rate}", settings))
    path = folder("wild")
    saved = load(path / "checkpoint.npz")
    assert_one_line(outcome, 1, "diverged at step", "learning rate", str(path / "checkpoint.npz"), "try ")
    assert any(f"{what} is" in outcome[2] for what in ("loss", "a parameter", "gradient of C", "gradient of W2"))
    step = int(outcome[2].rpartition("at step ")[2].partition(":")[0])
    assert saved.step <= step
    assert np.isfinite(saved.parameters.flat).all()
    assert all(np.isfinite(vector).all() for vector in saved.state.values())
    for row in rows(path):
        assert all(math.isfinite(row[key]) for key in ("loss", "grad_norm") if key in row)


@pytest.mark.parametrize(
    "values",
    [[0.0, 1e-320], [1.0, 1.0 + 1e-15], [], [np.nan], [3.0, 3.0], [-1e-30, 1e-30], [1e30], [-1.7e308, 1.7e308]],
)
def test_a_histogram_of_any_numbers(values: list[float]) -> None:
    found = histogram(np.array(values))
    assert sum(found["counts"]) == np.isfinite(values).sum()
    low, high = found["range"]
    assert low < high < np.inf
    edges, shares = density({"histograms": {"h": found}}, "h")
    if sum(found["counts"]):
        assert shares @ np.diff(edges) == pytest.approx(1)


@pytest.mark.parametrize("ends", [(1.0, 1.0), (1e30, 1e30), (1e30, np.nextafter(1e30, 2e30))])
def test_a_histogram_too_narrow_for_its_bins_is_drawn(ends: tuple[float, float]) -> None:
    edges, shares = density({"histograms": {"h": {"counts": [1, 3], "range": list(ends)}}}, "h")
    assert edges[0] < edges[-1]
    assert np.isfinite(shares).all()
    assert shares[1] == pytest.approx(3 * shares[0])
    assert shares[0] > 0
