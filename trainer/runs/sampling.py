"""Text out of the model: samples advance together, group by group, and those that ended drop out."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from trainer.core import model, ops
from trainer.core.model import Activations, Batch
from trainer.core.ops import Array
from trainer.errors import UserError
from trainer.runs import memory
from trainer.runs.blas import one_thread
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.threads import cores
from trainer.text.batches import SAMPLES
from trainer.text.corpus import LENGTHS, to_ids

TOGETHER = 256  # samples that advance together: their activations stay in the cache


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


def advance(
    checkpoint: Checkpoint, n: int, prompt: str, temperature: float, top_k: int, length: int, rng: np.random.Generator
) -> Iterator[tuple[Array, Array]]:
    """Step by step, which of n samples go on (n',) and their next ids (n',). Lines end at the boundary."""
    lines, K = checkpoint.config.data.mode == "lines", checkpoint.sizes.K
    before = "\n" * K if lines else checkpoint.opening  # fills up what the prompt leaves of the context
    first = to_ids(before + prompt, checkpoint.vocabulary, "prompt")[-K:]  # (K,)
    contexts, alive = np.tile(first, (n, 1)), np.arange(n)
    room = Activations(checkpoint.sizes, n, checkpoint.parameters.flat.dtype)
    for _ in range(length):
        logits = model.forward(checkpoint.parameters, Batch(contexts, alive), room)
        ids = choose(logits, rng, temperature, top_k)
        if lines and not ids.all():
            going = ids != 0
            alive, contexts, ids = alive[going], contexts[going], ids[going]
            if not len(alive):
                return
            room = Activations(checkpoint.sizes, len(alive), checkpoint.parameters.flat.dtype)
        yield alive, ids
        contexts[:, :-1] = contexts[:, 1:]
        contexts[:, -1] = ids


def sample(
    checkpoint: Checkpoint,
    n: int = 20,
    prompt: str = "",
    temperature: float = 1.0,
    top_k: int = 0,
    length: int | None = None,
    seed: int = 0,
) -> list[str]:
    """Text that a trained model makes up.

    Parameters
    ----------
    checkpoint
        What `trainer.load_checkpoint` gives.
    n
        How many texts: lines, or pieces of running text, as the model has learned.
    prompt
        How each begins.
    temperature
        Below 1 safer, above 1 wilder, 0 the likeliest character only.
    top_k
        Draw from so many of the likeliest characters; 0 from all.
    length
        Characters at most, without the prompt; by default 100 a line, 500 of running text.
    seed
        Another seed, other texts; the same seed, the same texts.

    Returns
    -------
    list of str
        The texts, each with its prompt.

    Raises
    ------
    UserError
        For an impossible setting, or a character in the prompt that the model does not know.

    Examples
    --------
    >>> checkpoint = trainer.load_checkpoint(run / "best.npz")
    >>> len(trainer.sample(checkpoint, 3, prompt="an"))
    3
    """
    with one_thread():
        return list(samples(checkpoint, n, prompt, temperature, top_k, length, seed))


def samples(
    checkpoint: Checkpoint, n: int, prompt: str, temperature: float, top_k: int, length: int | None, seed: int
) -> Iterator[str]:
    """The same, text by text as they are made."""
    length = check_settings(checkpoint, n, prompt, temperature, top_k, length, seed)
    code_points = np.array([ord(character) for character in checkpoint.vocabulary], np.uint32)  # (V,)

    def group(first: int) -> list[str]:
        size = min(TOGETHER, n - first)
        written = np.full((size, length), -1, np.int32)
        rng = np.random.default_rng([seed, SAMPLES, first])
        for k, (alive, ids) in enumerate(advance(checkpoint, size, prompt, temperature, top_k, length, rng)):
            written[alive, k] = ids
        ends = (written >= 0).sum(axis=1)
        coded = code_points[written]  # (size, length)
        return [prompt + coded[i, :end].tobytes().decode("utf-32-le") for i, end in enumerate(ends)]

    def texts() -> Iterator[str]:
        with ThreadPoolExecutor(cores(), initializer=np.seterr, initargs=("ignore",)) as pool:
            for start in range(0, n, 64 * TOGETHER):  # a few groups ahead of the reader, not all
                for part in pool.map(group, range(start, min(n, start + 64 * TOGETHER), TOGETHER)):
                    yield from part

    return texts()


def stream(
    checkpoint: Checkpoint,
    prompt: str = "",
    temperature: float = 1.0,
    top_k: int = 0,
    length: int | None = None,
    seed: int = 0,
) -> Iterator[str]:
    """The prompt, then one text character by character as it is sampled; the same as `sample` with n = 1."""
    length = check_settings(checkpoint, 1, prompt, temperature, top_k, length, seed)
    yield prompt
    rng = np.random.default_rng([seed, SAMPLES, 0])
    for _, ids in advance(checkpoint, 1, prompt, temperature, top_k, length, rng):
        yield checkpoint.vocabulary[ids[0]]


def check_settings(
    checkpoint: Checkpoint, n: int, prompt: str, temperature: float, top_k: int, length: int | None, seed: int
) -> int:
    """The length in force, if every setting is possible."""
    length = LENGTHS[checkpoint.config.data.mode] if length is None else length
    given = {"-n": n, "--temperature": temperature, "--top-k": top_k, "--length": length, "--seed": seed}
    for name, value in given.items():
        if not 0 <= value < 2**53:
            raise UserError(f"{name} is {value}, on the command line; it must be a finite number, 0 or more")
    to_ids(prompt, checkpoint.vocabulary, "prompt")
    if checkpoint.config.data.mode == "lines" and "\n" in prompt:
        raise UserError("the prompt has a line break, on the command line; give the beginning of one line")
    check_memory(checkpoint, n, length)
    return length


def check_memory(checkpoint: Checkpoint, n: int, length: int) -> None:
    """Raise UserError if so many samples of such a model, as many as advance together, do not fit into the memory."""
    (V, K, D, H), size = checkpoint.sizes, checkpoint.parameters.flat.itemsize
    a_sample = size * (K * D + 2 * H + 6 * V) + 8 * (V + 4 * K + length)  # bytes; a race is run in float64
    together = min(n, TOGETHER * cores())
    memory.require(together * a_sample, "sampling", f"-n {n} --length {length}", "give a smaller number of one of them")
