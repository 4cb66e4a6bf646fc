"""Inputs for each reader that are right on the outside and wrong inside: each is made from a seed, so that it can be
made again."""
