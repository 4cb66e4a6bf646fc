"""What verdicts mean, in words for people: which link is broken, and what is worth a warning."""

from collections.abc import Sequence

from trainer.config import Config
from trainer.links import LINKS
from trainer.model import NAMES
from trainer.verdicts import Descent, Direction, Gradient, InitialLoss, SumToZero, Verdict


def blame(verdicts: Sequence[Verdict], config: Config) -> str | None:
    """Which link is broken; None if every verdict that can fail has passed."""
    failed = [verdict for verdict in verdicts if not verdict.passed and not isinstance(verdict, InitialLoss)]
    if not failed:
        return None
    wrong = [verdict.tensor for verdict in failed if isinstance(verdict, Gradient)]
    if set(wrong) == set(NAMES):
        return (
            "every inner gradient is right and every parameter's is wrong: look at gradients, which adds up the parts"
        )
    return describe(failed[0], config)


def describe(verdict: Verdict, config: Config) -> str:
    """What is wrong, and where to look."""
    match verdict:
        case Gradient():
            return describe_gradient(verdict, config)
        case SumToZero(value=value, atol=atol):
            return (
                "p - y does not sum to zero: look at softmax and softmax_cross_entropy_backward, dlogits = (p - y) / B;"
                f" largest sum {value:.3e}, at most {atol:.3e} by rounding"
            )
        case Direction(by_hand=by_hand, numerical=numerical):
            return (
                "the gradient is wrong in an entry that was not drawn: run with check.coordinates=all;"
                f" along a random direction by hand {by_hand:.6e}, numerical {numerical:.6e}"
            )
        case Descent(predicted=predicted, actual=actual):
            return (
                "a small step against the gradient does not lower the loss as predicted: look at the gradients of the"
                f" parameters; predicted {predicted:.3e}, actual {actual:.3e}"
            )
    return repr(verdict)


def describe_gradient(verdict: Gradient, config: Config) -> str:
    """What was right before it, the operation, its formula, and the worst entry."""
    link, train = LINKS[verdict.tensor], config.train
    right = "".join(f"d{name} is right, " for name in link.needs)
    operation, formula = link.backward, link.formula
    if verdict.tensor == "z" and train.dropout:
        operation, formula = f"{operation} or dropout_backward", "dz = dh · mask · (1 - tanh²)"
    if verdict.tensor == "C" and (train.embedding_dropout or train.context_dropout):
        operation, formula = f"{operation} or dropout_backward", "dC[v] = sum of demb · mask where v stands"
    return (
        f"{right}d{verdict.tensor} is wrong: look at {operation} (forward: {link.forward}), {formula};"
        f" worst at {verdict.worst}: by hand {verdict.by_hand:.4e}, numerical {verdict.numerical:.4e}"
    )


def warning(verdicts: Sequence[Verdict]) -> str | None:
    """What is no failure but worth a word, with its likely cause."""
    for verdict in verdicts:
        if isinstance(verdict, InitialLoss) and not verdict.passed:
            return "the first loss is not close to log V: the output weights are too large at the start"
    return None
