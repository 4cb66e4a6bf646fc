"""The command line: what is typed becomes a call, and what comes of it an exit status."""

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn, TextIO

from trainer.errors import RunFailed, UserError, printable

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
    command = parser(
        "",
        "Train a character-level language model."
        " Other commands: sample, report, explain, practice, sweep (each with --help).",
        "python -m trainer --config configs/names.yaml train.steps=5000 --check",
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="train from this configuration")
    what.add_argument("--resume", metavar="RUN", help="go on with a run; only train.steps=N can change")
    command.add_argument("overrides", nargs="*", metavar="section.key=value", help="override the configuration")
    command.add_argument("--check", action="store_true", help="cross-check the gradients: check.enabled=true")
    command.add_argument("--name", help="the run's folder under runs/; by default the configuration's name")
    given = command.parse_intermixed_args(arguments)

    from trainer import config
    from trainer.runs.folder import check_name
    from trainer.runs.session import resume, train

    if given.resume is not None:
        if given.check or given.name is not None:
            raise UserError("--check and --name do not go with --resume, on the command line; leave them out")
        resume(given.resume, given.overrides)
        return
    name = check_name(Path(given.config).stem if given.name is None else given.name)
    checked = ["check.enabled=true"] if given.check else []
    train(config.read(given.config, [*given.overrides, *checked]), name)


def sample_command(arguments: Sequence[str]) -> None:
    command = parser("sample", "Print text that a trained model makes up.", "python -m trainer sample -n 5 --prompt ma")
    command.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    command.add_argument("-n", type=int, help="how many; by default 20 lines, or 1 running text")
    command.add_argument("--prompt", default="", help="how each begins")
    command.add_argument(
        "--temperature", type=float, default=1.0, help="below 1 safer, above 1 wilder, 0 the likeliest only"
    )
    command.add_argument("--top-k", type=int, default=0, help="draw from the k likeliest characters; 0 from all")
    command.add_argument("--length", type=int, help="characters at most; by default 100 a line, 500 of running text")
    command.add_argument("--seed", type=int, default=0, help="another seed, other text")
    given = command.parse_args(arguments)

    from trainer.runs.checkpoint import load
    from trainer.runs.folder import find_checkpoint
    from trainer.runs.sampling import sample, stream

    checkpoint = load(find_checkpoint(given.run))
    lines = checkpoint.config.data.mode == "lines"
    settings = (given.prompt, given.temperature, given.top_k, given.length, given.seed)

    def show(text: str) -> str:
        """The text itself; on a terminal without what that would obey."""
        return "\n".join(map(printable, text.split("\n"))) if sys.stdout.isatty() else text

    if given.n == 1 or (given.n is None and not lines):
        for character in stream(checkpoint, *settings):
            print(show(character), end="", flush=not lines)
        print()
        return
    for text in sample(checkpoint, 20 if given.n is None else given.n, *settings):
        print(show(text) if lines else show(text) + "\n")


def report_command(arguments: Sequence[str]) -> None:
    command = parser(
        "report",
        "Print a table of runs, and draw report.html of one run, or compare.html of several (extra: report).",
        "python -m trainer report runs/names",
    )
    command.add_argument("runs", nargs="*", metavar="RUN", help=RUN)
    command.add_argument("--watch", action="store_true", help="draw again every few seconds until the runs have ended")
    command.add_argument("--tensorboard", metavar="FOLDER", help="also write for TensorBoard (extra: tensorboard)")
    given = command.parse_args(arguments)

    from trainer.tools.report import report

    report(given.runs, given.watch, given.tensorboard)


def explain_command(arguments: Sequence[str]) -> None:
    command = parser(
        "explain",
        "Walk two examples by hand, forward and backward, each number beside its formula.",
        "python -m trainer explain --context emm --target a",
    )
    command.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    command.add_argument(
        "--context", help="the characters before the target; a line's beginning is filled up with boundaries"
    )
    command.add_argument(
        "--target", required=True, help="the character that comes next ('' ends a line), or with --logits its number"
    )
    command.add_argument("--logits", help="numbers, to walk the softmax and its gradient alone")
    command.add_argument("--html", metavar="FILE", help="draw the chain as a page instead")
    given = command.parse_args(arguments)

    from trainer.tools.explain import explain

    explain(given.run, given.context, given.target, given.logits, given.html)


def practice_command(arguments: Sequence[str]) -> int:
    command = parser(
        "practice",
        "Write the nine derivatives yourself, and be told which is wrong and what was done instead. A file that does"
        " not exist is written with blanks; several make a table. What stands in a file is run: it is your own code.",
        "python -m trainer practice mine.py",
    )
    command.add_argument("files", nargs="+", metavar="FILE", help="a backward pass in Python")
    command.add_argument(
        "--hints",
        type=int,
        default=2,
        choices=(0, 1, 2),
        help="0 the verdict, 1 the place too, 2 also what was done (default)",
    )
    given = command.parse_intermixed_args(arguments)

    from trainer.tools.practice.command import practice

    return practice(given.files, given.hints)


def sweep_command(arguments: Sequence[str]) -> None:
    command = parser(
        "sweep",
        "Search for better values. Each trial is a run in runs/NAME/, judged by its validation loss, and pruned where"
        " an evaluation (log.eval_every) shows that it is hopeless. The same command goes on where it was stopped; on"
        " another machine, with the same --storage, it joins in. `optuna-dashboard sqlite:///runs/NAME/sweep.db` shows"
        " it in a browser (extra: sweep).",
        "python -m trainer sweep --config configs/names.yaml train.learning_rate=0.01..1 train.optimizer=sgd,adamw",
    )
    command.add_argument("--config", metavar="FILE", required=True, help="where the trials begin")
    command.add_argument(
        "overrides",
        nargs="+",
        metavar="section.key=VALUE",
        help="to search: LOW..HIGH, on a logarithmic scale but for shares and from 0, or A,B,C; else for all trials",
    )
    command.add_argument("--trials", type=int, default=50, metavar="N", help="how many in all, by default 50")
    command.add_argument("--jobs", type=int, metavar="N", help="how many at once, one core each; by default all cores")
    command.add_argument("--storage", metavar="URL", help="a database for many machines, postgresql://user@host/sweeps")
    command.add_argument("--name", help="the folder under runs/ and the study; by default the configuration's name")
    command.add_argument("--no-pruning", action="store_true", help="train every trial to its end")
    given = command.parse_intermixed_args(arguments)

    from trainer.threads import cores
    from trainer.tools.sweep.search import sweep

    jobs = cores() if given.jobs is None else given.jobs
    sweep(given.config, given.overrides, given.name, given.trials, jobs, given.storage, not given.no_pruning)


COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "sample": sample_command,
    "report": report_command,
    "explain": explain_command,
    "practice": practice_command,
    "sweep": sweep_command,
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
        status = (command or train_command)(given[1:] if command else given)
        sys.stdout.flush()
        return status or 0
    except UserError as error:
        status, message = 2, f"error: {error}"
    except MemoryError:
        status, message = 2, "error: not enough memory, for this model and batch; give smaller sizes"
    except RunFailed as error:
        status, message = 1, f"failed: {error}"
    except KeyboardInterrupt as error:
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
