"""What a check found: one form for all checks, which is that of its row in the log."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(kw_only=True, repr=False)
class Verdict:
    """A number that was found, beside what it should be, and how far they may be apart."""

    name: str  # of the check
    of: str | None = None  # the tensor, place or split that was looked at; None for the whole step
    passed: bool
    error: float  # of the worst entry
    tolerance: float  # there; an error above it is wrong
    found: float
    expected: float
    worst: list[int] | None = None  # the index of that entry
    count: int = 1  # how many entries were compared
    relative: float | None = None  # of a gradient: the largest error over the largest of what is compared
    words: str | None = None  # what a failure or a warning says

    @property
    def severity(self) -> float:
        """The error as a multiple of the tolerance."""
        return self.error / self.tolerance if self.tolerance else np.inf if self.error else 0.0

    def __repr__(self) -> str:
        what = self.name if self.of is None else f"{self.name} of {self.of}"
        numbers = f"{self.found:.6g}, expected {self.expected:.6g}, error {self.error:.2g} of {self.tolerance:.2g}"
        return f"{what} {'passed' if self.passed else 'FAILED'}: {numbers}" + (f"; {self.words}" if self.words else "")


def compare(
    name: str, found: npt.ArrayLike, expected: npt.ArrayLike, tolerance: npt.ArrayLike, of: str | None = None
) -> Verdict:  # fmt: skip
    """Hold every entry against its tolerance: numbers, or arrays of one shape. The verdict tells of the worst entry.

    A number that is not finite, found or expected, exceeds every tolerance but an infinite one.
    """
    found, expected = np.asarray(found), np.asarray(expected)
    with np.errstate(all="ignore"):
        error = np.abs(found - expected)
        excess = error / tolerance  # above 1 is wrong
    if not np.isfinite(excess).all():
        excess = np.where(np.isnan(excess), np.inf, excess)
        excess = np.where((error == 0) | np.isinf(tolerance), 0, excess)
    worst = np.unravel_index(int(excess.argmax()), excess.shape)
    return Verdict(
        name=name,
        of=of,
        passed=bool(excess[worst] <= 1),
        error=float(error[worst]),
        tolerance=float(np.broadcast_to(tolerance, error.shape)[worst]),
        found=float(found[worst]),
        expected=float(expected[worst]),
        worst=[int(i) for i in worst] or None,
        count=error.size,
        relative=float(error.max() / (np.abs(expected).max() or 1)) if name == "gradient" else None,
    )
