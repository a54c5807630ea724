"""What the commands do. What they find goes to stdout; what goes wrong, and the progress, to stderr."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import chain
from pathlib import Path

from filelock import FileLock, Timeout
from tqdm import tqdm

from segmenter import measure
from segmenter.cli.arguments import UsageError, parse
from segmenter.cli.batch import Batch, Outcome, Wanted
from segmenter.cli.describe import describe, description_text, score_facts, score_text
from segmenter.cli.pictures import find
from segmenter.cli.record import LOCK, SUMMARY, Record
from segmenter.config import WeightsError
from segmenter.image import ImageError
from segmenter.predict import WEIGHTS, Segmenter
from segmenter.scoring import ScoreError, read_true_mask, score
from segmenter.tasks import TASKS, Task, get_task

DONE, FAILED, USAGE, STOPPED = 0, 1, 2, 130  # exit codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line, by default that of the process, and return its exit code: 0 where all went well, 1 where
    pictures failed, 2 where it cannot be run as it is, 130 after Ctrl-C."""
    arguments = None
    try:
        arguments = parse(argv)
        code = {"predict": _predict, "info": _info, "score": _score}[arguments.command](arguments)
        sys.stdout.flush()
        return code
    except SystemExit:  # after --help
        return DONE
    except KeyboardInterrupt:
        several = arguments is not None and arguments.command == "predict"
        _say("stopped; what is done stays, and the same command goes on from there." if several else "stopped.")
        return STOPPED
    except BrokenPipeError:  # who reads has enough, as `head` does; nothing more can be written
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except (UsageError, WeightsError) as error:
        _say(f"error: {error}")
        return USAGE
    except (ImageError, ScoreError) as error:
        _say(f"error: {error}")
        return FAILED
    except OSError as error:
        _say(f"error: {str(error.filename or 'the output')!r} cannot be written or read ({error.strerror or error}).")
        return FAILED


def _say(text: str) -> None:
    """A line on stderr, above the progress bar where there is one."""
    tqdm.write(text, file=sys.stderr)


def _task(name: str) -> Task:
    try:
        return get_task(name)
    except ValueError as error:
        raise UsageError(str(error)) from None


def _load(arguments: argparse.Namespace, task: Task, flips: bool = False) -> Segmenter:
    try:
        return Segmenter.load(task, arguments.weights, arguments.device, flips=flips)
    except ValueError as error:
        raise UsageError(str(error)) from None


# ---------------------------------------------------------------- predict


def _predict(arguments: argparse.Namespace) -> int:
    task = _task(arguments.task)
    if arguments.pixel_size is not None:
        try:
            measure.area(1, arguments.pixel_size, task)
        except ValueError as error:
            raise UsageError(str(error)) from None
    if arguments.format == ("objects",) and not task.has_objects:
        raise UsageError(f"the model {task.name} counts no objects, so there is nothing to write; add other formats.")
    found = find(arguments.inputs)
    if found.results:
        _say(f"left out: {found.results} {'picture' if found.results == 1 else 'pictures'} that an earlier run wrote.")
    if not found.pictures:
        raise UsageError(
            next(iter(found.missing.values()), "all these pictures are results of earlier runs; give others.")
        )
    weights = arguments.weights or WEIGHTS / task.name
    wanted = Wanted(task.name, arguments.format, weights, arguments.tta, arguments.pixel_size)
    missing = [Outcome(text, "failed", reason) for text, reason in found.missing.items()]
    counts: Counter[str] = Counter()
    with _record(arguments.out) as record:
        batch = Batch(record, wanted, found.pictures, arguments.force)
        outcomes = batch.run(_load(arguments, task, arguments.tta)) if batch.todo else ()
        try:
            for outcome in chain(missing, batch.skipped, _with_progress(outcomes, len(batch.skipped), len(batch.todo))):
                counts[outcome.status] += 1
                _tell(outcome, arguments.json)
        finally:
            record.write_summary()
    summary = _counted(counts, arguments.out)
    print(summary, file=sys.stderr if arguments.json else sys.stdout)
    return FAILED if counts["failed"] else DONE


@contextmanager
def _record(out: Path) -> Iterator[Record]:
    """The record of a folder of results. UsageError where the folder takes none, or while another run writes there:
    neither would know of the other's names."""
    lock = FileLock(out / LOCK)
    try:
        out.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
        record = Record(out)
    except Timeout:
        raise UsageError(
            f"another run is writing into the folder {str(out)!r}; wait for it, or choose another with --out."
        ) from None
    except OSError as error:
        raise UsageError(
            f"the folder {str(out)!r} cannot be used ({error.strerror or error}); choose another with --out."
        ) from None
    try:
        yield record
    finally:
        lock.release()
        with suppress(OSError):
            (out / LOCK).unlink()


def _with_progress(outcomes: Iterable[Outcome], before: int, todo: int) -> Iterator[Outcome]:
    """Show a bar with the count and the time left while the outcomes come, where stderr is a terminal."""
    bar = tqdm(
        outcomes,
        initial=before,
        total=before + todo,
        unit=" pictures",
        smoothing=0,  # the mean speed tells the time left best
        leave=False,
        dynamic_ncols=True,
        file=sys.stderr,
        disable=not sys.stderr.isatty(),
    )
    yield from bar


def _tell(outcome: Outcome, as_json: bool) -> None:
    if outcome.reason:
        _say(f"failed: {_shown(outcome.path)}: {outcome.reason}")
    if as_json:
        print(json.dumps(asdict(outcome)), flush=True)
    elif outcome.notice and outcome.status == "done":
        _say(f"note: {_shown(outcome.path)}: {outcome.notice}")


def _counted(counts: Counter[str], out: Path) -> str:
    pictures = f"{counts['done']} picture{'' if counts['done'] == 1 else 's'} done"
    skipped = f", {counts['skipped']} skipped that were done before" if counts["skipped"] else ""
    failed = f", {counts['failed']} failed" if counts["failed"] else ""
    where = f"the results are in {_shown(out)}, with a table of all in {_shown(out / SUMMARY)}"
    return f"{pictures}{skipped}{failed}; {where}."


def _shown(path: str | Path) -> str:
    """A path as a terminal can take it, whatever bytes its name holds."""
    return str(path) if str(path).isprintable() else ascii(str(path))


# ---------------------------------------------------------------- info and score


def _info(arguments: argparse.Namespace) -> int:
    tasks = TASKS.values() if arguments.task is None else [_task(arguments.task)]
    for task in tasks:
        facts = describe(task)
        print(json.dumps(facts) if arguments.json else description_text(facts))
    return DONE


def _score(arguments: argparse.Namespace) -> int:
    task = _task(arguments.task)
    for path in (arguments.picture, arguments.true_mask):
        if not path.is_file():
            raise UsageError(f"{str(path)!r} is no file; give a picture and its true mask.")
    result = _load(arguments, task).predict(arguments.picture)
    shape = result.class_ids.shape
    true_ids = read_true_mask(arguments.true_mask, task, (shape[0], shape[1]), arguments.picture.name)
    facts = score_facts(
        task, arguments.picture, arguments.true_mask, score(result.class_ids, true_ids, task), result.notice
    )
    print(json.dumps(facts) if arguments.json else score_text(facts))
    return DONE
