"""A sweep that four machines share through PostgreSQL, whose programs it needs, and psycopg2. Run by hand."""

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from conftest import start_process
from test_sweep import load, trained, words

pytestmark = pytest.mark.postgres


@pytest.fixture
def server() -> Iterator[str]:
    """The URL of a PostgreSQL of our own, that of the database `sweeps`."""
    pytest.importorskip("psycopg2")
    programs = next(Path("/usr/lib/postgresql").glob("*/bin"))
    folder = Path(tempfile.mkdtemp(prefix="sweeps-"))
    # PostgreSQL refuses to run for root; Debian's package makes a user for it.
    as_user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"] if os.geteuid() == 0 else []
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    data = str(folder / "data")
    subprocess.run([*as_user, programs / "initdb", "-D", data, "-U", "trainer", "-A", "trust"], check=True, cwd=folder)
    options = ["-p", port, "-h", "127.0.0.1", "-k", str(folder)]
    process = subprocess.Popen([*as_user, programs / "postgres", "-D", data, *options], cwd=folder)
    create = [programs / "createdb", "-h", "127.0.0.1", "-p", port, "-U", "trainer", "sweeps"]
    while subprocess.run(create, check=False, capture_output=True).returncode:
        assert process.poll() is None
        time.sleep(0.2)
    yield f"postgresql+psycopg2://trainer@127.0.0.1:{port}/sweeps"
    process.send_signal(signal.SIGINT)  # its fast shutdown: connections are closed
    process.wait()
    shutil.rmtree(folder)


def test_four_machines_share_a_sweep(place: Path, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rates = [k / 20 for k in range(1, 17)]
    searched = f"train.learning_rate={','.join(map(str, rates))} train.steps=3000 log.eval_every=500 --storage {server}"
    machines = []
    for name in "abcd":
        shutil.copytree(place, place.parent / name)
        monkeypatch.chdir(place.parent / name)
        machines.append(start_process(*words(searched, jobs=1)))
    monkeypatch.chdir(place.parent)
    while not list(Path("d").glob("runs/small/*/best.npz")):
        assert machines[3].poll() is None, machines[3].communicate()
        time.sleep(0.05)
    machines.pop().kill()

    outcomes = [machine.communicate() for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0, 0], outcomes
    assert outcomes[0][0] == outcomes[1][0] == outcomes[2][0]
    assert trained("train.learning_rate") == {(rate, 42): 1 for rate in rates}  # nothing twice, nothing lost
    states = [trial.state.name for trial in load(server).trials]
    assert sorted(set(states) - {"PRUNED"}) == ["COMPLETE", "FAIL"]
