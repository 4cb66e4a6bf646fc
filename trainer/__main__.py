"""The command line: python -m trainer."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

# A step is split over threads here; a BLAS that starts its own as well would fight it for the
# cores. Read when NumPy is first imported, which is below.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

from trainer.errors import Interrupted, RunFailed, UserError, printable  # noqa: E402

RUN = "a run folder, a folder of runs (its newest is meant) or a checkpoint file; left out, the newest run under runs/"


class Parser(argparse.ArgumentParser):
    """Reports bad usage as every other error: one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}, on the command line; see `{self.prog} --help`")


def parser(command: str, about: str, example: str) -> Parser:
    return Parser(
        prog=f"python -m trainer {command}".strip(), description=about, epilog=f"example: {example}", allow_abbrev=False
    )


def train_command(arguments: Sequence[str]) -> None:
    p = parser(
        "",
        "Train a character-level language model. Other commands: sample, report, explain (each with --help).",
        "python -m trainer --config configs/names.yaml train.steps=5000 --check",
    )
    what = p.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="train from this configuration")
    what.add_argument("--resume", metavar="RUN", help="go on with a run; only train.steps=N can change")
    p.add_argument("overrides", nargs="*", metavar="section.key=value", help="override the configuration")
    p.add_argument("--check", action="store_true", help="cross-check the gradients: check.enabled=true")
    p.add_argument("--name", help="the run's folder under runs/; by default the configuration's name")
    a = p.parse_intermixed_args(arguments)

    from trainer import config, runs
    from trainer.train import resume, train

    if a.resume is not None:
        if a.check or a.name is not None:
            raise UserError("--check and --name do not go with --resume, on the command line; leave them out")
        resume(a.resume, a.overrides)
        return
    name = runs.check_name(Path(a.config).stem if a.name is None else a.name)
    train(config.read(a.config, [*a.overrides, *["check.enabled=true"] * a.check]), name)


def sample_command(arguments: Sequence[str]) -> None:
    p = parser("sample", "Print text that a trained model makes up.", "python -m trainer sample -n 5 --prompt ma")
    p.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    p.add_argument("-n", type=int, help="how many; by default 20 lines, or 1 running text")
    p.add_argument("--prompt", default="", help="how each begins")
    p.add_argument("--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder, 0 the likeliest only")
    p.add_argument("--top-k", type=int, default=0, help="draw from the k likeliest characters; 0 from all")
    p.add_argument("--length", type=int, help="characters at most; by default 100 a line, 500 of running text")
    p.add_argument("--seed", type=int, default=0, help="another seed, other text")
    a = p.parse_args(arguments)

    from trainer import runs
    from trainer.sample import sample, stream

    c = runs.load(runs.find_checkpoint(a.run))
    lines = c.config.data.mode == "lines"
    settings = (a.prompt, a.temperature, a.top_k, a.length, a.seed)

    def show(text: str) -> str:
        """The text itself; on a terminal without what that would obey."""
        return "\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text

    if a.n == 1 or (a.n is None and not lines):
        for character in stream(c, *settings):
            print(show(character), end="", flush=not lines)
        print()
        return
    for text in sample(c, 20 if a.n is None else a.n, *settings):
        print(show(text) if lines else show(text) + "\n")


def report_command(arguments: Sequence[str]) -> None:
    p = parser(
        "report",
        "Print a table of runs, and draw report.html in the folder of the first (extra: report).",
        "python -m trainer report runs/names",
    )
    p.add_argument("runs", nargs="*", metavar="RUN", help=RUN)
    a = p.parse_args(arguments)

    from trainer import report

    report.report(a.runs)


def explain_command(arguments: Sequence[str]) -> None:
    p = parser(
        "explain",
        "Walk one example by hand, forward and backward, each number beside its formula.",
        "python -m trainer explain --logits 2,1,0 --target 0",
    )
    p.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    p.add_argument(
        "--context", help="the characters before the target; a line's beginning is filled up with boundaries"
    )
    p.add_argument(
        "--target", required=True, help="the character that comes next ('' ends a line), or with --logits its number"
    )
    p.add_argument("--logits", help="numbers, to walk the softmax and its gradient alone")
    a = p.parse_args(arguments)

    from trainer import explain

    explain.explain(a.run, a.context, a.target, a.logits)


COMMANDS: dict[str, Callable[[Sequence[str]], None]] = {
    "sample": sample_command,
    "report": report_command,
    "explain": explain_command,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # closed, as by `>&-`
            setattr(sys, name, open(os.devnull, "w"))  # noqa: SIM115
        getattr(sys, name).reconfigure(encoding="utf-8", errors="backslashreplace")
    for k in range(len(given) - 1, 0, -1):
        if given[k - 1] in ("--logits", "--prompt", "--context", "--target"):  # their values may begin with a minus
            given[k - 1 : k + 1] = [f"{given[k - 1]}={given[k]}"]
    try:
        for word in given:
            if any("\ud800" <= c <= "\udfff" for c in word):
                raise UserError(f"{word!a} is not UTF-8, on the command line; write it in UTF-8")
        command = COMMANDS.get(given[0]) if given else None
        (command or train_command)(given[1:] if command else given)
        sys.stdout.flush()
        return 0
    except UserError as error:
        status, message = 2, f"error: {error}"
    except MemoryError:
        status, message = 2, "error: not enough memory, for this model and batch; give smaller sizes"
    except RunFailed as error:
        status, message = 1, f"failed: {error}"
    except (Interrupted, KeyboardInterrupt) as error:
        status, message = 130, str(error) or "interrupted"
    except OSError as error:
        discard(sys.stdout)
        if isinstance(error, BrokenPipeError):  # the reader of standard output has left, as `| head` does
            return 0
        status, message = 2, f"error: cannot write ({error.strerror}), standard output or error; make room"
    try:
        print(printable(message), file=sys.stderr)
    except OSError:
        discard(sys.stderr)
    return status


def discard(stream: TextIO) -> None:
    """Let a stream that cannot be written end nowhere, so that the exit does not flush into it again."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


if __name__ == "__main__":
    sys.exit(main())
