"""What TensorBoard's own reader finds in the files that are written for it."""

import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import rows
from reported import check_row, eval_row, step_row, write

from trainer.errors import UserError
from trainer.tools import tensorboard
from trainer.tools.report.run import read_run


@pytest.fixture
def folder(empty: Path) -> Path:
    checks = [check_row("gradient", 1, of="W1", error=1.0), check_row("forward", 1, of="h", error=2.0)]
    rows = [
        {"event": "start", "time": 0.0, "seed": 1},
        step_row(0, loss=None),
        step_row(1),
        step_row(2),
        *checks,
        eval_row(4, 2.5),
    ]
    rows.append({"event": "end", "time": 9.0, "step": 4, "train_loss": 2.0, "val_loss": 2.1, "test_loss": 2.2})
    folder = write(empty / "runs" / "names" / "20260101-120000", rows)
    (folder / "config.yaml").write_text("seed: 42\n")
    return folder


def read(folder: str) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    found = EventAccumulator(folder, size_guidance={"scalars": 0, "histograms": 0, "tensors": 0})
    found.Reload()
    return found


def test_the_same_numbers_as_in_the_log(folder: Path) -> None:
    for _ in range(2):  # written again, nothing is doubled
        tensorboard.export([read_run(folder)], Path("board"))
    found, log = read("board/names/20260101-120000"), rows(folder)
    losses = [(row["step"], np.float32(row["loss"])) for row in log if row["event"] == "step" and row["loss"]]
    assert [(event.step, event.value) for event in found.Scalars("step/loss")] == losses
    for name, value in (("train", 2.4), ("val", 2.5)):  # one name in two folders: one chart
        (event,) = read(f"board/names/20260101-120000/loss/{name}").Scalars("loss")
        assert (event.step, event.value) == (4, np.float32(value))
    for tag, ratio in (("dW1", 0.25), ("forward_h", 0.5)):
        assert found.Scalars(f"error_over_tolerance/{tag}")[0].value == ratio
    tags = found.Tags()["scalars"]
    assert "step/update_ratio/W2" in tags
    assert "step/update_ratio/b1" not in tags  # null in every row
    assert not [tag for tag in tags if tag.startswith("end")]
    (histogram,) = found.Histograms("dz")
    stored = rows(folder, "eval")[0]["histograms"]["dz"]
    counts, (low, high) = stored["counts"], stored["range"]
    assert [count for count in histogram.histogram_value.bucket if count] == [count for count in counts if count]
    assert low < histogram.histogram_value.min < histogram.histogram_value.max < high
    (event,) = found.Tensors("config.yaml/text_summary")
    assert (event.tensor_proto.string_val[0].decode().split("\n")[0], event.step) == ("    seed: 42", 4)


def test_without_the_package_it_is_one_line(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tensorboardX", None)
    with pytest.raises(UserError, match=r"pip install 'handmade-char-lm\[tensorboard\]'"):
        tensorboard.export([read_run(folder)], Path("board"))
