"""Logs: valid lines of JSON that are wrong as rows, among right ones."""

import json
import random
from pathlib import Path
from typing import Any

from reported import check_row, eval_row, gradient_row, step_row

import trainer
from hostile import odd
from trainer.core.numerical import ORDER
from trainer.tools import tensorboard
from trainer.tools.report import shown, strip, verdict
from trainer.tools.report.run import open_run

NUMBERS = {"value": 1e-7, "expected": 3.1, "atol": 1e-5, "max_abs_error": 1e-9, "by_hand": 1.0, "numerical": 1.0}
KINDS = ["initial_loss", "sum_to_zero", "batch", "direction", "descent", "update", "unheard-of"]
END = {
    "event": "end", "time": 9.0, "step": 9, "train_loss": 2.0, "val_loss": 2.1, "test_loss": 2.2, "best_step": 8,
    "seconds": 9.0, "checks": {"gradient": {"run": 90, "failed": 0, "worst": 0.1}},
}  # fmt: skip
LINES = [b"", b"{}", b"[]", b"1", b"null", b"{", b"\xff\xfe", b"\0", b"[" * 5000, b'{"a":' * 5000,
    b'{"event": "x"}', b"NaN",
         b'{"event": "step", "step": ' + b"9" * 5000 + b"}", b'{"event": "step", "step": 1e999}', b"\xef\xbb\xbf{}",
         b'{"event": "x", "event": "step"}', b'{"event": "eval", "histograms": {}}', b"'event'", b"\r",
         b" "]  # fmt: skip
DEPTHS = (50, 900, 950, 980, 990, 1500, 5000)  # about where Python gives up; its versions differ in that
LINES += [b'{"event": "x", "a": ' + b'{"a": ' * depth + b"1" + b"}" * (depth + 1) for depth in DEPTHS]


def rows() -> list[dict[str, Any]]:
    """The rows of a right log, some of each event and of each kind of check."""
    found = [
        {"event": "start", "seed": 1, "examples": {"train": 3}},
        *map(step_row, range(4)),
        eval_row(2),
        eval_row(4),
    ]
    found += [gradient_row(name, k) for k in range(2) for name in ORDER]
    found += [check_row(kind, 1, **NUMBERS) for kind in KINDS]
    found += [
        check_row("forward", 1, tensor="h", **NUMBERS),
        check_row("evaluation", 2, split="val", shown=1.0, **NUMBERS),
    ]
    return [*found, check_row("dropout", 1, place="h", kept=0.5, bound=0.1, **NUMBERS), END]


def make(rng: random.Random) -> bytes:
    """The bytes of a log."""
    lines = []
    for row in rng.sample(rows(), rng.choice([0, 1, 5, 20])):
        wrong = odd.changed(row, rng) if rng.random() < 0.4 else row
        lines.append(json.dumps(wrong, ensure_ascii=rng.random() < 0.9).encode(errors="surrogatepass"))
        if rng.random() < 0.1:
            lines.append(rng.choice(LINES))
        if rng.random() < 0.05:
            lines[-1] = lines[-1][: rng.randrange(len(lines[-1]) + 1)]
    end = rng.choice([b"\n", b"\n", b"\n", b"\r\n", b"\r", b"\n\n"])
    return end.join([*lines, b""] if rng.random() < 0.9 else lines)


def read(path: Path, rng: random.Random) -> str:
    folder = path.parent / "run"
    folder.mkdir(exist_ok=True)
    (folder / "checkpoint.npz").touch()
    path.replace(folder / "metrics.jsonl")
    run = open_run(folder)
    assert all(word.isprintable() for word in shown([run]).split("\n"))
    assert verdict.sentence(run)[0] in ("good", "bad", "unknown")
    assert verdict.training(run) + verdict.links(run)
    strip.errors(run.rows("check"))
    for event in tensorboard.events(run):
        event.SerializeToString()
    columns = trainer.metrics(folder)
    assert all(len({len(column) for column in event.values()}) <= 1 for event in columns.values())
    return "accepted in part" if run.log.left_out else "accepted"
