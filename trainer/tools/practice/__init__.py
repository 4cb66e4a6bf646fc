"""Practice: the learner's own backward pass, judged link by link."""
