"""Write runs for TensorBoard: one event file for each, replaced as a whole when it is written again."""

import io
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from trainer import regular
from trainer.errors import UserError, printable, quoted
from trainer.runs.files import write_whole
from trainer.runs.metrics import Row
from trainer.tools.report.rows import flatten
from trainer.tools.report.run import Run, is_finite
from trainer.tools.report.strip import row_name

FILE = "events.out.tfevents.0.trainer"  # TensorBoard reads what has `tfevents` in its name
SCALARS = {
    "step": (
        "loss",
        "epoch",
        "learning_rate",
        "grad_norm",
        "saturated",
        "steps_per_second",
        "update_ratio",
        "grad_ratio",
    ),
    "eval": ("train_loss", "val_loss"),
    "end": ("train_loss", "val_loss", "test_loss"),
}
ERRORS = ("value", "max_abs_error", "max_rel_error")


def export(runs: Sequence[Run], folder: Path) -> None:
    """Write each run into a folder of its own below `folder`. Raises UserError without TensorBoard's package."""
    try:
        from tensorboard.summary.writer.record_writer import RecordWriter
    except ModuleNotFoundError:
        raise UserError(
            "--tensorboard needs a package, on the command line; pip install 'handmade-char-lm[tensorboard]'"
        ) from None
    for run in runs:
        place = folder / run.name
        make_folder(place)
        room = io.BytesIO()
        writer = RecordWriter(room)
        for event in events(run):
            writer.write(event.SerializeToString())
        write_whole(place / FILE, room.getvalue())
    print(f"written to {printable(str(folder))}; see it with: tensorboard --logdir {quoted(folder)}")


def make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write ({error.strerror}), {folder.absolute()}; give another folder") from None


def events(run: Run) -> Iterator[Any]:
    """What TensorBoard calls events: first the version of their format, then one for each row, then the samples."""
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary

    begin = began(run.folder)
    yield Event(wall_time=begin, file_version="brain.Event:2")
    for row in run.log.rows:
        values = [Summary.Value(tag=tag, simple_value=value) for tag, value in scalars(row)]
        values += [Summary.Value(tag=tag, histo=histogram) for tag, histogram in histograms(row)]
        if values and "step" in row:
            yield Event(wall_time=begin + (row.get("time") or 0), step=row["step"], summary=Summary(value=values))
    text = regular.text(run.folder / "samples.txt")
    if text:
        yield Event(wall_time=begin, step=run.steps_done, summary=Summary(value=[text_value("samples", text)]))


def began(folder: Path) -> float:
    """When a run began, in seconds since 1970, as the name of its folder tells."""
    try:
        return time.mktime(time.strptime(folder.absolute().name[:15], "%Y%m%d-%H%M%S"))
    except (ValueError, OverflowError):
        return 0.0


def scalars(row: Row) -> Iterator[tuple[str, float]]:
    """Tags and values of a row; what is no number is left out."""
    if row["event"] == "check":
        pairs = [(f"check/{key}/{row_name(row)}", row.get(key)) for key in ERRORS]
    else:
        wanted = {key: row[key] for key in SCALARS.get(row["event"], ()) if key in row}
        pairs = [(f"{row['event']}/{key.replace('.', '/')}", value) for key, value in flatten(wanted).items()]
    for tag, value in pairs:
        if is_finite(value):
            yield tag, float(value)


def histograms(row: Row) -> Iterator[tuple[str, Any]]:
    """Tags and histograms of an evaluation. The sums that the log does not keep are those of the bins' middles."""
    from tensorboard.compat.proto.summary_pb2 import HistogramProto

    for name, stored in (row.get("histograms") or {}).items():
        counts, (low, high) = np.array(stored["counts"], float), stored["range"]
        if not (is_finite(low) and is_finite(high)):
            continue
        with np.errstate(over="ignore"):  # the sums of numbers near the largest are infinite
            edges = np.linspace(low, high, len(counts) + 1)
            middles = edges[:-1] / 2 + edges[1:] / 2
            total, squares = counts @ middles, counts @ middles**2
        yield (
            name,
            HistogramProto(
                min=low,
                max=high,
                num=counts.sum(),
                sum=total,
                sum_squares=squares,
                bucket_limit=edges[1:].tolist(),
                bucket=counts.tolist(),
            ),
        )


def text_value(tag: str, text: str) -> Any:
    """A text as TensorBoard's plugin of that name reads it: Markdown, in which four blanks keep a line as it is."""
    from tensorboard.compat.proto.summary_pb2 import Summary, SummaryMetadata
    from tensorboard.compat.proto.tensor_pb2 import TensorProto
    from tensorboard.compat.proto.tensor_shape_pb2 import TensorShapeProto
    from tensorboard.compat.proto.types_pb2 import DT_STRING

    kept = "\n".join("    " + line for line in text.splitlines())
    shape = TensorShapeProto(dim=[TensorShapeProto.Dim(size=1)])
    tensor = TensorProto(dtype=DT_STRING, tensor_shape=shape, string_val=[kept.encode()])
    plugin = SummaryMetadata.PluginData(plugin_name="text")
    return Summary.Value(tag=tag, tensor=tensor, metadata=SummaryMetadata(plugin_data=plugin))
