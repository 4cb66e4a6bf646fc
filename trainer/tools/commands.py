"""Each command: the function that it calls, what it is for, and its options, each of which is an argument of it."""

import argparse
import importlib.util
import re
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
        advice = f"see `{self.prog} --help`"
        if re.match(r"unrecognized arguments: --\w+\.", message):
            advice = "write section.key=value without dashes"
        raise UserError(f"{message}, on the command line; {advice}")


def typed(word: str) -> str:
    """The text that was typed, in which \\n is the end of a line, \\t a tab and \\\\ a backslash."""
    return re.sub(r"\\[nt\\]", lambda found: ESCAPES[found.group()], word)


class Command(NamedTuple):
    calls: str  # module:function
    about: str
    example: str
    options: dict[str, dict[str, Any]]  # as argparse takes them

    def run(self, name: str, words: list[str]) -> int:
        """Read the words that follow the name of the command, and do it; return the exit status."""
        parser = Parser(
            prog=f"python -m trainer {name}".strip(), description=self.about, allow_abbrev=False,
            epilog=f"example: python -m trainer {self.example}",
        )  # fmt: skip
        for option, settings in self.options.items():
            parser.add_argument(option, **settings)
        given = vars(parser.parse_intermixed_args(words))
        module, function = self.calls.split(":")
        result = getattr(import_module(f"trainer.{module}"), function)(**given)
        return result if isinstance(result, int) else 0


def train(
    overrides: list[str], config: str | None, resume: str | None, check: bool, name: str | None, source: str | None,
    backward: str | None,
) -> None:  # fmt: skip
    """Train from a configuration, or go on with a run."""
    from trainer import config as configuration
    from trainer.runs import session

    if (config is None) == (resume is None):
        raise UserError("either --config FILE or --resume RUN, on the command line; see `python -m trainer --help`")
    if resume is not None:
        if check or name is not None or source is not None:
            raise UserError("--check, --name, --from do not go with --resume, on the command line; leave them out")
        session.resume(resume, overrides, backward=backward)
    elif config is not None:
        settings = configuration.read(config, overrides + ["check.enabled=true"] * check)
        session.train(settings, Path(config).stem if name is None else name, source=source, backward=backward)


def sweep(**given: Any) -> None:
    """Search for better values, in processes that end with this one."""
    from trainer.tools.children import ended_at_once

    if importlib.util.find_spec("optuna") is None:
        raise UserError("a sweep needs Optuna, which is not installed; pip install 'handmade-char-lm[sweep]'")
    for option in ("trials", "jobs"):
        if given[option] is not None and given[option] < 1:
            raise UserError(f"--{option} is {given[option]}, on the command line; give 1 or more")
    with ended_at_once():  # some libraries swallow what a signal raises
        from trainer.runs.threads import cores
        from trainer.tools.sweep.search import sweep

        sweep(argparse.Namespace(**given | {"jobs": given["jobs"] or cores()}))


