"""Every moment of a call: what another thread, or a signal's handler, may do between two
instructions of Python."""

from __future__ import annotations

import dis
import inspect
import sys
from collections.abc import Callable, Iterable, Iterator
from types import CodeType, FrameType
from typing import Any

# After these CPython looks for signals: not between a lock's __enter__ and its `with` block, nor
# where a function of Python returns.
LOOKS = "CALL", "RESUME", "JUMP_BACKWARD", "JUMP_ABSOLUTE"


class Interrupted(KeyboardInterrupt):
    """As Ctrl-C raises it."""


def code_of(function: Any) -> CodeType:
    """Of a function, a property, or what a decorator has made of one."""
    function = getattr(function, "fget", function)
    code: CodeType = getattr(function, "__wrapped__", function).__code__
    return code


class Moment:
    """Within this, `do` is called before instruction number n of those of some functions."""

    def __init__(self, codes: set[CodeType], n: int, do: Callable[[], Any], signals: bool) -> None:
        self.codes, self.left, self.do, self.signals = codes, n, do, signals
        self.came = False
        self.last: dict[FrameType, str] = {}  # instruction of a frame

    def __enter__(self) -> Moment:
        self.before = sys.gettrace()
        sys.settrace(self._called)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self.before)
        self.last.clear()

    def _called(self, frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_back in self.last and not frame.f_code.co_flags & inspect.CO_GENERATOR:
            self.last[frame.f_back] = ""
        if frame.f_code not in self.codes or self.came:
            return None
        frame.f_trace_opcodes = True
        return self._instruction

    def _instruction(self, frame: FrameType, event: str, _: Any) -> Any:
        if event == "opcode" and not self.came:
            last = self.last.get(frame, "")
            self.last[frame] = dis.opname[frame.f_code.co_code[frame.f_lasti]]
            self.left -= not self.signals or last.startswith(LOOKS)
            if self.left < 0:
                self.came = True
                sys.settrace(None)
                self.do()
        return self._instruction


def moments(functions: Iterable[Any], do: Callable[[], Any], step: int = 1) -> Iterator[Moment]:
    """One `Moment` after another, until `do` has not been called: the functions had ended."""
    return _each({code_of(one) for one in functions}, do, step, False)


def interrupts(functions: Iterable[Any], step: int = 1) -> Iterator[Moment]:
    """Likewise, with Ctrl-C where it can come."""

    def interrupt() -> None:
        raise Interrupted

    return _each({code_of(one) for one in functions}, interrupt, step, True)


def _each(
    codes: set[CodeType], do: Callable[[], Any], step: int, signals: bool
) -> Iterator[Moment]:
    n = 0
    while True:
        moment = Moment(codes, n, do, signals)
        yield moment
        if not moment.came:
            assert n, "no instruction of these functions was seen"
            return
        n += step
