"""Memory that a command will need, held against that of the machine before it is asked for."""

import math
import os

from trainer.errors import UserError


def of_machine() -> float:
    """Bytes of memory; infinite where the system does not tell."""
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if hasattr(os, "sysconf") else math.inf


def require(needed: float, what: str, where: str, advice: str) -> None:
    """Raise UserError if that many bytes are more than the machine has."""
    if needed > of_machine():
        sizes = f"{needed / 2**30:,.0f} GiB and the machine has {of_machine() / 2**30:,.0f}"
        raise UserError(f"{what} needs {sizes}, {where}; {advice}")