COMMANDS = {
    "": Command(
        "tools.commands:train",
        "Train a character-level language model. Other commands, each with --help: sample, score, report, explain,"
        " practice, gallery, sweep.",
        "--config configs/names.yaml train.steps=5000 --check",
        {
            "overrides": {"nargs": "*", "metavar": "section.key=value", "help": "override the configuration"},
            "--version": {"action": "version", "version": f"trainer {__version__}"},
            "--config": {"metavar": "FILE", "help": "train from this configuration"},
            "--resume": {"metavar": "RUN", "help": "go on with a run; only train.steps and data.path can change"},
            "--check": {"action": "store_true", "help": "cross-check the gradients: check.enabled=true"},
            "--name": {"help": "the run's folder under runs/; by default the configuration's name"},
            "--from": {"dest": "source", "metavar": "RUN", "help": "begin with the parameters of another run"},
            "--backward": {"metavar": "FILE", "help": "train with your own backward pass; see `practice`"},
        },
    ),
    "sample": Command(
        "tools.sample:print_samples",
        "Print text that a trained model makes up.",
        "sample -n 5 --prompt ma",
        {
            "run": {"nargs": "?", "metavar": "RUN", "help": RUN},
            "-n": {"type": int, "help": "how many; by default 20 lines, or 1 running text"},
            "--prompt": {"metavar": "TEXT", "type": typed, "default": "", "help": "how each begins"},
            "--temperature": {
                "metavar": "T", "type": float, "default": 1.0,
                "help": "below 1 safer, above 1 wilder, 0 the likeliest",
            },
            "--top-k": {"metavar": "K", "type": int, "default": 0, "help": "of the k likeliest characters; 0 of all"},
            "--length": {"metavar": "N", "type": int, "help": "characters at most; default: 100 a line, else 500"},
            "--seed": {"metavar": "S", "type": int, "default": 0, "help": "another seed, other text"},
            "--last": {"action": "store_true", "help": "the newest state, not the one of best validation loss"},
            "--new": {"action": "store_true", "help": "only lines that stand nowhere in the text, each once"},
        },
    ),
    "score": Command(
        "tools.score:print_scores",
        "Print how well a model predicts a text, in nats and bits a character: of files, or of standard input.",
        "score runs/names names.txt --each",
        {
            "run": {"nargs": "?", "metavar": "RUN", "help": RUN},
            "files": {"nargs": "*", "metavar": "FILE", "help": "texts; without any, standard input is read"},
            "--each": {"action": "store_true", "help": "each line after its nats, of several files with its file"},
            "--surprising": {"action": "store_true", "help": "of each line, the most surprising first"},
        },
    ),
    "report": Command(
        "tools.report:report",
        "Print a table of runs, and draw report.html of one run, or compare.html of several (extra: report).",
        "report runs/names",
        {
            "runs": {"nargs": "*", "metavar": "RUN", "help": "runs, or folders of them; left out, the newest run"},
            "--watch": {"action": "store_true", "help": "draw again every few seconds until the runs end, or Ctrl-C"},
            "--tensorboard": {"metavar": "FOLDER", "help": "also write for TensorBoard (extra: tensorboard)"},
        },
    ),
    "explain": Command(
        "tools.explain:explain",
        "Walk two examples by hand, forward and backward, each number beside its formula.",
        "explain --context emm --target a",
        {
            "run": {"nargs": "?", "metavar": "RUN", "help": RUN},
            "--context": {"type": typed, "help": "the characters before the target, from a line's beginning on"},
            "--target": {
                "required": True, "type": typed, "help": "the next character ('' is a line's end), or its number",
            },
            "--logits": {"help": "numbers, to walk the softmax and its gradient alone"},
            "--html": {"metavar": "FILE", "help": "draw the chain as a page instead"},
        },
    ),
    "practice": Command(
        "tools.practice.command:practice",
        "Write the nine derivatives yourself, and be told which is wrong and what was done instead. A file that does"
        " not exist is written with blanks; several make a table. What stands in a file is run: it is your own code.",
        "practice mine.py",
        {
            "paths": {"nargs": "+", "metavar": "FILE", "help": "a backward pass in Python"},
            "--hints": {
                "type": int, "default": 2, "choices": (0, 1, 2),
                "help": "0 the verdict, 1 the place too, 2 also what was done (default)",
            },
        },
    ),
    "gallery": Command(
        "tools.gallery:gallery",
        "Train with each known mistake in a derivative for 3,000 steps, and draw a page of the losses and of the checks"
        " that see it (minutes; extra: report).",
        "gallery gallery.html",
        {"path": {"nargs": "?", "default": "gallery.html", "metavar": "FILE.html", "help": "default: gallery.html"}},
    ),
    "sweep": Command(
        "tools.commands:sweep",
        "Search for better values. Each trial is a run in runs/NAME/, judged by its validation loss, and pruned where"
        " an evaluation (log.eval_every) shows that it is hopeless. The same command goes on where it was stopped; on"
        " another machine, with the same --storage, it joins in. `optuna-dashboard sqlite:///runs/NAME/sweep.db` shows"
        " it in a browser (extra: sweep).",
        "sweep --config configs/names.yaml train.learning_rate=0.01..1 train.optimizer=sgd,adamw",
        {
            "overrides": {
                "nargs": "+", "metavar": "section.key=VALUE",
                "help": "to search: LOW..HIGH (on a logarithmic scale, but for shares and from 0) or A,B,C, of which"
                " alone each combination is tried once; with seed=1,2,3 every seed",
            },
            "--config": {"metavar": "FILE", "required": True, "help": "where the trials begin"},
            "--trials": {"type": int, "default": 50, "metavar": "N", "help": "how many in all, by default 50"},
            "--jobs": {"type": int, "metavar": "N", "help": "how many at once, one core each; by default all cores"},
            "--storage": {"metavar": "URL", "help": "a database for many machines, postgresql://user@host/sweeps"},
            "--name": {"help": "the folder under runs/ and the study; by default the configuration's name"},
            "--no-pruning": {"action": "store_true", "help": "train every trial to its end"},
        },
    ),
}  # fmt: skip
