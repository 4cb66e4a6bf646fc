"""What is left behind: the run folder, its log, its metrics, its checkpoints."""

import errno
import hashlib
import io
import json
import os
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from tqdm import tqdm

from trainer import config as configuration
from trainer import optim
from trainer.config import Config
from trainer.errors import UserError
from trainer.model import NAMES, Parameters, Sizes, zeros
from trainer.ops import Array

try:
    import fcntl
except ImportError:  # Windows: runs work, two writers are not kept apart
    fcntl = None  # type: ignore[assignment]

FORMAT = 1
RUNS = Path("runs")
# The random streams of a seed, each with generators of its own. A seed sequence fills up with zeros, so that [seed, s]
# and [seed, s, 0] are one stream: the initial weights need a number apart from the batches'.
TRAINING, CHECKS, SAMPLES, WEIGHTS = 1, 2, 3, 4


@dataclass
class Checkpoint:
    """All that resuming and sampling need. Seed and step are the state of the random streams."""

    config: Config
    vocabulary: str
    parameters: Parameters
    state: dict[str, Array] = field(default_factory=dict)  # of the optimiser
    step: int = 0  # updates done
    best_loss: float | None = None  # validation, nats
    best_step: int = 0
    seconds: float = 0.0
    threads: int = 1
    checks: dict[str, dict[str, Any]] = field(default_factory=dict)
    metrics_length: int = 0  # bytes of metrics.jsonl
    fingerprint: str = ""  # of the text
    opening: str = ""  # the first characters of the text, where sampling a stream starts

    @property
    def sizes(self) -> Sizes:
        """The model's sizes, as configuration and vocabulary give them."""
        return sizes_of(self.config, self.vocabulary)


# What a checkpoint holds besides its configuration and arrays, and of which type.
ARRAYS = ("config", "parameters", "state")
META: dict[str, Any] = {f.name: f.type for f in fields(Checkpoint) if f.name not in ARRAYS} | {"checks": dict}


def sizes_of(config: Config, vocabulary: str) -> Sizes:
    """Vocabulary, context, embedding, hidden units."""
    return Sizes(len(vocabulary), config.model.context, config.model.embedding, config.model.hidden)


