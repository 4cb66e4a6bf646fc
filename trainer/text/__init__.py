"""From the bytes of a text to the batches of a training."""
