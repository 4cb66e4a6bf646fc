"""More than two hundred bugs, each of which is planted into a running training by test_planted.py."""

from planted.chain import CHAIN, SPOILED, THREADS
from planted.feeding import BATCHES, MASKED
from planted.forward import FORWARD
from planted.moving import EVALUATION, UPDATES
from planted.operations import EMBEDDINGS, OPERATIONS

BUGS = [*OPERATIONS, *EMBEDDINGS, *FORWARD, *CHAIN, *SPOILED, *THREADS, *BATCHES, *MASKED, *UPDATES, *EVALUATION]
