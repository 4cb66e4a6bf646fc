"""In a notebook, with a real kernel: a bar, interrupts that leave kernel and variables alive, tables, pages."""

import asyncio
from pathlib import Path
from typing import Any

import nbformat
import pytest
from conftest import ROOT, SMALL, assert_same, folder, trained
from nbclient import NotebookClient

CELLS = {
    "begin": f"""
import time
from pathlib import Path
import numpy, trainer
config = trainer.read_config({{"data": {{"path": "text.txt"}}}}, {SMALL.split()})
kept = 17
""",
    "train": 'run = trainer.train(config, "whole")',
    "interrupted once": """
def wait(step, train_loss, val_loss):
    Path("here").touch()
    time.sleep(1)
trainer.train(config, "once", on_eval=wait)
""",
    "after one": """
import sys
stopped = sys.last_value
print(kept, type(stopped).__name__, trainer.resume(stopped.run, quiet=True) == stopped.run)
""",
    "interrupted twice": """
def wait(step, train_loss, val_loss):
    Path("here").touch()
    time.sleep(60)
trainer.train(config, "twice", on_eval=wait)
""",
    "after two": 'print(kept, trainer.load_checkpoint(next(Path("runs/twice").iterdir()) / "checkpoint.npz"))',
    "resume": 'trainer.resume("runs/twice", quiet=True)',
}


async def interrupt(client: NotebookClient, times: int) -> None:
    """Interrupt the kernel, as the notebook's button does, once its cell has come so far."""
    while not Path("here").exists():
        await asyncio.sleep(0.01)
    for _ in range(times):
        await client.km.interrupt_kernel()
        await asyncio.sleep(0.6)  # longer than the half second in which a signal is the same one
    Path("here").unlink()


async def execute(notebook: Any) -> None:
    """Run every cell, with the interrupts that some of them get."""
    client = NotebookClient(notebook, timeout=120, allow_errors=True)
    times = {"interrupted once": 1, "interrupted twice": 2}
    async with client.async_setup_kernel():
        for index, (name, cell) in enumerate(zip(CELLS, notebook.cells, strict=True)):
            running = asyncio.create_task(client.async_execute_cell(cell, index))
            if name in times:
                await interrupt(client, times[name])
            await running


def shown(cell: Any) -> str:
    """All that a cell has written, and what it gave back, as text."""
    parts = [output.get("text", "") or output.get("data", {}).get("text/plain", "") for output in cell.outputs]
    return "".join(parts)


def failure(cell: Any) -> tuple[str, str]:
    """The name and the words of the exception with which a cell ended."""
    (error,) = [output for output in cell.outputs if output["output_type"] == "error"]
    return error["ename"], error["evalue"]


@pytest.mark.usefixtures("place")
def test_a_notebook(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in CELLS.values()])
    asyncio.run(execute(notebook))
    cells = dict(zip(CELLS, notebook.cells, strict=True))
    failed = {name for name, cell in cells.items() if any(output["output_type"] == "error" for output in cell.outputs)}
    assert failed == {"interrupted once", "interrupted twice"}

    assert shown(cells["begin"]) == ""
    assert "| 0/24 [00:00<?, ?step/s]" in shown(cells["train"])  # the bar
    assert "step 24: train 2." in shown(cells["train"])
    assert "nan" not in shown(cells["train"])

    run = folder("once")
    answer = "finishing the step; again to stop now"
    told = f"interrupted at step 7, state saved; go on with: python -m trainer --resume {run}"
    assert failure(cells["interrupted once"]) == ("Interrupted", told)
    assert answer in shown(cells["interrupted once"])
    assert shown(cells["after one"]) == "17 Interrupted True\n"

    name, words = failure(cells["interrupted twice"])
    assert name == "KeyboardInterrupt"
    assert words == "stopped at once; --resume goes on from the last state that was saved"
    assert answer in shown(cells["interrupted twice"])
    assert shown(cells["after two"]) == "17 Checkpoint: V 9, K 3, D 3, H 8; step 6\n"
    assert shown(cells["resume"]) == f"PosixPath({str(folder('twice'))!r})"

    # A process of the command computes the same, bit for bit.
    trained("command")
    for name in ("whole", "once", "twice"):
        assert_same(folder("command"), folder(name))
