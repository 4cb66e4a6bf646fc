"""What is printed: the file with blanks, the verdicts on one file, the table of several."""

import textwrap

from trainer.errors import printable
from trainer.tools.practice.answer import Answer
from trainer.tools.practice.point import BLANKS, Exercise
from trainer.tools.practice.verdict import WROTE, Verdict

WIDTH = 80
FILE = 17  # columns for a file's name in a table
MARGIN = " " * 8
HEAD = """\
# You have: C W1 b1 W2 b2   X Y   emb z h logits p y   B K D H V   np
#   emb = C[X], side by side   z = emb @ W1 + b1   h = tanh(z)   logits = h @ W2 + b2   p = softmax(logits)
#   loss = mean over the batch of -log p[Y];  y is 1 at the target
"""


def blanks() -> str:
    """The file to fill in."""
    lines = []
    for blank in BLANKS:
        shape = "(B, K*D) or (B, K, D)" if blank.link == "emb" else blank.shape
        lines.append(f"{blank.name + ' = ...':<16}# {shape}\n")
    return HEAD + "".join(lines)


def screen(answer: Answer, exercise: Exercise, hints: int) -> str:
    """The verdicts on one file. hints: 0 the verdict alone; 1 the place too; 2 the sentence too."""
    sizes = ", ".join(f"{name} = {exercise.given[name]}" for name in ("B", "K", "D", "H", "V"))
    about = f"one batch: {sizes}; loss {exercise.loss:.4f}; each link is judged with the right gradient coming in"
    lines = textwrap.wrap(about, WIDTH)
    if answer.stopped:
        return "\n".join([*lines, "stopped", *folded(answer.stopped)])
    for verdict in answer.verdicts:
        lines += about_one(verdict, hints)
    for note in answer.notes if hints else []:
        lines += textwrap.wrap(printable(note), WIDTH)
    return "\n".join([*lines, f"{answer.right()} of {len(BLANKS)} right"])


def about_one(verdict: Verdict, hints: int) -> list[str]:
    """The lines on one gradient."""
    first = f"{verdict.name:8}{verdict.word:8}"
    if verdict.word == "to do":
        return [first + verdict.fact]
    if hints == 0:
        return [first.rstrip()]
    where = "" if verdict.word == "right" else f"line {verdict.line}: "
    first += where if verdict.source else ""
    lines = [shortened((first + printable(verdict.source)).rstrip())]
    said = verdict.fact
    if hints == 2 and verdict.sentence:
        said = f"{said}: {verdict.sentence}" if said else verdict.sentence
    place = verdict.place if hints == 1 or WROTE not in verdict.sentence else ""
    for paragraph in (said, place):
        lines += folded(paragraph)
    return lines


def folded(paragraphs: str) -> list[str]:
    """Lines of text under a verdict."""
    lines = []
    for paragraph in paragraphs.splitlines():
        lines += textwrap.wrap(printable(paragraph), WIDTH, initial_indent=MARGIN, subsequent_indent=MARGIN)
    return lines


def shortened(line: str, width: int = WIDTH) -> str:
    return line if len(line) <= width else line[: width - 3] + "..."


def heading() -> str:
    """The first line of a table of several files."""
    return " " * FILE + "".join(column(blank.name, blank.name) for blank in BLANKS).rstrip()


def column(name: str, text: str) -> str:
    return text.ljust(8 if name == "dlogits" else 6)


def row(path: str, answer: Answer) -> str:
    """A file's line in the table of several files."""
    name = path if len(path) < FILE else "..." + path[4 - FILE :]
    if answer.stopped:
        return shortened(printable(f"{name:{FILE}}{' '.join(answer.stopped.split())}"))
    words = "".join(column(verdict.name, verdict.word) for verdict in answer.verdicts)
    return f"{printable(name):{FILE}}{words}{answer.right()} of {len(BLANKS)}"


def totals(answers: list[Answer]) -> str:
    """The last line of the table: how many have each gradient right."""
    counts = ""
    for number, blank in enumerate(BLANKS):
        right = sum(bool(answer.verdicts) and answer.verdicts[number].word == "right" for answer in answers)
        counts += column(blank.name, str(right))
    return f"{f'right, of {len(answers)}':{FILE}}{counts}".rstrip()
