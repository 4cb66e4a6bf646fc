"""What the report says of a run: the sentence, the nine links, each error over its tolerance, the table."""

import math
import re
from pathlib import Path

import numpy as np
import pytest
from reported import check_row, eval_row, gradient_row, rows_of, step_row, write

from trainer.core.numerical import ORDER
from trainer.runs.files import held
from trainer.runs.metrics import Log
from trainer.tools.report import advice, strip, table, verdict
from trainer.tools.report.run import Run, open_run


def run_of(*rows, story=(), running=False):
    return Run(Path("runs/a/b"), None, Log(list(rows), []), list(story), running)


def test_all_nine_right():
    rows = [gradient_row(name, step, error=1e-8 if name == "W1" else 1e-9) for step in (0, 7) for name in ORDER]
    kind, words = verdict.sentence(run_of(*rows))
    assert kind == "good"
    assert words == "All nine gradients agree with numerical ones, worst 1e-7, at 2 of 2 checked steps."


def test_the_end_row_counts_the_checks_that_are_not_written():
    tallies = {"gradient": {"run": 900, "failed": 0, "worst": 1e-7}}
    run = run_of(*[gradient_row(name) for name in ORDER], {"event": "end", "step": 200, "checks": tallies})
    assert "at 100 of 100 checked steps" in verdict.sentence(run)[1]
    assert table.tally(run) == (900, 0)
    assert table.tallies(run) == [("gradient", 900, 0)]
    written = run_of(gradient_row("C"), gradient_row("W1", passed=False), check_row("update"))
    assert table.tallies(written) == [("gradient", 2, 1), ("update", 1, 0)]


def test_what_was_not_checked_is_no_success():
    kind, words = verdict.sentence(run_of(check_row("sum_to_zero", value=0, atol=1)))
    assert kind == "unknown"
    assert "not checked" in words


def test_a_failed_check_is_said_in_the_words_it_had():
    rows = [gradient_row(name, passed=name not in ("z", "C")) for name in ORDER]
    story = ["run x", "a check failed at step 0: dh is right, dz is wrong: look at tanh_backward"]
    kind, words = verdict.sentence(run_of(*rows, story=story))
    assert kind == "bad"
    assert words == "A check failed at step 0: dh is right, dz is wrong: look at tanh_backward"
    assert "dz, dC out of tolerance" in verdict.sentence(run_of(*rows))[1]  # where train.log is gone
    warned = run_of(*rows, story=["warning: step 0: a check failed: dz is wrong: look"])
    assert verdict.sentence(warned)[1] == "A check failed at step 0: dz is wrong: look"


def test_a_first_loss_out_of_tolerance_is_no_failure():
    kind, _ = verdict.sentence(run_of(check_row("initial_loss", passed=False), gradient_row("C")))
    assert kind == "good"


def test_divergence():
    story = ["training diverged at step 9: the loss is nan"]
    assert verdict.sentence(run_of(story=story)) == ("bad", "Training diverged at step 9: the loss is nan")


def test_links_stand_in_the_order_of_the_backward_pass():
    rows = [gradient_row(name, 4, passed=name != "z") for name in ORDER if name != "b2"]
    html = verdict.links(run_of(*rows))
    found = re.findall(r'<li class="(\w+)"><b>d(\w+)</b> <span>(.*?)</span>', html)
    assert [name for _, name, _ in found] == list(ORDER)
    marks = {name: (kind, said) for kind, name, said in found}
    assert marks["z"] == ("bad", "✗ wrong at step 4")
    assert marks["b2"] == ("unknown", "not checked")
    assert marks["logits"] == ("good", "✓ right")


