"""What stops a beginner before a derivative is wrong: a line that raises, a name that is not there."""

import ast
import difflib
import re
import traceback
from collections.abc import Iterable, Mapping
from typing import Any

from trainer.errors import printable
from trainer.tools.practice.source import Line, Program

LONGEST = 300  # characters of a message
NO_BATCH_NORM = "this model has no batch norm: dhpreact goes straight to dembcat, dW1 and db1"


def explained(error: BaseException, program: Program, names: Mapping[str, Any], first: Line) -> tuple[Line, str]:
    """The line of the file that raised, and what it says, with the shapes of the arrays in it."""
    (number, text), local = first, dict(names)
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename == program.path and line != number:
            number, text = line, program.text.splitlines()[line - 1].strip()
            local |= frame.f_locals
    said = printable(f"{type(error).__name__}: {error}")[:LONGEST].rstrip(": ")
    said = re.sub(r"Input operand \d has a mismatch .*->\S+ ", "... ", said)  # what NumPy says of a product
    shapes = {name: getattr(local.get(name), "shape", None) for name in sorted(set(re.findall(r"\w+", text)))}
    arrays = ", ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items() if isinstance(shape, tuple))
    meant = meant_by(str(error.name), program, number, local) if isinstance(error, NameError) else ""
    return (number, text), "\n".join(filter(None, [said, meant, arrays]))


def meant_by(name: str, program: Program, number: int, known: Iterable[str]) -> str:
    """What was perhaps meant by a name that is not there in this line; "" where nothing is known."""
    if re.match(r"d?bn[a-z]", name):
        return NO_BATCH_NORM
    below = [node.lineno for node in program.tree.body if node.lineno > number and name in program.lines(node)]
    return f"{name} is made further down, in line {below[0]}" if below else near_name(name, known)


def near_name(name: str, names: Iterable[str]) -> str:
    """A name that may be meant by another, as dlogit, d_logits, dLogits or grad_logits by dlogits, in words; or ""."""
    known = {re.sub("_", "", each.lower()).replace("grad", "d"): each for each in names if each != name}
    close = difflib.get_close_matches(name.lower(), known, 1, 0.8)
    return f"there is a `{known[close[0]]}`" if close else ""


def never_called(program: Program) -> list[str]:
    """The functions of a file that nothing calls, in words."""
    functions = [node for node in program.tree.body if isinstance(node, ast.FunctionDef)]
    unused = [node for node in functions if node.name not in program.reads]
    return [f"line {node.lineno}: {node.name} is defined, and never called" for node in unused]