def cores() -> int:
    """Processors this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextmanager
def disk(path: Path) -> Iterator[None]:
    """Say which file the disk refused, in one line."""
    try:
        yield
    except OSError as error:
        raise UserError(
            f"cannot write ({error.strerror}), {path.absolute()}; make room or give the folder write permission,"
            " then try again; a run goes on with --resume"
        ) from None


def create(name: str) -> Path:
    """An empty folder runs/NAME/YYYYMMDD-HHMMSS that no other run has."""
    with disk(RUNS / name):
        (RUNS / name).mkdir(parents=True, exist_ok=True)
        while True:
            folder = RUNS / name / time.strftime("%Y%m%d-%H%M%S")
            try:
                folder.mkdir()
                return folder
            except FileExistsError:
                time.sleep(0.1)  # until the next second


def check_name(name: str) -> str:
    """The name, if it is one plain folder name under runs/."""
    if not 0 < len(name) <= 100 or name.startswith(".") or not name.isprintable() or set(name) & set("/\\"):
        raise UserError(f"--name {name!a} is no folder name, under {RUNS.absolute()}; use letters, digits, - and _")
    return name


class Journal:
    """metrics.jsonl, train.log and the progress bar of a run, held by one process."""

    def __init__(self, folder: Path, c: Checkpoint) -> None:
        self.folder = folder
        with disk(folder):
            self.metrics = open(folder / "metrics.jsonl", "a+b", buffering=0)  # noqa: SIM115
            if fcntl:
                try:
                    fcntl.flock(self.metrics, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    where = folder.absolute()
                    raise UserError(f"another process is writing this run, {where}; wait for it or stop it") from None
            self.metrics.seek(0)
            # Rows after the checkpoint are written again, and so is a row that a crash cut short.
            size = os.fstat(self.metrics.fileno()).st_size
            self.length = self.metrics.read(min(c.metrics_length, size)).rfind(b"\n") + 1
            self.metrics.truncate(self.length)
            self.log = open(folder / "train.log", "a", buffering=1, encoding="utf-8")  # noqa: SIM115
        text = yaml.safe_dump(configuration.to_dict(c.config), sort_keys=False, allow_unicode=True)
        write_whole(folder / "config.yaml", text.encode())
        steps = c.config.train.steps
        self.bar = tqdm(total=steps, initial=c.step, unit="step", disable=None, dynamic_ncols=True, leave=False)

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        self.bar.close()
        with suppress(UserError, OSError):  # a full disk is told by the error that is on its way
            if error is not None and str(error):
                self.write_log(str(error))
        for file in (self.metrics, self.log):
            with suppress(OSError):
                file.close()

    def sync(self) -> None:
        """The rows so far are on the disk, before a checkpoint counts on them."""
        with disk(self.folder / "metrics.jsonl"):
            os.fsync(self.metrics.fileno())

    def row(self, event: str, **values: Any) -> None:
        """One row, one write."""
        row = json.loads(json.dumps({"event": event, **values}), parse_constant=lambda _: None)  # JSON has no nan
        line = json.dumps(row).encode() + b"\n"
        with disk(self.folder / "metrics.jsonl"):
            if self.metrics.write(line) != len(line):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self.length += len(line)

    def write_log(self, line: str) -> None:
        with disk(self.folder / "train.log"):
            self.log.write(time.strftime("%Y-%m-%d %H:%M:%S ") + line + "\n")

    def say(self, line: str) -> None:
        """A line of the story, for people."""
        self.write_log(line)
        tqdm.write(line, file=sys.stderr)

    def progress(self, step: int, note: str) -> None:
        self.bar.set_postfix_str(note, refresh=False)
        self.bar.update(step - self.bar.n)

    def conclude(self, lines: list[str]) -> None:
        """The results, on standard output."""
        self.bar.close()
        for line in lines:
            self.write_log(line)
            print(line)


def write_whole(path: Path, data: bytes) -> None:
    """Replace a file in one step: at every moment it is the old one or the new one, whole."""
    aside = path.with_name(f".{path.name}.tmp")
    with disk(path):
        try:
            with open(aside, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            os.replace(aside, path)
        except BaseException:
            aside.unlink(missing_ok=True)
            raise
        if os.name == "posix":
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def save(path: Path, c: Checkpoint) -> None:
    """Write a checkpoint as .npz: C, W1, b1, W2, b2, the optimiser's vectors, the rest as JSON, a checksum."""
    meta = {"format": FORMAT, "config": configuration.to_dict(c.config), **{key: getattr(c, key) for key in META}}
    arrays = {name: getattr(c.parameters, name) for name in NAMES}
    arrays |= {"optimizer_" + name: vector for name, vector in c.state.items()}
    arrays["meta"] = np.frombuffer(json.dumps(meta).encode(), np.uint8)
    arrays["checksum"] = np.frombuffer(checksum(arrays), np.uint8)
    room = io.BytesIO()
    np.savez(room, **arrays)
    write_whole(path, room.getvalue())


