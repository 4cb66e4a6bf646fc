"""Which lines of a learner's file make which gradient: what can be seen without running it."""

import ast
from collections.abc import Iterator
from typing import NamedTuple

from trainer.tools.practice.point import LINK_OF

# Functions that write into their first argument.
FILLS = ("at", "copyto", "put", "place", "putmask", "put_along_axis", "fill_diagonal")


class Line(NamedTuple):
    """A line of the file, as it is shown."""

    number: int
    text: str


def statements_in(node: ast.stmt) -> Iterator[ast.stmt]:
    """The statement and those inside it, in their order, without those of functions that it defines."""
    yield node
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        return
    for field in ("body", "orelse", "handlers", "finalbody", "cases"):
        for inner in getattr(node, field, []):
            if isinstance(inner, ast.stmt):
                yield from statements_in(inner)
            else:  # an except, a case
                for statement in inner.body:
                    yield from statements_in(statement)


def base(node: ast.expr) -> str:
    """The name that an expression such as dz[0].T writes to, or ""."""
    while isinstance(node, ast.Subscript | ast.Attribute | ast.Starred):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""


def written(node: ast.stmt) -> set[str]:
    """The names of gradients that this one statement, not those inside it, is seen to write."""
    targets: list[ast.expr] = []
    match node:
        case ast.Assign():
            targets += node.targets
        case ast.AugAssign() | ast.AnnAssign() | ast.For():
            targets.append(node.target)
        case ast.Delete():
            return set()
    names = set()
    while targets:
        target = targets.pop()
        if isinstance(target, ast.Tuple | ast.List):
            targets += target.elts
        else:
            names.add(base(target))
    if not hasattr(node, "body"):
        for call in (each for each in ast.walk(node) if isinstance(each, ast.Call)):
            names |= {base(word.value) for word in call.keywords if word.arg == "out"}
            filled = isinstance(call.func, ast.Attribute) and call.func.attr in FILLS
            if call.args and (filled or (isinstance(node, ast.Expr) and node.value is call)):
                names.add(base(call.args[0]))
    return names & LINK_OF.keys()


def targets(node: ast.stmt) -> set[str]:
    """The names of gradients that a statement, with all that is inside it, is seen to write."""
    return set().union(*(written(inner) for inner in statements_in(node)))


def line(node: ast.stmt, name: str, source: str) -> Line:
    """The line to show for a gradient that this statement makes: of a loop, the one inside that writes it."""
    shown = node
    for inner in statements_in(node):
        if name in written(inner):
            shown = inner
    text = ast.get_source_segment(source, shown) or ""
    if hasattr(shown, "body"):
        text = text.partition("\n")[0]
    return Line(shown.lineno, " ".join(text.split()))


def reads(tree: ast.Module, name: str) -> bool:
    """Whether the file uses the name."""
    names = [node for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load)]
    return name in {node.id for node in names}


def names_at(tree: ast.Module, number: int) -> set[str]:
    """The names that stand in a line, or in the whole of a simple statement that goes over several."""
    found = set()
    for statement in (node for node in ast.walk(tree) if isinstance(node, ast.stmt)):
        if statement.lineno <= number <= (statement.end_lineno or 0):
            simple = not hasattr(statement, "body")
            names = [node for node in ast.walk(statement) if isinstance(node, ast.Name)]
            found |= {node.id for node in names if simple or node.lineno == number}
    return found
