"""`python -m trainer practice FILE ...`: write the file with blanks, or judge what stands in it; and what it prints."""

import os
import re
import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainer import files
from trainer.core import numerical
from trainer.errors import UserError, aligned, printable
from trainer.mistakes.diagnosis import NUMBERS, WROTE
from trainer.tools.practice import process
from trainer.tools.practice.judge import Answer, Finding
from trainer.tools.practice.point import NINE, B, draw

WIDTH, MARGIN = 80, " " * 8
BLANKS = """\
# You have: C W1 b1 W2 b2   X Y   emb z h logits p y   B K D H V   np
#   emb = C[X], side by side   z = emb @ W1 + b1   h = tanh(z)   logits = h @ W2 + b2   p = softmax(logits)
#   loss = mean over the batch of -log p[Y];  y is 1 at the target
dlogits = ...   # (B, V)
dW2 = ...       # (H, V)
db2 = ...       # (V,)
dh = ...        # (B, H)
dz = ...        # (B, H)
dW1 = ...       # (K*D, H)
db1 = ...       # (H,)
demb = ...      # (B, K*D), (B, K, D) or (B*K, D)
dC = ...        # (V, D)
"""


def practice(paths: Sequence[str], hints: int = 2) -> int:
    """Judge the files, or write the one that is not there; give the exit status: 1 for a mistake. Raises UserError."""
    if len(paths) > 1:
        with ThreadPoolExecutor(os.cpu_count()) as pool:
            answers = [*pool.map(one_of_several, paths)]
        print(*table(dict(zip(paths, answers, strict=True)), hints), sep="\n")
    elif os.path.lexists(path := paths[0]) or path.endswith(".ipynb"):
        answers = [process.judged(path)]
        print(screen(answers[0], hints))
    else:
        files.write_whole(Path(path), BLANKS.encode())
        print(f"wrote {printable(path)}: fill in its {len(NINE)} lines, one or more, and run the same command again")
        return 0
    return int(not all(answer.all_right() for answer in answers))


def one_of_several(path: str) -> Answer:
    """The answer to one of several files, each of which has to exist; one that is no Python does not end the others."""
    try:
        return process.judged(path)
    except UserError as error:
        if not os.path.isfile(path):
            raise
        return Answer([], [str(error)])


def screen(answer: Answer, hints: int) -> str:
    """The verdicts on one file. hints: 0 the verdict alone; 1 the place too; 2 the sentence too."""
    at = numerical.point(*draw())
    (V, K, D, H), loss = at.p.sizes, numerical.loss_at(at, at.p.flat)
    head = f"one batch: B = {B}, K = {K}, D = {D}, H = {H}, V = {V}; loss {loss:.4f}"
    head += "\nthe file is run once, as Python runs it, and judged by what it leaves"
    width = max(8, *(len(finding.name) + 1 for finding in answer.findings))
    said = [about(finding, hints, width) for finding in answer.findings]
    followed = sum(finding.follows for finding in answer.findings) - answer.right()
    count = f"{answer.right()} of {len(said)} right" + f", {followed} right from what came in" * (followed > 0)
    return "\n".join([head, *said, *map(wrapped, answer.notes), count])


def about(finding: Finding, hints: int = 2, width: int = 8) -> str:
    """What is said of one gradient."""
    number, text = finding.line
    first = f"{finding.name:{width}}{finding.word + '   ':8}"
    if hints == 0:
        return first.rstrip()
    where = f"line {number}: " if number and not finding.follows else ""
    said = finding.said if hints == 2 else finding.fact
    place = finding.place if hints == 1 or WROTE not in finding.sentence else ""
    below = [wrapped(part, MARGIN) for part in f"{said}\n{place}".splitlines() if part]
    return "\n".join([wrapped(f"{first}{where}{text}"), *below])


def wrapped(text: str, margin: str = "") -> str:
    return textwrap.fill(printable(text), WIDTH, initial_indent=margin, subsequent_indent=MARGIN)


def table(answers: Mapping[str, Answer], hints: int) -> Iterator[str]:
    """A line for each file, by its path; what else is to be said of it; then how many wrote what, for each link.

    hints: below 2 how many had which verdict, or what is seen.
    """
    rows, counts = [["", "right", *(f"d{link}" for link in NINE)]], defaultdict[str, Counter[str]](Counter)
    for path, answer in answers.items():
        words = {each.name: "from" if "from" in each.word else each.word for each in answer.findings}
        rows.append([path, str(answer.right()), *(words.get(name, "") for name in rows[0][2:])])
        for finding in answer.findings:
            said = re.sub(f"(?:{WROTE}|{NUMBERS})(.*?): .*", r"wrote \1", finding.sentence) if hints == 2 else ""
            fact = finding.fact.partition("\n")[0] if hints else ""
            counts[finding.name][said or fact or finding.word] += 1
    yield from (printable(row.rstrip()) for row in aligned(rows))
    yield from (wrapped(f"{path}: {note}") for path, answer in answers.items() for note in answer.notes)
    for gradient, counted in counts.items():
        yield wrapped(f"{gradient}: {'; '.join(f'{count} {what}' for what, count in counted.most_common())}")
