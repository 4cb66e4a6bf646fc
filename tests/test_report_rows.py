"""Reading a log: what is a row, what is left out, and rows as columns."""

import json

import numpy as np
import pytest
from reported import eval_row, step_row, write

import trainer
from trainer.errors import UserError
from trainer.runs.metrics import read
from trainer.tools.report import rows

GOOD = json.dumps(step_row(3))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("1", "no object with an event"),
        ("[]", "no object with an event"),
        ("{}", "no object with an event"),
        ("{", "no object with an event"),
        ("", "no object with an event"),
        ("[" * 100_000, "no object with an event"),
        ('{"event": 3}', "no object with an event"),
        ('{"event": "x", "a": ' + '{"a": ' * 200 + "1" + "}" * 201, "values within values"),
        ('{"event": "x", "a": ' + "[" * 900 + "]" * 900 + "}", "values within values"),
        ('{"event": "step"}', "step without step"),
        ('{"event": "check", "step": 0, "name": "update"}', "check without passed"),
        ('{"event": "step", "step": -1}', "step is -1"),
        ('{"event": "step", "step": 1.5}', "step is 1.5"),
        ('{"event": "step", "step": true}', "step is true"),
        ('{"event": "step", "step": 1, "loss": true}', "loss is true"),
        ('{"event": "step", "step": 1, "loss": "low"}', 'loss is "low"'),
        ('{"event": "step", "step": 1, "loss": ' + "9" * 400 + "}", "loss is 999"),
        ('{"event": "step", "step": 1, "update_ratio": 3}', "update_ratio is 3"),
        ('{"event": "step", "step": 1, "update_ratio": {"<b>": 3}}', "update_ratio is"),
        ('{"event": "eval", "step": 1, "histograms": {"h": {"counts": [1], "range": [0, 1]}}}', "histograms is"),
        ('{"event": "eval", "step": 1, "histograms": {"h": {"counts": 1}}}', "histograms is"),
        ('{"event": "end", "step": 1, "checks": {"update": 3}}', "checks is"),
        ('{"event": "check", "step": 0, "name": "gradient", "passed": true}', "check without tensor"),
        ('{"event": "check", "step": 0, "name": "dropout", "passed": true, "place": 3}', "place is 3"),
        ('{"event": "check", "step": 1, "name": [], "passed": true}', "name is []"),
        ('{"event": "check", "step": 1, "name": "\\ud800", "passed": true}', "name is"),
        ('{"event": "eval", "step": 1, "histograms": {"\\ud800": null}}', "histograms is"),
        ('{"event": "check", "step": 1, "name": "update", "passed": "yes"}', 'passed is "yes"'),
    ],
)
def test_what_is_no_row_is_left_out_and_said(tmp_path, line, why):
    (tmp_path / "metrics.jsonl").write_text(f"{GOOD}\n{line}\n{GOOD}\n")
    log = read(tmp_path)
    assert log.rows == [json.loads(GOOD)] * 2
    (said,) = log.left_out
    assert said.startswith("line 2: ")
    assert why in said


def test_bytes_that_are_no_text_are_left_out(tmp_path):
    (tmp_path / "metrics.jsonl").write_bytes(b"\xff\xfe\n" + GOOD.encode() + b"\n")
    log = read(tmp_path)
    assert (len(log.rows), len(log.left_out)) == (1, 1)


def test_a_last_line_without_its_end_is_not_there_yet(tmp_path):
    (tmp_path / "metrics.jsonl").write_text(GOOD + "\n" + GOOD[:30])
    assert read(tmp_path) == ([json.loads(GOOD)], [])


def test_a_log_that_cannot_be_read_is_one_line(tmp_path):
    with pytest.raises(UserError, match="cannot read the metrics"):
        read(tmp_path)


def test_columns_are_of_one_length_and_have_a_hole_where_a_row_says_nothing(tmp_path):
    folder = write(tmp_path / "run", [{"event": "start", "seed": 1}, step_row(0, loss=None), step_row(1), eval_row(2)])
    (folder / "checkpoint.npz").touch()
    found = trainer.metrics(folder)
    assert list(found) == ["start", "step", "eval"]
    assert found["step"]["step"] == [0, 1]
    assert found["step"]["loss"] == [None, 2.99]
    assert found["step"]["update_ratio.b2"] == [0.5, 0.5]
    assert found["start"] == {"seed": [1]}
    assert len(found["eval"]["histograms.h.counts"][0]) == 32
    assert "event" not in found["step"]


def test_numbers_have_nan_for_what_is_missing():
    log = [{"a": 1}, {"a": None, "b": {"C": 2}}, {"b": None}]
    np.testing.assert_array_equal(rows.numbers(log, "a"), [1, np.nan, np.nan])
    np.testing.assert_array_equal(rows.numbers(log, "b.C"), [np.nan, 2, np.nan])


def test_pandas_reads_the_columns(tmp_path):
    pandas = pytest.importorskip("pandas")
    folder = write(tmp_path / "run", [step_row(0, loss=None), step_row(1)])
    (folder / "checkpoint.npz").touch()
    frame = pandas.DataFrame(trainer.metrics(folder)["step"])
    assert frame["loss"].isna().tolist() == [True, False]
    assert frame["update_ratio.C"].mean() == 1e-3
