"""What is left behind: run folders, their logs and checkpoints, and the session that writes them."""
