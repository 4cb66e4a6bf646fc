"""The gallery: what each mistake does to training, and which checks see it."""
