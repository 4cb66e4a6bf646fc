"""What TensorBoard's own reader finds in the files that are written for it."""

import sys
from pathlib import Path

import numpy as np
import pytest
from reported import check_row, eval_row, gradient_row, rows_of, step_row, write

from trainer.errors import UserError
from trainer.tools import tensorboard
from trainer.tools.report.run import open_run

accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
PLENTY = {"scalars": 0, "histograms": 0, "tensors": 0}


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    end = {"event": "end", "time": 9.0, "step": 4, "train_loss": 2.0, "val_loss": 2.1, "test_loss": 2.2}
    forward = check_row("forward", 1, tensor="W1", max_abs_error=0.5)
    steps = [step_row(0, loss=None), step_row(1), step_row(2)]
    rows = [{"event": "start", "seed": 1}, *steps, gradient_row("W1", 1), forward, eval_row(4, 2.5), end]
    folder = write(tmp_path / "runs" / "names" / "20260101-120000", rows)
    (folder / "samples.txt").write_text("anna\n*bob*\n")
    return folder


def read(folder):
    found = accumulator.EventAccumulator(str(folder), size_guidance=PLENTY)
    found.Reload()
    return found


def test_the_same_numbers_as_in_the_log(folder):
    tensorboard.export([open_run(folder)], Path("board"))
    found = read("board/names/20260101-120000")
    rows = rows_of(folder)
    loss = [(event.step, event.value) for event in found.Scalars("step/loss")]
    want = [(row["step"], np.float32(row["loss"])) for row in rows if row["event"] == "step" and row["loss"]]
    assert loss == want
    assert [event.value for event in found.Scalars("eval/val_loss")] == [np.float32(2.5)]
    assert [event.value for event in found.Scalars("end/test_loss")] == [np.float32(2.2)]
    assert [event.value for event in found.Scalars("check/max_rel_error/dW1")] == [np.float32(1e-8)]
    assert [event.value for event in found.Scalars("check/max_abs_error/forward W1")] == [0.5]
    assert len(found.Scalars("step/update_ratio/W2")) == 3
    assert "step/update_ratio/b1" not in found.Tags()["scalars"]  # null in every row
    times = [event.wall_time for event in found.Scalars("step/epoch")]
    assert np.diff(times).tolist() == [0.5, 0.5]
    (histogram,) = found.Histograms("dz")
    stored = next(row for row in rows if row["event"] == "eval")["histograms"]["dz"]
    assert list(histogram.histogram_value.bucket) == stored["counts"]
    assert [histogram.histogram_value.min, histogram.histogram_value.max] == stored["range"]
    assert histogram.histogram_value.bucket_limit[-1] == stored["range"][1]
    (text,) = found.Tensors("samples")
    assert text.tensor_proto.string_val[0].decode() == "    anna\n    *bob*"
    assert text.step == 4


def test_writing_again_does_not_double(folder, capsys):
    for _ in range(2):
        tensorboard.export([open_run(folder)], Path("board"))
    (file,) = [path for path in Path("board").rglob("*") if path.is_file()]
    assert file.name == tensorboard.FILE
    assert len(read(file.parent).Scalars("step/loss")) == 2
    assert capsys.readouterr().out.splitlines()[-1] == "written to board; see it with: tensorboard --logdir board"


def test_without_the_package_it_is_one_line(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard.summary.writer.record_writer", None)
    with pytest.raises(UserError, match=r"pip install 'handmade-char-lm\[tensorboard\]'"):
        tensorboard.export([open_run(folder)], Path("board"))


def test_a_folder_that_cannot_be_made_is_one_line(folder):
    Path("board").write_text("a file")
    with pytest.raises(UserError, match="cannot write"):
        tensorboard.export([open_run(folder)], Path("board"))


def test_a_name_without_a_date(tmp_path):
    assert tensorboard.began(tmp_path / "mine") == 0.0
    assert tensorboard.began(tmp_path / "20260101-120000") > 1e9


@pytest.mark.filterwarnings("error")
def test_sums_of_numbers_near_the_largest_are_infinite_without_a_word():
    stored = {"h": {"counts": [1] * 32, "range": [1e308, 1.7e308]}}
    ((name, found),) = tensorboard.histograms({"histograms": stored})
    assert (name, found.sum, found.sum_squares) == ("h", np.inf, np.inf)
