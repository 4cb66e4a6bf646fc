"""A learner's file: what can be seen in it, and the one place where the program runs Python that it reads.

It is the user's own code, named on the command line, and runs with the user's own rights. Nothing in a configuration, a
checkpoint or a run leads here.
"""

import ast
import difflib
import re
import sys
import traceback
from collections.abc import Callable, Iterable
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from trainer import files
from trainer.errors import UserError, printable
from trainer.mistakes.table import Names
from trainer.tools.practice.point import ALIASES, LINK_OF

TORCH = {"torch", "F", ".view", ".clone"}  # what is read by a file for PyTorch
NUMPY = {"np", "numpy", ".tensor", ".from_numpy", ".as_tensor", ".Tensor"}  # and by one that makes its own tensors

Line = tuple[int, str]  # its number in the file, and what is shown of it


class Program(NamedTuple):
    """A learner's file, ready to run."""

    path: str
    text: str
    tree: ast.Module
    reads: set[str]  # the names that it uses, those after a dot with their dot

    def line(self, node: ast.stmt) -> Line:
        """The statement on one line; of a loop its first line."""
        text = ast.get_source_segment(self.text, node) or ""
        return node.lineno, " ".join((text.partition("\n")[0] if hasattr(node, "body") else text).split())

    def lines(self, node: ast.AST) -> dict[str, Line]:
        """The names that are seen to be written in a part of it, each with the line that writes it last."""
        inside = sorted((each for each in ast.walk(node) if isinstance(each, ast.stmt)), key=lambda each: each.lineno)
        return {name: self.line(each) for each in inside for name in written(each)}

    def gradients(self, node: ast.AST) -> dict[str, Line]:
        """The same of gradients, under their first names."""
        return {f"d{LINK_OF[name]}": line for name, line in self.lines(node).items() if name in LINK_OF}


def read(path: str) -> Program:
    """The file in its statements. Raises UserError where it cannot be read or is no Python, with the line."""
    if path.endswith(".ipynb"):
        raise UserError(printable(f"this is a notebook, {path}; paste its cells into a file or use trainer.practice()"))
    return parse(files.read(path, "the backward pass", "give a file of Python"), path)


def parse(source: bytes, path: str) -> Program:
    """The same of a file that has been read."""
    try:
        tree = ast.parse(source, path)
        compile(tree, path, "exec")  # finds also a return outside a function
        used = re.sub(r"(?m)^ *(import|from) .*|def \w+", "", ast.unparse(tree))
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        what = str(getattr(error, "msg", error)) or type(error).__name__
        number = getattr(error, "lineno", None)  # none where the bytes are no text
        where = f"line {number} of {path}" if number else path
        raise UserError(printable(f"{what}, {where}; correct it")) from None
    return Program(path, source.decode("utf-8-sig", "replace"), tree, set(re.findall(r"\.?\b[^\W\d]\w*", used)))


def beside(path: str) -> None:
    """Let the file import what lies beside it."""
    sys.path.insert(0, str(Path(path).resolve().parent))


def written(node: ast.stmt) -> set[str]:
    """The names that this one statement, not those inside it, is seen to write: by =, an index, out=, a function."""
    parts = [*getattr(node, "targets", [getattr(node, "target", None)])]
    if isinstance(node, ast.Expr) and isinstance(call := node.value, ast.Call) and ast.unparse(call.func) != "print":
        out = [word.value for word in call.keywords if word.arg == "out"]
        parts += [call.func, *call.args[:1], *out]  # dC.index_add_(...), fill(dz, ...), np.add.at(dC, ...)
    return {each.id for part in filter(None, parts) for each in ast.walk(part) if isinstance(each, ast.Name)}


def namespace(given: Names, program: Program) -> dict[str, Any]:
    """The names that a file begins with, each array its own; tensors if it is for PyTorch and makes none."""
    names: dict[str, Any] = {"np": np, "cmp": lambda *_: None, "__name__": "__main__", "__file__": program.path}
    own: Callable[[Any], Any] = np.copy
    if program.reads & TORCH and find_spec("torch"):
        import torch

        names |= {"torch": torch, "F": torch.nn.functional}
        own = own if program.reads & NUMPY else torch.tensor
    names |= {name: own(value) if isinstance(value, np.ndarray) else value for name, value in given.items()}
    names |= {alias: names[name] for alias, name in ALIASES.items()}
    if "embcat" in program.reads:
        names["emb"] = names["emb"].reshape(*given["X"].shape, -1)
    return names


def run(code: Any, program: Program, names: dict[str, Any]) -> tuple[Line, str] | None:
    """Run statements in these names; of what they raise the line, and what it says with the shapes of its arrays."""
    try:
        exec(code, names)
        return None
    except (Exception, SystemExit) as raised:
        error = raised
    number, known = 0, dict(names)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == program.path:
            number, known = line, known | frame.f_locals
    text = program.text.splitlines()[number - 1].strip()
    said = f"{type(error).__name__}: {error}".rstrip(": ")
    said = re.sub(r"Input operand \d has a mismatch .*->\S+ ", "... ", said)  # what NumPy says of a product
    meant = meant_by(str(error.name), program, number, known) if isinstance(error, NameError) else ""
    shaped = {name: value.shape for name, value in known.items() if isinstance(getattr(value, "shape", None), tuple)}
    arrays = [f"{name} {tuple(shaped[name])}" for name in sorted(shaped.keys() & re.findall(r"\w+", text))]
    return (number, text), "\n".join(filter(None, [said, meant, ", ".join(arrays)]))


def meant_by(name: str, program: Program, number: int, known: Iterable[str]) -> str:
    """What was perhaps meant by a name that is not there in this line; "" where nothing is known."""
    if re.match(r"d?bn[a-z]", name):
        return "this model has no batch norm: dhpreact goes straight to dembcat, dW1 and db1"
    below, _ = program.lines(program.tree).get(name, (0, ""))
    return f"{name} is made further down, in line {below}" if below > number else near_name(name, known)


def near_name(name: str, names: Iterable[str]) -> str:
    """A name that may be meant by another, as dlogit, d_logits, dLogits or grad_logits by dlogits, in words; or ""."""
    known = {each.lower().replace("_", "").replace("grad", "d"): each for each in names}
    close = difflib.get_close_matches(name.lower(), known, 1, 0.8)
    return f"there is a `{known[close[0]]}`" if close else ""
