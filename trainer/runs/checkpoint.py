"""Checkpoints: all that resuming and sampling need, in one .npz file that nothing but NumPy is needed to read."""

import io
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from trainer import config as configuration
from trainer import files
from trainer.config import Config
from trainer.core import optim
from trainer.core.model import NAMES, Parameters, Sizes, zeros
from trainer.core.ops import Array
from trainer.core.optim import State
from trainer.errors import UserError

FORMAT = 3  # of the files that are written; earlier ones lack fields, have another fingerprint, are not resumed


@dataclass(repr=False)
class Checkpoint:
    """The state of a training. Seed and step are the state of its random streams."""

    config: Config
    vocabulary: str
    parameters: Parameters
    state: State = field(default_factory=dict)
    step: int = 0  # updates done
    best_loss: float | None = None  # validation, nats
    best_step: int = 0
    losses: dict[str, float] = field(default_factory=dict)  # by split, of the newest evaluation
    seconds: float = 0.0
    threads: int = 1
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)  # tallies by name
    metrics_length: int = 0  # bytes of metrics.jsonl
    fingerprint: str = ""  # of the text
    opening: str = ""  # the characters of the text after which sampling a stream starts
    places: list[str] = field(default_factory=list)  # the absolute paths of the text's files
    source: str = ""  # the checkpoint whose parameters it began with, and its step
    backward: str | None = None  # the file of the learner's own backward pass
    blas: str = ""  # what computes the matrix products: the last bits depend on it
    format: int = FORMAT  # of the file that this was read from
    path: Path = Path()  # that file

    @property
    def sizes(self) -> Sizes:
        """The model's sizes."""
        return self.parameters.sizes


def sizes_of(config: Config, vocabulary: str) -> Sizes:
    """Vocabulary, context, embedding, hidden units."""
    return Sizes(len(vocabulary), config.model.context, config.model.embedding, config.model.hidden)


def arrays_of(p: Parameters, state: State) -> dict[str, Array]:
    """The arrays of a file, by name: C, W1, b1, W2, b2, and what the optimiser remembers."""
    return {name: getattr(p, name) for name in NAMES} | {f"optimizer_{name}": state[name] for name in state}


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as .npz: its arrays, and the rest as JSON. Raises UserError."""
    arrays, room = arrays_of(checkpoint.parameters, checkpoint.state), io.BytesIO()
    meta = vars(checkpoint) | {"config": asdict(checkpoint.config), "format": FORMAT}
    del meta["parameters"], meta["state"], meta["path"]
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    np.savez(room, **arrays)  # type: ignore[arg-type]  # no array is called allow_pickle
    files.write_whole(path, room.getvalue())


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint file, `best.npz` or `checkpoint.npz` of a run; nothing in it is executed.

    It has `parameters` with C, W1, b1, W2, b2 (`help(trainer)` has their shapes), `vocabulary`, `config`, `step`, and
    `best_loss` in nats per character. Raises UserError if the file is damaged, foreign or from the future.

    >>> checkpoint = trainer.load_checkpoint(run / "best.npz")
    >>> checkpoint.parameters.W1.shape
    (30, 200)
    """
    data = files.read(path, "the checkpoint", "give the path of a run")
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = dict(archive)
        return unpack(arrays, json.loads(arrays.pop("meta").tobytes()) | {"path": Path(path)})
    except Exception:  # whatever damage makes zipfile, NumPy or json raise, and what does not fit together
        what = f"not a checkpoint of format 1 to {FORMAT}, or a damaged one, {files.absolute(path)}"
        raise UserError(f"{what}; give another file of the run, best.npz or checkpoint.npz") from None


def unpack(arrays: dict[str, Array], meta: dict[str, Any]) -> Checkpoint:
    """A Checkpoint from the parts of its file. Raises ValueError and the like if they do not fit each other."""
    tree = meta.pop("config")
    if meta["format"] < FORMAT:
        del tree["check"]  # it knew other values, and these runs are not resumed
        del arrays["checksum"]
    config = configuration.read(tree)
    p = zeros(sizes_of(config, meta["vocabulary"]), config.model.dtype)
    state = optim.initial_state(config.train, p)
    for name, place in arrays_of(p, state).items():
        array = arrays.pop(name)
        if (array.shape, array.dtype) != (place.shape, place.dtype) or not np.isfinite(array).all():
            raise ValueError
        place[...] = array
    if arrays or meta["format"] not in range(1, FORMAT + 1):
        raise ValueError
    return Checkpoint(config, parameters=p, state=state, **meta)
