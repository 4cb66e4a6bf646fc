"""python -m trainer."""

import signal
import sys

try:
    from trainer.tools.command import main
except KeyboardInterrupt:  # Ctrl-C before anything has begun
    sys.exit(130)

if __name__ == "__main__":
    status = main()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # all is said and saved: Ctrl-C would only make Python end untidily
    sys.exit(status)
