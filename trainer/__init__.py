"""A tiny character-level language model, embedding -> tanh MLP -> softmax, with every derivative by hand.

    config = trainer.read_config("configs/names.yaml", ["train.steps=5000"])
    run = trainer.train(config)                        # a folder under runs/
    checkpoint = trainer.load_checkpoint(run / "best.npz")
    names = trainer.sample(checkpoint, 10)

Read the core in this order: core/ ops, model, numerical, checks, optim, loop.

Letters and names, the same in every file:

    B  examples in a batch          C   embeddings, (V, D)
    K  characters of context        W1, b1  hidden layer, (K*D, H) and (H,)
    D  numbers in an embedding      W2, b2  output layer, (H, V) and (V,)
    H  hidden units                 emb, z, h, logits  what a pass computes, (B, K*D), (B, H), (B, H), (B, V)
    V  characters in the vocabulary
    p  parameters                   y   1 at the target, 0 elsewhere
    g  gradients of the parameters  dx  the derivative of the loss by x
    u  from 1 to the next float     at  where a step stands, in float64

`h` is meant after dropout, where there is any; in 1 - h², the slope of tanh, before it. In `p - y`, as everyone writes
the gradient of the loss by the logits, and in the table of mistakes p is the softmax; elsewhere it is called probs.
"""

from importlib import import_module
from typing import Any

__version__ = "3.0.0"

_EXPORTS = {
    "read_config": "trainer.config.read",
    "load_corpus": "trainer.text.corpus.load",
    "initial_parameters": "trainer.core.model.initial",
    "Sizes": "trainer.core.model.Sizes",
    "train": "trainer.runs.session.train",
    "resume": "trainer.runs.session.resume",
    "check": "trainer.runs.session.check",
    "load_checkpoint": "trainer.runs.checkpoint.load",
    "sample": "trainer.runs.sampling.sample",
    "score": "trainer.tools.score.score",
    "practice": "trainer.tools.practice.notebook.Practice",
    "metrics": "trainer.runs.metrics.metrics",
    "report": "trainer.tools.report.report",
    "Interrupted": "trainer.errors.Interrupted",
}
__all__ = list(_EXPORTS)


def __getattr__(name: str) -> Any:
    """Import a name when it is asked for, so that `--help` need not wait for NumPy."""
    if name not in _EXPORTS:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    module, _, attribute = _EXPORTS[name].rpartition(".")
    return getattr(import_module(module), attribute)


def __dir__() -> list[str]:
    return [*globals(), *_EXPORTS]
