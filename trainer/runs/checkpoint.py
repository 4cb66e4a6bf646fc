"""Checkpoints: all that resuming and sampling need, in one .npz file that nothing but NumPy is needed to read."""

import json
import math
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from trainer import config as configuration
from trainer import regular
from trainer.config import Config
from trainer.core import optim
from trainer.core.model import NAMES, Parameters, Sizes, zeros
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs import archive
from trainer.runs.files import write_whole

FORMAT = 2  # of the files that are written; those of format 1, which lack some fields, are read as well
READABLE = (1, 2)
MOST_THREADS = 1024  # more are no run's, and would not start


@dataclass(repr=False)
class Checkpoint:
    """The state of a training. Seed and step are the state of its random streams."""

    config: Config
    vocabulary: str
    parameters: Parameters
    state: dict[str, Array] = field(default_factory=dict)  # of the optimiser
    step: int = 0  # updates done
    best_loss: float | None = None  # validation, nats
    best_step: int = 0
    seconds: float = 0.0
    threads: int = 1
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)  # tallies by name
    metrics_length: int = 0  # bytes of metrics.jsonl
    fingerprint: str = ""  # of the text
    opening: str = ""  # the first characters of the text, where sampling a stream starts
    places: list[str] = field(default_factory=list)  # the absolute paths of the text's files
    source: str = ""  # the checkpoint whose parameters it began with, and its step
    backward: dict[str, str] | None = None  # path and SHA-256 of the learner's own backward pass
    blas: str = ""  # what computes the matrix products: the last bits depend on it
    format: int = FORMAT  # of the file that this was read from

    @property
    def sizes(self) -> Sizes:
        """The model's sizes, as configuration and vocabulary give them."""
        return sizes_of(self.config, self.vocabulary)

    def __repr__(self) -> str:
        V, K, D, H = self.sizes
        best = "" if self.best_loss is None else f", validation {self.best_loss:.4f} nats at step {self.best_step}"
        return f"Checkpoint: V {V}, K {K}, D {D}, H {H}; step {self.step}{best}"


# What a file holds besides the configuration and arrays, and of which type.
ARRAYS = ("config", "parameters", "state")
META: dict[str, Any] = {f.name: f.type for f in fields(Checkpoint) if f.name not in (*ARRAYS, "format")}
META |= {"checks": dict, "places": list, "backward": dict | None}
SINCE_2 = ("places", "source", "backward", "blas")


def sizes_of(config: Config, vocabulary: str) -> Sizes:
    """Vocabulary, context, embedding, hidden units."""
    return Sizes(len(vocabulary), config.model.context, config.model.embedding, config.model.hidden)


def save(path: Path, checkpoint: Checkpoint) -> None:
    """Write a checkpoint as .npz: C, W1, b1, W2, b2, the optimiser's vectors, the rest as JSON, a checksum."""
    meta = {"format": FORMAT, "config": configuration.to_dict(checkpoint.config)}
    meta |= {key: getattr(checkpoint, key) for key in META}
    arrays = {name: getattr(checkpoint.parameters, name) for name in NAMES}
    arrays |= {"optimizer_" + name: vector for name, vector in checkpoint.state.items()}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    write_whole(path, archive.pack(arrays))


