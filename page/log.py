"""What the server tells its operator: one JSON object a line about each request, never pixels or names of files."""

from __future__ import annotations

import json
import logging
import time
import traceback
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import gradio as gr

from segmenter import Stopped

LOG = logging.getLogger("segmenter.page")
FAULT = "Something went wrong on the server; try again, and tell its operator the request {} if it stays."

Given = ParamSpec("Given")
Made = TypeVar("Made")
_facts: ContextVar[dict[str, Any] | None] = ContextVar("facts", default=None)


class Lines(logging.Formatter):
    """A record as JSON: its time, level and message, and the ``facts`` that came with it."""

    def format(self, record: logging.LogRecord) -> str:
        line = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03}Z",
            "level": record.levelname.lower(),
            "message": record.getMessage(),
            **getattr(record, "facts", {}),
        }
        if record.exc_info and record.exc_info[1]:
            line["traceback"] = where(record.exc_info[1])
        return json.dumps(line)


def start() -> None:
    """Write to stderr: of this program everything, of its libraries warnings."""
    handler = logging.StreamHandler()
    handler.setFormatter(Lines())
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    LOG.setLevel(logging.INFO)


def where(error: BaseException) -> list[str]:
    """The kinds of an error and its causes, and the lines they came from; messages may hold names of files."""
    lines: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        lines += [type(cause).__name__]
        lines += [
            f"{frame.filename}:{frame.lineno} {frame.name}" for frame in traceback.extract_tb(cause.__traceback__)
        ]
        cause = cause.__cause__ or cause.__context__
    return lines


def note(**facts: Any) -> None:
    """Add to what is told of the request under way, where there is one."""
    told = _facts.get()
    if told is not None:
        told.update(facts)


@contextmanager
def request(action: str) -> Iterator[dict[str, Any]]:
    """A line about what happens inside: action, request id, milliseconds, outcome and the facts that are noted.

    The outcome is done, refused (a sentence for the visitor), cancelled, or failed: then the visitor gets a sentence
    with the request's id, and the log where it happened.
    """
    facts: dict[str, Any] = {"request": uuid.uuid4().hex[:12], "action": action, "outcome": "done"}
    _facts.set(facts)
    started = time.perf_counter()
    fault: Exception | None = None
    try:
        yield facts
    except gr.Error:
        facts["outcome"] = "refused"
        raise
    except GeneratorExit:  # whoever waited for more is gone
        facts["outcome"] = "cancelled"
        raise
    except Stopped as error:  # whoever asked is gone; Gradio would print where
        facts["outcome"] = "cancelled"
        raise gr.Error(str(error), print_exception=False) from error
    except Exception as error:
        facts["outcome"], fault = "failed", error
        raise gr.Error(FAULT.format(facts["request"]), print_exception=False) from error
    finally:
        facts["milliseconds"] = round(1000 * (time.perf_counter() - started))
        LOG.log(logging.ERROR if fault else logging.INFO, "request", exc_info=fault, extra={"facts": facts})


def logged(action: str) -> Callable[[Callable[Given, Made]], Callable[Given, Made]]:
    """A handler whose every call is a ``request``."""

    def wrap(handler: Callable[Given, Made]) -> Callable[Given, Made]:
        @wraps(handler)
        def run(*args: Given.args, **kwargs: Given.kwargs) -> Made:
            with request(action):
                return handler(*args, **kwargs)

        return run

    return wrap