def test_how_far_the_run_is():
    evals = [eval_row(10, 3.0), eval_row(20, 2.0), eval_row(30, 2.5)]
    words = verdict.training(run_of(*evals, running=True))
    assert words.startswith("The run goes on, at step 30.")
    assert "lowest at step 20, 2.0000 nats, and has risen to 2.5000 since" in words
    assert "has no end" in verdict.training(run_of(step_row(3)))
    story = ["run x", "stopped by an error at step 4: KeyError: 'x', line 8 of own.py"]
    words = verdict.training(run_of(step_row(3), story=story))
    assert words == f"The run has no end: it stopped after 4 steps; its log ends with: {story[1]}."
    assert "its log" not in verdict.training(run_of(step_row(3), story=["step 2: train 2.5000 nats per character"]))
    ended = run_of(*evals[:2], {"event": "end", "step": 20})
    assert verdict.training(ended).startswith("The run made all its 20 steps.")
    assert "risen" not in verdict.training(ended)


@pytest.mark.parametrize(
    ("row", "ratio"),
    [
        (gradient_row("C", error=2e-8), 2e-8 / (1e-8 + 1e-6 * 0.1)),  # the largest numerical value is 0.1
        (check_row("forward", tensor="h", max_abs_error=1.0, atol=4.0), 0.25),
        (check_row("update", tensor="C", max_abs_error=1.0, atol=2.0), 0.5),
        (check_row("sum_to_zero", value=1.0, atol=8.0), 0.125),
        (check_row("initial_loss", value=3.2, expected=3.3, atol=0.5), 0.2),
        (check_row("evaluation", split="val", shown=2.0, expected=2.1, atol=0.4), 0.25),
        (check_row("dropout", place="h", kept=0.8, expected=0.9, bound=0.2), 0.5),
        (check_row("direction", by_hand=2.0, numerical=1.0, atol=1.0, rtol=0.5), 0.5),
        (check_row("descent", ratio=1.01), 0.2),
        (check_row("sum_to_zero", value=0.0, atol=0.0), 0.0),
        (check_row("sum_to_zero", passed=False, value=3.0, atol=1.0), 3.0),
        (check_row("gradient", passed=False, tensor="C"), math.inf),  # it failed and does not say how far
        (check_row("forward", passed=False, max_abs_error=None, atol=1.0), math.inf),
        (check_row("sum_to_zero", value=9.0, atol=1.0), 1.0),  # it passed, whatever the numbers say
        (check_row("batch", examples=4, wrong=0), 0.0),
        (check_row("batch", passed=False, examples=4, wrong=2), math.inf),
        (check_row("of another version"), math.nan),
    ],
)
def test_error_over_tolerance(row, ratio):
    assert strip.excess(row) == pytest.approx(ratio, nan_ok=True)


def rows_with(saturated=0.25, rate=lambda step: 0.1, **ratios):
    """Two hundred rows of a run with such levels; those of the reference, configs/names.yaml, where none are given."""
    usual = {"C": 2e-3, "W1": 3e-3, "b1": 7e-3, "W2": 1.5e-2, "b2": 5e-3} | ratios
    rows = []
    for step in range(0, 20_000, 100):
        moves = {name: ratio * rate(step) / 0.1 for name, ratio in usual.items()}
        if step < advice.SETTLED:  # the output weights begin small
            moves["W2"] = 0.4
        rows.append(step_row(step, saturated=saturated, learning_rate=rate(step), update_ratio=moves))
    return run_of(*rows)


@pytest.mark.parametrize("rate", [lambda step: 0.1, lambda step: 0.05 * (1 + math.cos(math.pi * step / 20_000))])
def test_a_sound_run_gets_no_advice(rate):
    sound = rows_with(rate=rate)
    assert (advice.on_updates(sound), advice.on_saturated(sound)) == ("", "")
    assert (advice.on_updates(run_of()), advice.on_saturated(run_of())) == ("", "")
    beginning = run_of(*sound.rows("step")[:5])
    assert advice.on_updates(beginning) == ""


@pytest.mark.parametrize(
    ("found", "words"),
    [
        ({"W2": 0.2}, "moves W2 by 2e-1, relative to its size; try a smaller train.learning_rate"),
        ({"C": 3e-6, "W1": 4e-6}, "moves C by 3e-6, W1 by 4e-6, relative to its size; try a larger"),
        ({"C": 0.0, "W2": 0.2}, "moves W2 by 2e-1"),
        ({"saturated": 0.9, "C": 0.0}, ""),  # it hardly moves for another reason
        ({"b1": 0.5, "b2": 1e-9}, ""),
    ],
)
def test_updates_that_are_too_long_or_too_short(found, words):
    said = advice.on_updates(rows_with(**found))
    assert words in said
    assert bool(words) == bool(said)


