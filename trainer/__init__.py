"""A tiny character-level language model, embedding -> tanh MLP -> softmax, with every derivative by hand.

config = trainer.read_config("configs/names.yaml", ["train.steps=5000"])
run = trainer.train(config)                        # a folder under runs/
checkpoint = trainer.load_checkpoint(run / "best.npz")
names = trainer.sample(checkpoint, 10)
"""

from importlib import import_module
from typing import Any

__version__ = "1.0.0"

_NAMES = {
    "read_config": ("trainer.config", "read"),
    "load_corpus": ("trainer.text", "load"),
    "initial_parameters": ("trainer.model", "initial"),
    "Sizes": ("trainer.model", "Sizes"),
    "train": ("trainer.train", "train"),
    "check": ("trainer.train", "check"),
    "load_checkpoint": ("trainer.runs", "load"),
    "sample": ("trainer.sample", "sample"),
}
__all__ = list(_NAMES)


def __getattr__(name: str) -> Any:
    """Import the names when the first is asked for, so that `--help` need not wait for NumPy.

    Ask for one before you import a submodule, whose name stands in its function's place until then.
    """
    if name not in _NAMES:
        raise AttributeError(f"module 'trainer' has no attribute {name!r}")
    found = {each: getattr(import_module(module), attribute) for each, (module, attribute) in _NAMES.items()}
    globals().update(found)  # where an import has put the modules trainer.train and trainer.sample
    return found[name]
