"""python -m trainer."""

import os
import signal
import sys

# A step is split over threads here; a BLAS that starts its own as well would fight it for the cores. Read when NumPy is
# first imported, which is below.
for variable in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

try:
    from trainer.tools.command import main
except KeyboardInterrupt:  # Ctrl-C before anything has begun
    sys.exit(130)

if __name__ == "__main__":
    status = main()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):  # all is said and saved: a signal only makes Python end untidily
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    sys.exit(status)
