"""Two hundred bugs, each of which is planted into a running training by test_planted.py."""

from planted.gradients import CHAIN, OPERATIONS, SUMS
from planted.steps import EVALUATION, FEEDING, FORWARD, UPDATES

BUGS = [*OPERATIONS, *CHAIN, *SUMS, *FORWARD, *FEEDING, *UPDATES, *EVALUATION]
