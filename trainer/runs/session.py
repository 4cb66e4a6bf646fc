"""A training from beginning to end: start it or go on with it, and end it well whatever happens."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from trainer.config import Config
from trainer.errors import Interrupted
from trainer.runs import blas, threads
from trainer.runs import checkpoint as checkpoints
from trainer.runs.checkpoint import Checkpoint
from trainer.runs.files import held
from trainer.runs.folder import check_name, create, find, find_checkpoint
from trainer.runs.journal import Journal
from trainer.runs.listening import OnEval, Session
from trainer.runs.resuming import apply_overrides, is_whole, same_backward, same_text, warn_if_edited
from trainer.runs.signals import interruptible, lost
from trainer.runs.starting import OwnBackward, begin, check_memory, record
from trainer.text import corpus as text
from trainer.text.corpus import Corpus


def train(
    config: Config, name: str = "notebook", quiet: bool = False, on_eval: OnEval | None = None,
    source: str | Path | None = None, backward: OwnBackward | None = None,
) -> Path:  # fmt: skip
    """Train a model from the start, or from the parameters of another run.

    Parameters
    ----------
    config
        What `trainer.read_config` gives.
    name
        The folder under `runs/` in which the run gets a folder of its own.
    quiet
        Print nothing, and draw no bar; the files of the run are written all the same.
    on_eval
        Called after each evaluation with the step and the losses of training and validation, in nats per character
        (nan without a validation split). It may return False to stop the run.
    source
        A run or a checkpoint file whose parameters the training begins with. Characters that it does not know begin as
        in any run; its sizes must be those of the configuration.
    backward
        A backward pass in place of the model's, as `python -m trainer --backward FILE` reads it.

    Returns
    -------
    Path
        The run's folder, `runs/NAME/YYYYMMDD-HHMMSS`.

    Raises
    ------
    UserError
        For what the user can mend: a text, a name, a full disk.
    RunFailed
        If a check failed or training diverged.
    Interrupted
        After Ctrl-C, SIGTERM or SIGHUP; the state is saved, and the exception's `run` is the folder.

    Examples
    --------
    >>> run = trainer.train(config, name="example", quiet=True)
    >>> sorted(path.name for path in run.iterdir())
    ['best.npz', 'checkpoint.npz', 'config.yaml', 'metrics.jsonl', 'samples.txt', 'train.log']
    """
    check_name(name)
    corpus = text.load(config.data, config.model.context)
    if source is None:
        checkpoint = begin(config, corpus)
    else:
        file = find_checkpoint(str(source))
        other = checkpoints.load(file)
        checkpoint = begin(config, corpus, other)
        checkpoint.source = f"{file.absolute()}, step {other.step}"
    record(checkpoint, backward)
    folder = create(name)
    with held(folder):
        return carry_out(folder, checkpoint, corpus, quiet, on_eval, backward, fresh=True)


def resume(
    run: str | Path, overrides: Sequence[str] = (), quiet: bool = False, on_eval: OnEval | None = None,
    backward: OwnBackward | None = None,
) -> Path:  # fmt: skip
    """Go on with a run from its newest checkpoint, bit for bit as if it had never stopped.

    Parameters
    ----------
    run
        The run's folder, or a folder of runs, of which the newest is meant.
    overrides
        `train.steps=N` for another number of steps, where `train.schedule` is constant; `data.path=FILE` for a text
        that has moved.
    quiet, on_eval, backward
        As for `trainer.train`; a run that was trained with a backward pass of its own needs it again.

    Returns
    -------
    Path
        The run's folder.

    Raises
    ------
    UserError
        If there is no such run, or its text has changed, or an override cannot be; else as `trainer.train`.

    Examples
    --------
    >>> trainer.resume(run, quiet=True) == run  # it has ended before: its last lines are written again
    True
    """
    folder = find(str(run))
    with held(folder):
        checkpoint = checkpoints.load(folder / "checkpoint.npz")
        warn_if_edited(checkpoint, folder)
        apply_overrides(checkpoint, overrides, folder)
        same_backward(checkpoint, backward, folder)
        check_memory(checkpoint.config, checkpoint.sizes)
        if not is_whole(folder / "best.npz"):
            checkpoint.best_loss = None  # the next evaluation writes it again
        return carry_out(folder, checkpoint, same_text(checkpoint, folder), quiet, on_eval, backward, fresh=False)


def carry_out(
    folder: Path, checkpoint: Checkpoint, corpus: Corpus, quiet: bool, on_eval: OnEval | None,
    backward: OwnBackward | None, fresh: bool,
) -> Path:  # fmt: skip
    """Train to the last step, or to the first signal."""
    with (
        np.errstate(all="ignore"),
        Journal(folder, checkpoint, quiet) as journal,
        interruptible(journal.say) as signals,
        blas.one_thread() as products,
        threads.workers(max(threads.cores(), checkpoint.threads)) as pool,
    ):
        session = Session(checkpoint, corpus, journal, signals, pool, on_eval, backward)
        try:
            session.begin(fresh, products)
            steps = session.steps()
            while not session.stopped and (step := next(steps, None)):
                session.hear(step)
            if session.stopped:
                journal.say(session.stopped)
            session.finish()
        except Interrupted:  # it is a KeyboardInterrupt too, and says all that there is to say
            raise
        except KeyboardInterrupt:  # a second signal, or one that a thread of the caller raised
            raise KeyboardInterrupt(lost(checkpoint.step, session.saved, folder)) from None
    return folder
