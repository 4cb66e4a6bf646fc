"""The one place where the program runs Python that it reads: the file that its user names on the command line.

It is the user's own code and runs with the user's own rights. Nothing in a configuration, a checkpoint or a run leads
here.
"""

import ast
import warnings
from pathlib import Path
from types import CodeType
from typing import Any

from trainer import regular
from trainer.errors import UserError, printable

LARGEST_FILE = 1 << 20  # bytes


def read(path: str | Path) -> bytes:
    """The file's bytes. Raises UserError."""
    try:
        source = regular.read(path, LARGEST_FILE + 1)
    except OSError as error:
        why = error.strerror
        raise UserError(f"cannot read ({why}), {printable(str(path))}; give a file of Python") from None
    if len(source) > LARGEST_FILE:
        raise UserError(f"this is no backward pass but a large file, {printable(str(path))}; give a file of Python")
    return source


def parse(source: bytes, path: str) -> ast.Module:
    """The file's statements. Raises UserError where it is no Python, with the line."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source, path)
            compile(source, path, "exec", dont_inherit=True)  # finds also a return outside a function
    except SyntaxError as error:
        line = f"line {error.lineno} of " if error.lineno else ""
        raise UserError(f"{printable(error.msg)}, {line}{printable(path)}; correct the line") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise UserError(f"no Python ({printable(str(error))}), {printable(path)}; give a file of Python") from None
    return tree


def code(part: ast.stmt | ast.Module, path: str) -> CodeType:
    """A statement, or the whole file, ready to run."""
    tree = part if isinstance(part, ast.Module) else ast.Module([part], [])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return compile(tree, path, "exec", dont_inherit=True)


def run(compiled: CodeType, names: dict[str, Any]) -> None:
    """Run it in these names. Raises whatever it raises."""
    exec(compiled, names)
