"""Each command: the function that it calls, what it is for, and its options, each of which is an argument of it."""

import argparse
import re
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

from trainer import __version__
from trainer.errors import UserError

RUN = "a run folder, a folder of runs (its newest is meant) or a checkpoint file; left out, the newest run under runs/"
ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}  # what stands for characters that are hard to type


class Parser(argparse.ArgumentParser):
    """Reports bad usage as every other error: one line."""

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message}, on the command line; see `{self.prog} --help`")


def typed(word: str) -> str:
    """The text that was typed, in which \\n is the end of a line, \\t a tab and \\\\ a backslash."""
    return re.sub(r"\\[nt\\]", lambda found: ESCAPES[found.group()], word)


def path(word: str) -> str:
    """A path; the empty one, which a shell makes of a variable that is not set, would mean the newest run."""
    if not word:
        raise ValueError
    return word


# By what stands for a value in the help.
TYPES = dict.fromkeys(("N", "K", "S", "0|1|2"), int) | {"RUN": path, "T": float, "TEXT": typed, "CHAR": typed}


class Command(NamedTuple):
    """The options are the arguments of the function; what is left out has the function's own default."""

    calls: str  # module:function
    about: str
    example: str
    options: dict[str, str]  # `--option`, `--option VALUE`, `--needed ! VALUE` or `argument HOW_MANY VALUE`; its help

    def run(self, name: str, words: list[str]) -> int:
        """Read the words that follow the name of the command, and do it; return the exit status."""
        parser = Parser(
            prog=f"python -m trainer {name}".strip(), description=self.about, allow_abbrev=False,
            epilog=f"example: python -m trainer {self.example}", argument_default=argparse.SUPPRESS,
        )  # fmt: skip
        parser.add_argument("--version", action="version", version=f"trainer {__version__}")
        for written, purpose in self.options.items():
            option, *how = written.split()
            settings: dict[str, Any] = {"action": "store_true"}
            if how:
                settings = {"metavar": how[-1], "type": TYPES.get(how[-1])}
            if how == ["0|1|2"]:
                settings["choices"] = range(3)
            if len(how) == 2:
                settings |= {"required": True} if how[0] == "!" else {"nargs": how[0]}
            parser.add_argument(option, help=purpose, **settings)
        given = vars(parser.parse_intermixed_args(words))
        module, function = self.calls.split(":")
        result = getattr(import_module(f"trainer.{module}"), function)(**given)
        return result if isinstance(result, int) else 0


def train(
    overrides: Sequence[str] = (), config: str | None = None, resume: str | None = None, backward: str | None = None,
    **begin: Any,
) -> None:  # fmt: skip
    """Train from a configuration, where `begin` holds what is given of check, name and from; or go on with a run."""
    from trainer import config as configuration
    from trainer.runs import session

    if resume is not None and config is None:
        if begin:
            raise UserError("--check, --name, --from do not go with --resume, on the command line; leave them out")
        session.resume(resume, overrides, backward=backward)
    elif config is not None and resume is None:
        settings = configuration.read(config, [*overrides, *["check.enabled=true"] * ("check" in begin)])
        name = begin.get("name", Path(config).stem)
        session.train(settings, name, source=begin.get("from"), backward=backward)
    else:
        what = "give one of --config FILE and --resume RUN"
        raise UserError(f"{what}, on the command line; see `python -m trainer --help`")


