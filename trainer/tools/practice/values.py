"""What a learner's values are: whether they changed, which are one and the same memory, what was raised."""

import ast
import difflib
import re
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from trainer.core.ops import Array
from trainer.errors import printable
from trainer.tools.practice import torch_words
from trainer.tools.practice.source import names_at

CLOSE = 1e-5  # a given name may be bound to the same numbers, rounded to float32
LONGEST = 300  # characters of a message
LARGEST = 1 << 24  # bytes of an array that is looked into: a gradient has some thousands


@dataclass(frozen=True)
class Failure:
    """An exception: the line of the file, what it says, the arrays of that line, and a name that was perhaps meant."""

    line: int
    what: str
    arrays: str
    hint: str


def as_array(value: Any) -> Array:
    """What NumPy makes of a value; of a PyTorch tensor its numbers. Raises whatever they raise."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def trace(value: Any) -> Any:
    """Something that differs when the value has changed."""
    try:
        array = as_array(value)
    except Exception:
        return id(value)
    if array.dtype == object or array.nbytes > LARGEST:
        return id(value)
    return array.shape, array.dtype, array.tobytes()


def same_numbers(value: Any, given: Any) -> bool:
    """Whether a given name still has its numbers, in whatever shape."""
    if not isinstance(given, np.ndarray):
        return bool(value is given or (np.isscalar(value) and value == given))
    try:
        array = as_array(value)
        if array.shape == given.shape and (array == given).all():
            return True
        return array.size == given.size and bool(np.allclose(array.reshape(-1), given.reshape(-1), CLOSE, CLOSE))
    except Exception:
        return False


def shared(x: Any, y: Any) -> bool:
    """Whether two names may have one memory: by where it begins and ends."""
    if isinstance(x, np.ndarray) and isinstance(y, np.ndarray):
        return x is y or np.may_share_memory(x, y)
    return x is y


def snapshot(value: Any) -> Any:
    """The value as it is, whatever is written into it later."""
    return value.copy() if isinstance(value, np.ndarray) and value.nbytes <= LARGEST else value


def seen_through(view: Any, old: Any, new: Array) -> Any:
    """What a view of `old` shows when `old` has become `new`; the view itself where that cannot be told."""
    if view is old:
        return new
    if not (isinstance(view, np.ndarray) and isinstance(old, np.ndarray) and view.dtype == old.dtype):
        return view
    if not (old.flags.c_contiguous and old.shape == new.shape and shared(view, old)):
        return view
    first = (view.__array_interface__["data"][0] - old.__array_interface__["data"][0]) // old.itemsize
    steps = [stride // old.itemsize for stride in view.strides]
    places = np.full(view.shape, first)  # in `old` as it lies in memory
    for axis, step in enumerate(steps):
        places += step * np.indices(view.shape)[axis]
    if places.min() < 0 or places.max() >= old.size:
        return view
    return np.asarray(new.reshape(-1)[places])


def failure(error: BaseException, path: str, tree: ast.Module, first: int, names: Mapping[str, Any]) -> Failure:
    """An exception in words, with the shapes of the arrays in the line that raised it; `first` if no line is known."""
    line, local = first, dict(names)
    for frame, number in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == path:
            line = number
            local |= frame.f_locals
    try:
        text = printable(str(error))[:LONGEST]
    except Exception:
        text = ""
    text = re.sub(r"Input operand \d has a mismatch .*->\S+ ", "... ", text)  # what NumPy says of a product
    missing, hint = getattr(error, "name", None), torch_words.hint(error, tree, line)
    if isinstance(error, NameError) and isinstance(missing, str) and not hint:
        close = difflib.get_close_matches(missing, [name for name in local if not name.startswith("_")], 1)
        hint = f"there is a `{close[0]}`" if close else ""
    arrays = [name for name in sorted(names_at(tree, line)) if isinstance(local.get(name), np.ndarray)]
    shapes = ", ".join(f"{name} {local[name].shape}" for name in arrays)
    return Failure(line, f"{type(error).__name__}: {text}".rstrip(": "), shapes, hint)