def load(path: str | Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed.

    Parameters
    ----------
    path
        `best.npz` or `checkpoint.npz` of a run.

    Returns
    -------
    Checkpoint
        `parameters` with C, W1, b1, W2, b2 (`help(trainer)` has their shapes), `vocabulary`, `config`, `step`,
        `best_loss` in nats per character.

    Raises
    ------
    UserError
        If the file is damaged, foreign or from the future.

    Examples
    --------
    >>> checkpoint = trainer.load_checkpoint(run / "best.npz")
    >>> checkpoint.parameters.W1.shape
    (30, 200)
    """
    path = Path(path).absolute()
    data = read_bytes(path)
    try:
        arrays, right = archive.unpack(data)
        meta = json.loads(arrays.pop("meta").tobytes())
        version = meta.pop("format")
    except Exception:  # whatever a damaged archive makes zipfile, NumPy or json raise
        raise UserError(f"not a checkpoint, or a damaged one, {path}; use another file of the run") from None
    if version not in READABLE:
        reads = f"this program reads formats 1 to {FORMAT}"
        raise UserError(f"a checkpoint of format {version!a}, {reads}, {path}; use its own version")
    if not right:
        raise UserError(f"a damaged checkpoint (its checksum differs), {path}; use another file of the run")
    try:
        return unpack(arrays, meta, version, path)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError, UserError):
        raise UserError(f"not a checkpoint of this program, {path}; use another file of the run") from None


def read_bytes(path: Path) -> bytes:
    """The bytes of a regular file. Raises UserError."""
    try:
        return regular.read(path)
    except OSError as error:
        raise UserError(f"cannot read the checkpoint, {path}: {error.strerror}; give the path of a run") from None


def unpack(arrays: dict[str, Array], meta: dict[str, Any], version: int, path: Path) -> Checkpoint:
    """A Checkpoint from the parts of its file. Raises ValueError and the like if they do not fit each other."""
    known = [key for key in META if version >= 2 or key not in SINCE_2]
    if meta.keys() != {*known, "config"} or not all(isinstance(meta[key], META[key]) for key in known):
        raise TypeError
    config, vocabulary = configuration.build(meta.pop("config"), str(path)), meta["vocabulary"]
    sizes, dtype = sizes_of(config, vocabulary), np.dtype(config.model.dtype)
    if any(arrays[name].shape != sizes.shapes()[name] or arrays[name].dtype != dtype for name in NAMES):
        raise ValueError
    p = zeros(sizes, dtype)
    for name in NAMES:
        getattr(p, name)[...] = arrays.pop(name)
    state = {name.removeprefix("optimizer_"): vector.copy() for name, vector in arrays.items()}
    checkpoint = Checkpoint(config, parameters=p, state=state, format=version, **meta)
    check_sense(checkpoint)
    return checkpoint


def check_sense(checkpoint: Checkpoint) -> None:
    """Raise ValueError where the fields of a checkpoint do not fit each other."""
    config, sizes = checkpoint.config, checkpoint.sizes
    expected = optim.initial_state(config.train, checkpoint.parameters)
    opening = sizes.K if config.data.mode == "stream" else 0
    for text in (checkpoint.vocabulary, checkpoint.blas):
        text.encode()  # UnicodeEncodeError, which is a ValueError, for half of a surrogate pair
    for path in (*checkpoint.places, *(checkpoint.backward or {}).values()):
        path.encode("utf-8", "surrogateescape")  # it may hold bytes that this locale does not read as characters
    sensible = (
        forms(checkpoint.state) == forms(expected)
        and len(set(checkpoint.vocabulary)) == sizes.V >= 2
        and min(checkpoint.step, checkpoint.best_step, checkpoint.metrics_length) >= 0
        and math.isfinite(checkpoint.seconds)
        and 0 < checkpoint.threads <= max(1, min(MOST_THREADS, config.train.batch_size // 64))
        and len(checkpoint.opening) == opening
        and set(checkpoint.opening) <= set(checkpoint.vocabulary)
        and all(is_tally(name, tally) for name, tally in checkpoint.checks.items())
    )
    if not sensible:
        raise ValueError


def is_tally(name: str, tally: Any) -> bool:
    """Whether this is how often a kind of check was made and failed, and the worst of it."""
    kinds = {"run": int, "failed": int, "worst": float | int, "where": str}
    return (
        name.isidentifier()
        and isinstance(tally, dict)
        and tally.keys() == kinds.keys()
        and all(isinstance(tally[key], kind) for key, kind in kinds.items())
    )


def forms(arrays: dict[str, Array]) -> dict[str, tuple[Any, ...]]:
    """Shapes and types."""
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}
