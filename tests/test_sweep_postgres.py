"""A sweep that four machines share through PostgreSQL: four commands, each in a folder of its own. Run by hand.

Needs the programs of PostgreSQL (Debian: postgresql) and psycopg2. The server is started here, in a folder of its own
and on a free port of 127.0.0.1, and stopped at the end.
"""

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import ROOT, Trainer, assert_one_line
from test_sweep_study import FAST_HEART, SEARCHED, ended, trials_of

pytestmark = pytest.mark.postgres

TRIALS = 16
SETTINGS = "train.steps=2000 train.batch_size=4 model.embedding=3 log.every=1000 log.eval_every=100 log.samples=0"


def program(name: str) -> str:
    """Where a program of PostgreSQL is."""
    found = shutil.which(name) or next(map(str, Path("/usr/lib/postgresql").glob(f"*/bin/{name}")), None)
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    return found


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a PostgreSQL of our own, that of the database `sweeps`."""
    pytest.importorskip("psycopg2")
    folder = Path(tempfile.mkdtemp(prefix="sweeps-"))
    # PostgreSQL refuses to run for root; Debian's package makes a user for it.
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    data = str(folder / "data")
    subprocess.run([*as_user, program("initdb"), "-D", data, "-U", "trainer", "-A", "trust"], check=True, cwd=folder)
    options = ["-c", f"port={port}", "-c", "listen_addresses=127.0.0.1", "-c", f"unix_socket_directories={folder}"]
    process = subprocess.Popen([*as_user, program("postgres"), "-D", data, *options], cwd=folder)
    create = [program("createdb"), "-h", "127.0.0.1", "-p", str(port), "-U", "trainer", "sweeps"]
    while subprocess.run(create, check=False, capture_output=True).returncode:
        assert process.poll() is None
        time.sleep(0.2)
    yield f"postgresql+psycopg2://trainer@127.0.0.1:{port}/sweeps"
    process.send_signal(signal.SIGINT)  # its fast shutdown: connections are closed
    process.wait()
    shutil.rmtree(folder)


def machine(name: str, storage: str) -> "subprocess.Popen[bytes]":
    """The command in a folder of its own, with the same text."""
    folder = Path(name)
    folder.mkdir(exist_ok=True)
    shutil.copy("text.txt", folder)
    (folder / "small.yaml").write_text("data: {path: text.txt}\n")
    (folder / "fast_heart.py").write_text(FAST_HEART)
    shared = ["--trials", str(TRIALS), "--jobs", "1", "--storage", storage]
    command = ["sweep", "--config", "small.yaml", "--name", "shared", *SEARCHED.split(), *SETTINGS.split(), *shared]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    pipe = subprocess.PIPE
    return subprocess.Popen(
        [sys.executable, "fast_heart.py", *command], cwd=folder, env=environment, stdout=pipe, stderr=pipe
    )


def test_four_machines_share_a_sweep(trainer: Trainer, place: Path, server: str) -> None:
    machines = [machine(name, server) for name in ("a", "b", "c", "d")]
    lost = machines.pop()
    while not list(Path("d").glob("runs/shared/*/best.npz")):
        assert lost.poll() is None, lost.communicate()
        time.sleep(0.05)
    lost_workers = Path(f"/proc/{lost.pid}/task/{lost.pid}/children").read_text().split()
    for process in (lost.pid, *map(int, lost_workers)):  # a power cut: the workers have no time to give anything back
        os.kill(process, 9)
    lost.wait()

    outcomes = [process.communicate() for process in machines]
    assert [process.returncode for process in machines] == [0, 0, 0], outcomes
    tables = [out.decode().rpartition("best ")[0] for out, _ in outcomes]
    assert tables[0] == tables[1] == tables[2]
    assert list(ended("shared", server)) == list(range(TRIALS))

    # Every run that was finished is a trial, and the other way round: nothing was done twice, nothing is lost.
    finished = [path for path in Path().glob("?/runs/shared/*/metrics.jsonl") if '"event": "end"' in path.read_text()]
    counted = [trial for trial in trials_of("shared", server) if trial.state.name != "FAIL"]
    assert len(finished) == len(counted) == TRIALS

    # Alone, with SQLite, one finds the same.
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    status, _, _ = trainer(
        "sweep",
        "--config",
        "small.yaml",
        "--name",
        "alone",
        *SEARCHED.split(),
        *SETTINGS.split(),
        "--trials",
        str(TRIALS),
    )
    assert status == 0
    assert ended("alone") == ended("shared", server)


def test_a_server_that_does_not_answer(trainer: Trainer, place: Path) -> None:
    pytest.importorskip("psycopg2")
    Path("small.yaml").write_text("data: {path: text.txt}\n")
    url = "postgresql+psycopg2://me:secret@127.0.0.1:1/sweeps"
    outcome = trainer("sweep", "--config", "small.yaml", "train.dropout=0..0.5", "--storage", url)
    assert_one_line(outcome, 2, "cannot reach the store", "postgresql+psycopg2://me:***@127.0.0.1:1/sweeps")
