"""python -m trainer."""

import signal
import sys

from trainer.tools.command import main

if __name__ == "__main__":
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and saved: Ctrl-C would only make Python end untidily
    sys.exit(status)
