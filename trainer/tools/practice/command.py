"""`python -m trainer practice FILE ...`: write the file with blanks, or judge what stands in it."""

import os
import sys
import textwrap
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trainer.errors import UserError, printable
from trainer.runs.files import write_whole
from trainer.tools.practice import execute, process
from trainer.tools.practice.answer import Answer
from trainer.tools.practice.point import BLANKS, exercise
from trainer.tools.practice.screen import MARGIN, blanks, heading, row, screen, totals

PRINTED = 20  # lines shown of what a file prints


def practice(files: Sequence[str], hints: int = 2) -> int:
    """Judge the files and print what is said; return the exit status: 0 if all is right, else 1.

    One file that does not exist is written with blanks, and that is status 0. Raises UserError.
    """
    if hints not in (0, 1, 2):
        raise UserError(f"--hints {hints} is none of 0, 1 and 2, on the command line; give one of them")
    if not files:
        raise UserError("no file, on the command line; give one, which is written if it does not exist")
    if len(files) == 1:
        return judge_one(files[0], hints) if os.path.lexists(files[0]) else write_blanks(files[0])
    return judge_several(files)


def write_blanks(path: str) -> int:
    """Write the file to fill in."""
    write_whole(Path(path), blanks().encode())
    print(f"wrote {printable(path)}: fill in its {len(BLANKS)} lines, one or more, and run the same command again")
    return 0


def judge_one(path: str, hints: int) -> int:
    found = process.judged(path)
    if found.printed:
        lines = found.printed.splitlines()
        more = [f"... and {len(lines) - PRINTED} lines more"] if len(lines) > PRINTED else []
        print(f"printed by {printable(path)}:", file=sys.stderr)
        print(textwrap.indent("\n".join([*map(printable, lines[:PRINTED]), *more]), MARGIN), file=sys.stderr)
    print(screen(found, exercise(), hints))
    return 0 if found.right() == len(BLANKS) else 1


def judge_several(paths: Sequence[str]) -> int:
    """A table, a line for each file as soon as it is judged."""
    for path in paths:
        execute.read(path)
    print(heading())
    answers = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, found in zip(paths, pool.map(judged, paths), strict=True):
            print(row(path, found), flush=True)
            answers.append(found)
    print(totals(answers))
    return 0 if all(found.right() == len(BLANKS) for found in answers) else 1


def judged(path: str) -> Answer:
    """The answer to one of several files, where one that is no Python does not end the others."""
    try:
        return process.judged(path)
    except UserError as error:
        return Answer([], [], stopped=str(error))
