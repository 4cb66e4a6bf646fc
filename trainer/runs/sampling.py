"""Text out of the model: samples advance together, group by group, and those that ended drop out."""

import math
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import numpy as np

from trainer.core import model, ops
from trainer.core.model import Batch
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.folder import open_run
from trainer.runs.threads import workers
from trainer.text.batches import SAMPLES
from trainer.text.corpus import to_ids

LENGTHS = {"lines": 100, "stream": 500}  # characters of a sample at most, unless told otherwise
TOGETHER = 256  # samples that advance together: their activations stay in the cache


def sample(
    checkpoint: Checkpoint | str | Path, n: int = 20, prompt: str = "", temperature: float = 1.0, top_k: int = 0,
    length: int | None = None, seed: int = 0,
) -> list[str]:  # fmt: skip
    """n texts that a trained model makes up, each with its prompt: lines, or pieces of running text.

    checkpoint: what `load_checkpoint` gives, or a run. A temperature below 1 is safer, above 1 wilder, 0 the likeliest
    character only; `top_k` draws from so many of the likeliest, 0 from all. length: characters at most, without the
    prompt; by default 100 a line, 500 of running text. The same seed gives the same texts. Raises UserError for an
    impossible setting, or a character in the prompt that the model does not know.

    >>> checkpoint = trainer.load_checkpoint(run / "best.npz")
    >>> len(trainer.sample(checkpoint, 3, prompt="an"))
    3
    """
    with workers():
        return list(samples(open_run(checkpoint), n, prompt, temperature, top_k, length, seed))


def samples(
    checkpoint: Checkpoint, n: int, prompt: str, temperature: float, top_k: int, length: int | None, seed: int
) -> Iterator[str]:
    """The same, group by group as they are asked for. What is impossible is refused at once."""
    mode, K = checkpoint.config.data.mode, checkpoint.sizes.K
    most = LENGTHS[mode] if length is None else length
    for name, value in {"n": n, "temperature": temperature, "top-k": top_k, "length": most, "seed": seed}.items():
        if not 0 <= value < math.inf:
            raise UserError(f"{name} is {value}, for a sample; it must be a finite number, 0 or more")
    if mode == "lines" and "\n" in prompt:
        raise UserError("the prompt has a line break, and the model learned lines; give the beginning of one line")
    before = checkpoint.opening or "\n" * K  # fills up what the prompt leaves of the context
    context = to_ids(before + prompt, checkpoint.vocabulary, "prompt")[-K:]  # (K,)
    characters = np.array([*checkpoint.vocabulary])  # (V,)

    @np.errstate(all="ignore")
    def group(first: int) -> list[str]:
        """The samples from one on that advance together: lines to their boundary, or so many characters."""
        rng = np.random.default_rng([seed, SAMPLES, first])
        alive = np.arange(min(TOGETHER, n - first))  # (n',) those that have not ended
        contexts = np.tile(context, (len(alive), 1))  # (n', K)
        written = np.full((len(alive), most), "")  # "" where a text has ended
        for k in range(most):
            logits = model.forward(checkpoint.parameters, Batch(contexts, alive)).logits  # (n', V); no target is read
            ids = choose(logits, rng, temperature, top_k)  # (n',)
            if mode == "lines":
                going = ids != 0
                alive, contexts, ids = alive[going], contexts[going], ids[going]
            if not len(alive):
                break
            written[alive, k] = characters[ids]
            contexts = np.hstack([contexts[:, 1:], ids[:, None]])
        return [prompt + "".join(row) for row in written]

    return chain.from_iterable(map(group, range(0, n, TOGETHER)))


def choose(logits: Array, rng: np.random.Generator, temperature: float, top_k: int) -> Array:
    """An id for each row, drawn from softmax(logits / temperature): (n, V) -> (n,).

    A race: of independent exponential times with rates w, the i-th is the first with probability w_i / sum(w).
    """
    if temperature < 1e-30:  # 0, or what float32 takes for it: the likeliest
        return np.asarray(logits.argmax(axis=1))
    largest = logits.max(axis=1, keepdims=True)  # (n, 1): taken off first, so that no quotient overflows
    weights = ops.softmax((logits - largest) / temperature)  # (n, V)
    speeds = weights / rng.standard_exponential(weights.shape)  # (n, V), one over the times
    if 0 < top_k < weights.shape[1]:
        weakest = np.partition(weights, -top_k)[:, -top_k, None]  # (n, 1)
        speeds[weights < weakest] = 0
    return np.asarray(speeds.argmax(axis=1))
