"""The processes that train: one to a core, started again where they die, ended together."""

import multiprocessing
import os
from dataclasses import dataclass
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

from trainer.tools.sweep.worker import Task, work

PAUSE = 0.5  # seconds between two looks at them
FAREWELL = 60  # seconds that a worker has to save its run


@dataclass
class Worker:
    """A process, and the pipe on which it tells the error that ended it."""

    process: BaseProcess
    pipe: Connection


class Workers:
    """The processes that train: one to a core, started again where they die, ended with the block."""

    def __init__(self, task: Task, jobs: int) -> None:
        self.task, self.jobs = task, jobs
        self.workers: dict[int, Worker] = {}

    def __enter__(self) -> "Workers":
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        for worker in self.workers.values():
            worker.process.terminate()
        for worker in self.workers.values():
            worker.process.join(FAREWELL)
            worker.process.kill()
            worker.process.join()

    def keep(self) -> None:
        """Start the workers that are missing, and wait a moment. Raises the error of one that has ended with one."""
        for job in range(self.jobs):
            if job not in self.workers:
                self.workers[job] = start(self.task, job)
        wait([worker.process.sentinel for worker in self.workers.values()], PAUSE)
        for job, worker in list(self.workers.items()):
            if worker.process.is_alive():
                continue
            del self.workers[job]
            if worker.pipe.poll():
                try:
                    raise worker.pipe.recv()
                except EOFError:  # killed, no word said
                    pass
            if (worker.process.exitcode or 0) > 0:
                raise RuntimeError("a worker ended with an error, which stands above")


def start(task: Task, job: int) -> Worker:
    """A process of its own, not a copy of this one, whose threads it would lack."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    core = None
    if hasattr(os, "sched_getaffinity"):
        allowed = sorted(os.sched_getaffinity(0))
        core = allowed[(os.getpid() + job) % len(allowed)]
    process = context.Process(target=work, args=(task, core, sender))
    process.start()
    sender.close()
    return Worker(process, receiver)
