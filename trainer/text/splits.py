"""Where the training, validation and test parts of a text end, and what to write where one of them is empty."""

from collections.abc import Sequence
from itertools import pairwise

from trainer.errors import UserError

PROSE = 100  # characters in a line of running text, or more


def cut(n: int, split: Sequence[float]) -> list[int]:
    """Where the three parts of n lines or characters end; a part whose share is 0 has none."""
    train, val, test = split
    ends = [round(n * train), round(n * (train + val)), n]
    if test == 0:
        ends[1] = n
    if val == 0:
        ends[0] = ends[1]
    return ends


def empty_split(name: str, where: str, n: int, context: int, lines: int | None, distinct: int | None) -> UserError:
    """What to write where a split has no examples: the text is too short for its share, or is no list of lines."""
    if lines is None or distinct is None:
        size, advice = f"{n:,} characters for a context of {context}", shorter(n, context)
    elif n > PROSE * lines:
        size, advice = f"{plural(lines)} of {n:,} characters", "data.mode=stream, if it is running text"
    else:
        repeats = f", {distinct:,} distinct" if distinct < lines else ""
        size, advice = f"{plural(lines)}{repeats}", "data.split=" + possible_split(distinct, 1)
    return UserError(f"the {name} split is empty ({size}), {where}; give {advice}, or more text")


def plural(lines: int) -> str:
    return "1 line" if lines == 1 else f"{lines:,} lines"


def shorter(n: int, context: int) -> str:
    """The overrides with which a stream of n characters has examples."""
    if n > context:
        return "data.split=" + possible_split(n, context + 1)
    context = max(1, n // 4)
    return f"model.context={context} data.split={possible_split(n, context + 1)}"


def possible_split(n: int, least: int) -> str:
    """Shares of n with which every part that is not 0 has so many at least; as even a tenth as there is room for."""
    for parts in (3, 2):
        for digits in range(1, 7):
            share = round(max(least / n, 0.1), digits)
            split = [1 - (parts - 1) * share, share, share if parts == 3 else 0.0]
            written = ",".join(f"{part:.{digits}f}" for part in split)
            sizes = [end - start for start, end in pairwise([0, *cut(n, [float(part) for part in written.split(",")])])]
            if min(sizes[:parts]) >= least:
                return f"[{written}]"
    return "[1,0,0]"