COMMANDS = {
    "": Command(
        "tools.commands:train",
        "Train a character-level language model. Other commands, each with --help: sample, score, report, explain,"
        " practice, gallery, sweep.",
        "--config configs/names.yaml train.steps=5000 --check",
        {
            "overrides * section.key=value": "in place of what the configuration says",
            "--config FILE": "train from this configuration",
            "--resume RUN": "go on with a run; only train.steps (with the constant schedule), data.path and --backward"
            " can change",
            "--check": "cross-check the gradients: check.enabled=true",
            "--name NAME": "the run's folder under runs/; by default the configuration's name",
            "--from RUN": "begin with the parameters of another run",
            "--backward FILE": "train with your own backward pass; see `practice`",
        },
    ),
    "sample": Command(
        "tools.sample:print_samples",
        "Print text that a trained model makes up.",
        "sample -n 5 --prompt ma",
        {
            "run ? RUN": RUN,
            "-n N": "how many; by default 20 lines, or 1 running text",
            "--prompt TEXT": "how each begins",
            "--temperature T": "below 1 safer, above 1 wilder, 0 the likeliest",
            "--top-k K": "of the k likeliest characters; 0 of all",
            "--length N": "characters at most; default: 100 a line, else 500",
            "--seed S": "another seed, other text",
            "--last": "the newest state, not the one of best validation loss",
            "--new": "only lines that stand nowhere in the text, each once",
        },
    ),
    "score": Command(
        "tools.score:print_scores",
        "Print how well a model predicts a text, in nats and bits a character: of files, or of standard input.",
        "score runs/names names.txt --each",
        {
            "run ? RUN": RUN,
            "files * FILE": "texts; without any, standard input is read",
            "--each": "each line after its nats, of several files with its file",
            "--surprising": "of each line, the most surprising first",
        },
    ),
    "report": Command(
        "tools.report:report",
        "Print a table of runs, and draw report.html of one run, or compare.html of several (extra: report).",
        "report runs/names",
        {
            "runs * RUN": "runs, or folders of them; left out, the newest run",
            "--watch": "draw again every few seconds until the runs end, or Ctrl-C",
            "--tensorboard FOLDER": "also write for TensorBoard (extra: tensorboard)",
        },
    ),
    "explain": Command(
        "tools.explain:explain",
        "Walk two examples by hand, forward and backward, each number beside its formula.",
        "explain --context emm --target a",
        {
            "run ? RUN": RUN,
            "--context TEXT": "the characters before the target, from a line's beginning on",
            "--target ! CHAR": "the next character ('' is a line's end); with --logits its number",
            "--logits LIST": "numbers, to walk the softmax and its gradient alone",
            "--html FILE": "draw the chain as a page instead",
        },
    ),
    "practice": Command(
        "tools.practice.command:practice",
        "Write the nine derivatives yourself, and be told which is wrong and what was done instead. A file that does"
        " not exist is written with blanks; several make a table. What stands in a file is run: it is your own code.",
        "practice mine.py",
        {
            "paths + FILE": "files with a backward pass in Python",
            "--hints 0|1|2": "0 the verdict, 1 the place too, 2 also what was done (default)",
        },
    ),
    "gallery": Command(
        "tools.gallery:gallery",
        "Train with each known mistake in a derivative for 3,000 steps, and draw a page of the losses and of the checks"
        " that see it (minutes; extra: report).",
        "gallery gallery.html",
        {"path ? FILE.html": "by default gallery.html"},
    ),
    "sweep": Command(
        "tools.sweep.command:sweep",
        "Search for better values. Each trial is a run in runs/NAME/, judged by its validation loss, and pruned where"
        " an evaluation (log.eval_every) shows that it is hopeless. The same command goes on where it was stopped; on"
        " another machine, with the same --storage, it joins in. `optuna-dashboard sqlite:///runs/NAME/sweep.db` shows"
        " it in a browser (extra: sweep).",
        "sweep --config configs/names.yaml train.learning_rate=0.01..1 train.optimizer=sgd,adamw",
        {
            "overrides + section.key=VALUES": "LOW..HIGH to search (on a logarithmic scale, but for shares and from 0)"
            " or A,B,C, of which alone each combination is tried once; with seed=1,2,3 every seed",
            "--config ! FILE": "where the trials begin",
            "--trials N": "how many in all, by default 50; of ranges each further job may make one more",
            "--jobs N": "how many at once, one core each; by default all cores",
            "--storage URL": "a database for many machines, postgresql://user@host/sweeps",
            "--name NAME": "the folder under runs/ and the study; by default the configuration's name",
            "--no-pruning": "train every trial to its end",
            "--worker N": argparse.SUPPRESS,
        },
    ),
}
