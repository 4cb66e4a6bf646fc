"""Each command: its options, and the call that they become."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

from trainer.errors import UserError

RUN = "a run folder, a folder of runs (its newest is meant) or a checkpoint file; left out, the newest run under runs/"
ESCAPES = {"\\n": "\n", "\\t": "\t", "\\\\": "\\", "\\-": "-"}  # what stands for characters that are hard to type


class Parser(argparse.ArgumentParser):
    """Reports bad usage as every other error: one line."""

    def error(self, message: str) -> NoReturn:
        advice = f"see `{self.prog} --help`"
        if re.match(r"unrecognized arguments: --\w+\.", message):
            advice = "write section.key=value without dashes"
        raise UserError(f"{message}, on the command line; {advice}")


def parser(command: str, about: str, example: str) -> Parser:
    return Parser(
        prog=f"python -m trainer {command}".strip(), description=about, epilog=f"example: {example}", allow_abbrev=False
    )


def typed(word: str) -> str:
    """The text that was typed, in which \\n is the end of a line, \\t a tab and \\\\ a backslash."""
    return re.sub(r"\\[nt\\-]", lambda found: ESCAPES[found.group()], word)


def train_command(arguments: Sequence[str]) -> None:
    command = parser(
        "",
        "Train a character-level language model. Other commands, each with --help: sample, score, report, explain,"
        " practice, gallery, sweep.",
        "python -m trainer --config configs/names.yaml train.steps=5000 --check",
    )
    what = command.add_mutually_exclusive_group(required=True)
    what.add_argument("--config", metavar="FILE", help="train from this configuration")
    what.add_argument(
        "--resume", metavar="RUN", help="go on with a run; only train.steps=N and data.path=FILE can change"
    )
    command.add_argument("overrides", nargs="*", metavar="section.key=value", help="override the configuration")
    command.add_argument("--check", action="store_true", help="cross-check the gradients: check.enabled=true")
    command.add_argument("--name", help="the run's folder under runs/; by default the configuration's name")
    command.add_argument("--from", dest="source", metavar="RUN", help="begin with the parameters of another run")
    command.add_argument(
        "--backward", metavar="FILE", help="train with your own backward pass; the file is run, see `practice`"
    )
    given = command.parse_intermixed_args(arguments)

    from trainer import config
    from trainer.runs.folder import check_name
    from trainer.runs.session import resume, train

    own = None
    if given.backward is not None:
        from trainer.tools.practice.learned import own_backward, refuse_dropout

        own = own_backward(given.backward)
    if given.resume is not None:
        if given.check or given.name is not None or given.source is not None:
            raise UserError("--check, --name, --from do not go with --resume, on the command line; leave them out")
        resume(given.resume, given.overrides, backward=own)
        return
    checked = ["check.enabled=true"] if given.check else []
    settings = config.read(given.config, [*given.overrides, *checked])
    if given.name is None and Path(given.config).stem.startswith("."):
        raise UserError(f"{given.config!a} gives the run no name, on the command line; give --name NAME")
    name = check_name(Path(given.config).stem if given.name is None else given.name)
    if own:
        refuse_dropout(settings)
    train(settings, name, source=given.source, backward=own)


def sample_command(arguments: Sequence[str]) -> None:
    command = parser("sample", "Print text that a trained model makes up.", "python -m trainer sample -n 5 --prompt ma")
    command.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    command.add_argument("-n", type=int, help="how many; by default 20 lines, or 1 running text")
    command.add_argument("--prompt", metavar="TEXT", type=typed, default="", help="how each begins")
    command.add_argument(
        "--temperature", metavar="T", type=float, default=1.0, help="below 1 safer, above 1 wilder, 0 the likeliest"
    )
    command.add_argument(
        "--top-k", metavar="K", type=int, default=0, help="draw from the k likeliest characters; 0 from all"
    )
    command.add_argument("--length", metavar="N", type=int, help="characters at most; default: 100 a line, else 500")
    command.add_argument("--seed", metavar="S", type=int, default=0, help="another seed, other text")
    command.add_argument("--last", action="store_true", help="the newest state, not the one of best validation loss")
    command.add_argument("--new", action="store_true", help="only lines that stand nowhere in the text, each once")
    given = command.parse_args(arguments)

    from trainer.tools.sampling import print_samples

    print_samples(**vars(given))


def score_command(arguments: Sequence[str]) -> None:
    command = parser(
        "score",
        "Print how well a model predicts a text, in nats and bits a character: of files, or of standard input.",
        "python -m trainer score runs/names names.txt --each",
    )
    command.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    command.add_argument("files", nargs="*", metavar="FILE", help="texts; without any, standard input is read")
    command.add_argument("--each", action="store_true", help="each line after its nats, of several files with its file")
    command.add_argument("--surprising", action="store_true", help="of each line, the most surprising first")
    given = command.parse_intermixed_args(arguments)

    from trainer.tools.scoring import print_scores

    run, files = given.run, given.files
    if run is not None and not (Path(run).is_dir() or run.endswith(".npz")):  # it is a text
        run, files = None, [run, *files]
    print_scores(run, files, given.each or given.surprising, given.surprising)


def report_command(arguments: Sequence[str]) -> None:
    command = parser(
        "report",
        "Print a table of runs, and draw report.html of one run, or compare.html of several (extra: report).",
        "python -m trainer report runs/names",
    )
    which = "run folders, or a folder of runs, all of which are meant; left out, the newest run under runs/"
    command.add_argument("runs", nargs="*", metavar="RUN", help=which)
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
        "--context",
        type=typed,
        help="the characters before the target; a line's beginning is filled up with boundaries",
    )
    command.add_argument(
        "--target",
        type=typed,
        required=True,
        help="the character that comes next ('' ends a line), or with --logits its number",
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


def gallery_command(arguments: Sequence[str]) -> None:
    command = parser(
        "gallery",
        "Train with each known mistake in a derivative for 3,000 steps, and draw a page of the losses and of the checks"
        " that see it (minutes; extra: report).",
        "python -m trainer gallery gallery.html",
    )
    command.add_argument("file", nargs="?", default="gallery.html", metavar="FILE.html", help="default: gallery.html")
    given = command.parse_args(arguments)

    from trainer.tools.gallery.command import gallery

    gallery(given.file)


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

    from trainer.runs.threads import cores
    from trainer.tools.sweep.search import sweep

    jobs = cores() if given.jobs is None else given.jobs
    sweep(given.config, given.overrides, given.name, given.trials, jobs, given.storage, not given.no_pruning)


COMMANDS: dict[str, Callable[[Sequence[str]], int | None]] = {
    "sample": sample_command,
    "score": score_command,
    "report": report_command,
    "explain": explain_command,
    "practice": practice_command,
    "gallery": gallery_command,
    "sweep": sweep_command,
}