def checksum(arrays: dict[str, Array]) -> bytes:
    """SHA-256 over the names, types, shapes and bytes of all arrays."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = arrays[name]
        digest.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        digest.update(array.tobytes())
    return digest.digest()


def load(path: Path) -> Checkpoint:
    """Read a checkpoint; nothing in it is executed. Raises UserError if it is damaged, foreign or from the future."""
    path = path.absolute()
    try:
        data = path.read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the checkpoint, {path}: {error.strerror}; give the path of a run") from None
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Before any array's header is believed: sizes are those of the file, and the bytes are whole.
            if any(member.compress_type for member in archive.infolist()) or archive.testzip():
                raise ValueError
        with np.load(io.BytesIO(data), allow_pickle=False) as archive:
            arrays = {name: archive[name] for name in archive.files}
        stored = arrays.pop("checksum").tobytes()
        right = stored == checksum(arrays)
        meta = json.loads(arrays.pop("meta").tobytes())
        version = meta.pop("format")
    except Exception:  # whatever a damaged archive makes zipfile, NumPy or json raise
        raise UserError(f"not a checkpoint, or a damaged one, {path}; use another file of the run") from None
    if version != FORMAT:
        raise UserError(f"a checkpoint of format {version!a}, this program reads {FORMAT}, {path}; use its own version")
    if not right:
        raise UserError(f"a damaged checkpoint (its checksum differs), {path}; use another file of the run")
    try:
        return unpack(arrays, meta, path)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        raise UserError(f"not a checkpoint of this program, {path}; use another file of the run") from None


def unpack(arrays: dict[str, Array], meta: dict[str, Any], path: Path) -> Checkpoint:
    """A Checkpoint from the parts of its file. Raises ValueError and the like if they do not fit each other."""
    if meta.keys() != META.keys() | {"config"} or not all(isinstance(meta[key], META[key]) for key in META):
        raise TypeError
    config, vocabulary = configuration.build(meta.pop("config"), str(path)), meta["vocabulary"]
    sizes, dtype = sizes_of(config, vocabulary), np.dtype(config.model.dtype)
    if any(arrays[name].shape != sizes.shapes()[name] or arrays[name].dtype != dtype for name in NAMES):
        raise ValueError
    p = zeros(sizes, dtype)
    for name in NAMES:
        getattr(p, name)[...] = arrays.pop(name)
    c = Checkpoint(config, parameters=p, state={k.removeprefix("optimizer_"): v for k, v in arrays.items()}, **meta)
    state = optim.initial_state(config.train, p)
    if (
        {k: (v.shape, v.dtype) for k, v in state.items()} != {k: (v.shape, v.dtype) for k, v in c.state.items()}
        or len(set(vocabulary)) != sizes.V
        or sizes.V < 2
        or min(c.step, c.metrics_length) < 0
        or not 0 < c.threads <= config.train.batch_size
        or len(c.opening) != (sizes.K if config.data.mode == "stream" else 0)
    ):
        raise ValueError
    return c


def find(run: str | None) -> Path:
    """The run folder that is meant: itself, the newest in a folder of runs, the newest of all if left out."""
    start = Path(run) if run is not None else RUNS
    if not os.path.exists(start):
        what = "no run yet" if run is None else "no such run"
        raise UserError(f"{what}, {str(start.absolute())!a}; train first, or give the path of a run")
    if start.is_file():
        return start.parent
    if (start / "checkpoint.npz").exists():
        return start
    found = [path.parent for path in start.rglob("checkpoint.npz")]
    if not found:
        raise UserError(f"no run in this folder, {start.absolute()}; train first, or give the path of a run")
    return max(found, key=lambda folder: (folder.name, (folder / "checkpoint.npz").stat().st_mtime_ns))


def find_checkpoint(run: str | None) -> Path:
    """The checkpoint that is meant: a file itself, else the run's best one, else its newest."""
    if run is not None and os.path.isfile(run):
        return Path(run)
    folder = find(run)
    return folder / ("best.npz" if (folder / "best.npz").exists() else "checkpoint.npz")


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """All whole rows of metrics.jsonl."""
    try:
        data = (folder / "metrics.jsonl").read_bytes()
    except OSError as error:
        raise UserError(f"cannot read the metrics, {folder.absolute()}: {error.strerror}; give a run folder") from None
    try:
        rows = [json.loads(line) for line in data[: data.rfind(b"\n") + 1].splitlines()]
    except ValueError:
        rows = [None]
    if not all(isinstance(row, dict) and "event" in row for row in rows):
        raise UserError(f"damaged metrics (a line is no row), {folder.absolute()}; look at metrics.jsonl")
    return rows