def test_most_units_saturated():
    assert advice.on_saturated(rows_with(0.9)).startswith(" Here it is 90%: most units hardly learn")
    assert advice.on_saturated(rows_with(math.nan)) == ""


def test_the_strip_has_a_row_for_each_check_and_shows_what_failed():
    rows = [gradient_row(name, step, passed=(name, step) != ("z", 5)) for step in (0, 5) for name in ORDER]
    rows += [check_row("forward", 0, tensor="h", max_abs_error=0.0, atol=1.0)]
    html = strip.errors(rows)
    tips = re.findall(r'class="(\w+)" fill-opacity="([\d.]+)"><title>(.*?)</title>', html)
    assert len(tips) == 10 * 2
    assert [tip for kind, _, tip in tips if kind == "bad"] == ["dz, step 5: WRONG, error / tolerance = inf"]
    assert ("good", "0.00".lstrip("0"), "forward h: not checked here") in tips
    names = re.findall(r"<text[^>]*>(.*?)</text>", html)
    assert names[:10] == [*(f"d{name}" for name in ORDER), "forward h"]
    assert names[10 + 2] == "✗ far"


def test_many_checked_steps_share_columns_and_the_worst_stays():
    rows = [check_row("sum_to_zero", step, passed=step != 777, value=1.0, atol=2.0) for step in range(1000)]
    html = strip.errors(rows)
    assert html.count("<title>") == strip.COLUMNS
    assert html.count("WRONG") == 1
    values = [0.5, *[0.01] * 999]
    rows = [check_row("sum_to_zero", step, value=value, atol=1.0) for step, value in enumerate(values)]
    tips = re.findall(r"tolerance = (\S+?)</title>", strip.errors(rows))
    assert tips == ["0.5", *["0.01"] * (strip.COLUMNS - 1)]


def test_no_checks_no_strip():
    assert strip.errors([]) == ""


def test_the_table_has_the_best_evaluation_of_a_run_without_an_end(tmp_path):
    rows = [step_row(k, steps_per_second=10.0 * k) for k in range(1, 4)]
    rows += [eval_row(2, 2.5), eval_row(3) | {"val_loss": None}, eval_row(4, 2.75)]
    row = dict(zip(table.HEADS, table.summary(run_of(*rows)), strict=True))
    assert row["validation"] == "2.5000"
    assert row["train"] == "2.4000"
    assert (row["test"], row["test, bits"]) == ("-", "-")
    assert (row["steps"], row["steps/s"]) == ("4", "20")


def test_bits_are_nats_over_log_2():
    end = {"event": "end", "step": 5, "train_loss": 2.0, "val_loss": 2.1, "test_loss": 2.2}
    row = dict(zip(table.HEADS, table.summary(run_of(end)), strict=True))
    assert row["test, bits"] == f"{2.2 / np.log(2):.4f}"


def test_an_error_that_is_no_number_shows():
    rows = [gradient_row("C"), gradient_row("W1", passed=False, error=0.0) | {"max_rel_error": None}]
    assert table.summary(run_of(*rows))[-3:] == ("2", "1", "nan")


def test_an_empty_run_is_a_row_of_dashes():
    assert table.summary(run_of())[1:] == ("-",) * 9


def test_columns_of_the_table_stand_under_each_other():
    lines = table.show([("run", "n"), ("runs/a", "10000"), ("b", "2")]).splitlines()
    assert lines == ["run         n", "runs/a  10000", "b           2"]


def test_a_run_that_is_held_goes_on(tmp_path):
    pytest.importorskip("fcntl")
    folder = write(tmp_path / "run", [step_row(0)])
    assert not open_run(folder).running
    with held(folder):
        assert open_run(folder).running
    assert not open_run(folder).running
    assert rows_of(folder) == [step_row(0)]
