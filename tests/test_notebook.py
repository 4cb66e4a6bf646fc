"""In a notebook, with a real kernel: a bar, and an interrupt that leaves kernel and variables alive."""

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
    "interrupted": """
def wait(step, train_loss, val_loss):
    Path("here").touch()
    time.sleep(1)
trainer.train(config, "once", on_eval=wait)
""",
    "after": """
import sys
stopped = sys.last_value
print(kept, type(stopped).__name__, trainer.resume(stopped.run, quiet=True) == stopped.run)
""",
}


async def execute(notebook: Any) -> None:
    """Run every cell, and interrupt one, as the notebook's button does, once it has come so far."""
    client = NotebookClient(notebook, timeout=120, allow_errors=True)
    async with client.async_setup_kernel():
        for index, (name, cell) in enumerate(zip(CELLS, notebook.cells, strict=True)):
            running = asyncio.create_task(client.async_execute_cell(cell, index))
            while name == "interrupted" and not Path("here").exists():
                await asyncio.sleep(0.01)
            if name == "interrupted":
                await client.km.interrupt_kernel()
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
    assert failed == {"interrupted"}

    assert shown(cells["begin"]) == ""
    assert "| 0/24 [00:00<?, ?step/s]" in shown(cells["train"])  # the bar
    assert "step 24: train 2." in shown(cells["train"])
    assert "nan" not in shown(cells["train"])

    run = folder("once")
    told = f"interrupted at step 7, state saved; go on with: python -m trainer --resume {run}"
    assert failure(cells["interrupted"]) == ("Interrupted", told)
    assert "finishing what has begun; again to stop now" in shown(cells["interrupted"])
    assert shown(cells["after"]) == "17 Interrupted True\n"

    # A process of the command computes the same, bit for bit.
    trained("command")
    for name in ("whole", "once"):
        assert_same(folder("command"), folder(name))
