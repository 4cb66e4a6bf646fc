"""What a check found: one small class for each kind of check, whose fields are those of its row in the log."""

from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True, kw_only=True, repr=False)
class Verdict:
    """What every check says: its name, and whether it passed."""

    name: str
    passed: bool

    def __post_init__(self) -> None:
        """NumPy's numbers become Python's, for the log and for people who read it."""
        for name, value in vars(self).items():
            if isinstance(value, np.generic):
                object.__setattr__(self, name, value.item())

    @property
    def severity(self) -> float:
        """How bad it is, to find the worst one of its kind."""
        return 0.0

    def row(self) -> dict[str, Any]:
        """Plain values for the log."""
        return dict(vars(self))

    def __repr__(self) -> str:
        shown = {k: value for k, value in self.row().items() if k not in ("name", "passed") and value not in (None, "")}
        numbers = ", ".join(f"{key} {v:.4g}" if isinstance(v, float) else f"{key} {v}" for key, v in shown.items())
        return f"{self.name} {'passed' if self.passed else 'FAILED'}: {numbers}"


@dataclass(frozen=True, kw_only=True, repr=False)
class Gradient(Verdict):
    """One tensor's gradient by hand beside its numerical one."""

    name: str = "gradient"
    tensor: str
    method: str
    coordinates: int | str  # entries compared, or "directions"
    max_abs_error: float
    max_rel_error: float  # the largest error over the largest numerical value
    rtol: float
    atol: float
    worst: list[int] | None  # where
    by_hand: float
    numerical: float

    @property
    def severity(self) -> float:
        return self.max_rel_error


@dataclass(frozen=True, kw_only=True, repr=False)
class Direction(Verdict):
    """The slope along a random direction through all parameters, by hand and numerical."""

    name: str = "direction"
    by_hand: float
    numerical: float
    rtol: float
    atol: float

    @property
    def severity(self) -> float:
        return abs(self.by_hand - self.numerical) / (max(abs(self.by_hand), abs(self.numerical)) or 1)


@dataclass(frozen=True, kw_only=True, repr=False)
class Descent(Verdict):
    """How far a small step against the gradient lowers the loss, in nats."""

    name: str = "descent"
    predicted: float
    actual: float
    ratio: float

    @property
    def severity(self) -> float:
        return abs(self.ratio - 1)


@dataclass(frozen=True, kw_only=True, repr=False)
class SumToZero(Verdict):
    """The largest sum of a row of dlogits."""

    name: str = "sum_to_zero"
    value: float
    atol: float

    @property
    def severity(self) -> float:
        return self.value


@dataclass(frozen=True, kw_only=True, repr=False)
class InitialLoss(Verdict):
    """The first loss beside log V, in nats."""

    name: str = "initial_loss"
    value: float
    expected: float
    atol: float

    @property
    def severity(self) -> float:
        return abs(self.value - self.expected)
