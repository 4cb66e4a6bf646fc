"""A learner's file: what can be seen in it, and the one place where the program runs Python that it reads.

It is the user's own code, named on the command line, and runs with the user's own rights. Nothing in a configuration, a
checkpoint or a run leads here.
"""

import ast
import re
import warnings
from collections.abc import Mapping
from importlib.util import find_spec
from typing import Any, NamedTuple

import numpy as np

from trainer import files
from trainer.errors import UserError, printable
from trainer.tools.practice.point import ALIASES

TORCH = {"torch", "F", ".view", ".clone"}  # what is read by a file for PyTorch
NUMPY = {"np", "numpy", "tensor", "from_numpy", "as_tensor", "Tensor"}  # and by one that makes its own tensors
FILLS = ("at", "copyto", "put", "place", "putmask")  # functions of NumPy that write into their first argument

Line = tuple[int, str]  # its number in the file, and what is shown of it


class Program(NamedTuple):
    """A learner's file, ready to run."""

    path: str
    text: str
    tree: ast.Module
    reads: set[str]  # its names, those after a dot with their dot

    def line(self, node: ast.stmt) -> Line:
        """The statement on one line; of a loop its first line."""
        text = ast.get_source_segment(self.text, node) or ""
        return node.lineno, " ".join((text.partition("\n")[0] if hasattr(node, "body") else text).split())

    def lines(self, node: ast.stmt) -> dict[str, Line]:
        """The names that a statement is seen to write, each with the line inside it that writes it last."""
        inside = sorted((each for each in ast.walk(node) if isinstance(each, ast.stmt)), key=lambda each: each.lineno)
        return {name: self.line(each) for each in inside for name in written(each)}


def read(path: str) -> Program:
    """The file in its statements. Raises UserError where it cannot be read or is no Python, with the line."""
    if path.endswith(".ipynb"):
        advice = "paste its cells into a file of Python, or use trainer.practice() there"
        raise UserError(f"this is a notebook, {printable(path)}; {advice}")
    return parse(files.read(path, "the backward pass", "give a file of Python"), path)


def parse(source: bytes, path: str) -> Program:
    """The same of a file that has been read."""
    try:
        tree = compiled(source, path, ast.PyCF_ONLY_AST)
        compiled(tree, path)  # finds also a return outside a function
    except SyntaxError as error:
        raise UserError(f"{printable(error.msg)}, line {error.lineno} of {printable(path)}; correct the line") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"no Python ({printable(str(error))}), {printable(path)}; give a file of Python") from None
    reads = set(re.findall(r"(?<!def )\.?\b[^\W\d]\w*", ast.unparse(tree)))
    return Program(path, source.decode("utf-8-sig", "replace"), tree, reads)


def compiled(part: Any, path: str, flags: int = 0) -> Any:
    """Statements, ready to run."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(part, path, "exec", flags, dont_inherit=True)


def run(code: Any, names: dict[str, Any]) -> None:
    """Run statements in these names. Raises whatever they raise."""
    exec(code, names)


def namespace(given: Mapping[str, Any], program: Program) -> dict[str, Any]:
    """The names that a file begins with, each array its own; tensors if it is for PyTorch and makes none."""
    names = {name: value.copy() if isinstance(value, np.ndarray) else value for name, value in given.items()}
    more = {"np": np, "cmp": lambda *_: None, "__name__": "__main__", "__file__": program.path}
    makes_its_own = {name.lstrip(".") for name in program.reads} & NUMPY
    if program.reads & TORCH and not makes_its_own and find_spec("torch"):
        import torch

        names = {name: torch.from_numpy(x) if isinstance(x, np.ndarray) else x for name, x in names.items()}
        more |= {"torch": torch, "F": torch.nn.functional}
    names |= {alias: names[name] for alias, name in ALIASES.items()}
    if "embcat" in program.reads:
        names["emb"] = names["emb"].reshape(given["B"], given["K"], given["D"])
    return names | more


def written(node: Any) -> set[str]:
    """The names that this one statement, not those inside it, is seen to write: by =, an index, out=, a function."""
    targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
    for call in [each for each in ast.walk(node) if isinstance(each, ast.Call) and not hasattr(node, "body")]:
        targets += [word.value for word in call.keywords if word.arg == "out"]
        alone = isinstance(node, ast.Expr) and node.value is call and ast.unparse(call.func) != "print"
        if alone or getattr(call.func, "attr", "") in FILLS:
            targets += [*call.args[:1], call.func]  # fill(dz, ...), np.add.at(dC, ...), dC.index_add_(...)
    names = set()
    while targets:
        target = targets.pop()
        while isinstance(target, ast.Subscript | ast.Attribute | ast.Starred):
            target = target.value
        targets += target.elts if isinstance(target, ast.Tuple | ast.List) else []
        names |= {target.id} if isinstance(target, ast.Name) else set()
    return names
