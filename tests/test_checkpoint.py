"""Checkpoints and logs come back as they were, or are refused; those of earlier versions are used and not resumed."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import Trainer, assert_one_line, values
from hypothesis import example, given, settings
from hypothesis import strategies as st

import trainer as package
from trainer.errors import UserError
from trainer.runs.checkpoint import FORMAT, load, save
from trainer.runs.metrics import read


def test_a_checkpoint_comes_back_as_it_was_and_is_plain_arrays(finished: Path, tmp_path: Path) -> None:
    save(tmp_path / "again.npz", load(finished / "checkpoint.npz"))
    assert values(tmp_path / "again.npz") == values(finished / "checkpoint.npz")
    with np.load(tmp_path / "again.npz", allow_pickle=False) as arrays:
        assert set(arrays) == {"C", "W1", "b1", "W2", "b2", "optimizer_m", "optimizer_v", "meta"}
        assert arrays["W1"].shape == (9, 8)
        assert json.loads(arrays["meta"].tobytes())["format"] == FORMAT


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 1, exclude_max=True), st.sampled_from(["cut", "flip", "zero"]), st.integers(1, 255))
def test_a_damaged_checkpoint_is_refused_or_right(finished: Path, place: float, kind: str, mask: int) -> None:
    data = (finished / "checkpoint.npz").read_bytes()
    at, victim = int(place * len(data)), finished.parent / "damaged.npz"
    bad = {"cut": b"", "flip": bytes([data[at] ^ mask]) + data[at + 1 :], "zero": bytes(512) + data[at + 512 :]}
    victim.write_bytes(data[:at] + bad[kind])
    try:
        right = values(victim) == values(finished / "checkpoint.npz")
    except UserError as error:
        right = str(victim) in str(error)
    assert right


def rewritten(source: Path, target: Path, meta: dict[str, Any], arrays: dict[str, Any]) -> Path:
    """A checkpoint with other fields or arrays; those that are None are left out."""
    with np.load(source) as archive:
        found = dict(archive) | arrays
    fields = json.loads(found["meta"].tobytes()) | meta
    told = json.dumps({key: value for key, value in fields.items() if value is not None}).encode()
    np.savez(target, **{k: v for k, v in (found | {"meta": np.frombuffer(told, np.uint8)}).items() if v is not None})
    return target


@pytest.mark.parametrize(
    ("meta", "arrays"),
    [
        ({"format": FORMAT + 1}, {}),
        ({"surprise": 1}, {}),
        ({"vocabulary": "abc"}, {}),
        ({"config": [1]}, {}),
        ({}, {"C": None}),
        ({}, {"b1": np.ones(8)}),
        ({}, {"b1": np.full(8, np.nan, np.float32)}),
        ({}, {"b1": np.array([{}])}),  # which would be executed
        ({}, {"optimizer_surprise": np.ones(3, np.float32)}),
    ],
    ids=str,
)
def test_what_does_not_fit_together_is_refused(meta: dict[str, Any], arrays: dict[str, Any], finished: Path) -> None:
    rewritten(finished / "checkpoint.npz", finished.parent / "odd.npz", meta, arrays)
    with pytest.raises(UserError, match="not a checkpoint of format 1 to 3, or a damaged one"):
        load(finished.parent / "odd.npz")


def test_a_checkpoint_of_an_earlier_version_samples_and_scores_and_is_not_resumed(
    finished: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(finished.parents[2])
    config = json.loads(np.load(finished / "best.npz")["meta"].tobytes())["config"]
    config["check"]["coordinates"] = 4  # a value of those days
    uses = [["sample", "-n", "5"], ["sample", "--new", "-n", "1"], ["score", "text.txt"]]
    expected = [trainer(use[0], str(finished), *use[1:]) for use in uses]
    for version, missing in ((2, ()), (1, ("places", "source", "backward", "blas"))):
        old = Path(f"old{version}")
        old.mkdir()
        meta = {"format": version, "config": config, "fingerprint": "of bytes"} | dict.fromkeys(missing)
        for file in ("best.npz", "checkpoint.npz"):
            rewritten(finished / file, old / file, meta, {"checksum": np.zeros(32, np.uint8)})
        assert [trainer(use[0], str(old), *use[1:]) for use in uses] == expected
        says = f"a run of an earlier version (format {version}) cannot go on"
        assert_one_line(trainer("--resume", str(old)), 2, says, "--from")


@settings(max_examples=60, deadline=None)
@given(st.lists(st.binary() | st.sampled_from(["[]", "3", "null", '{"event": 1}', '{"step": 1}']).map(str.encode)))
@example([b'{"event": "check"}', b'{"event": "step", "a": {"b": 1}}', b'{"event": "st'])
def test_of_a_log_whatever_is_no_row_is_left_out(finished: Path, lines: list[bytes]) -> None:
    other, right = finished.parent / "log", {"event": "step", "step": 3}
    other.mkdir(exist_ok=True)
    (other / "checkpoint.npz").touch()
    (other / "metrics.jsonl").write_bytes(b"\n".join([*lines, json.dumps(right).encode()]) + b'\n{"event": "end"')
    rows = read(other)
    assert all(isinstance(row["event"], str) for row in rows)
    assert rows[-1] == right
    assert package.metrics(other)["step"]["step"][-1] == 3
