"""Training data that comes in blocks (X, y), read ahead on a thread: larger than memory, too."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import copy_context
from typing import Any, cast

import numpy as np

from fastnn.network.arrays import CSR, Features, as_pair
from fastnn.network.spec import NetworkSpec

AHEAD = 2  # blocks that wait, beside the one in use and the one being read
POLL = 0.05  # seconds until a full queue's producer looks whether it is still wanted


Source = Iterable[Any] | Callable[[], Iterable[Any]]


class Stream:
    """Blocks of training data, from an iterable or from a callable that returns an iterator."""

    def __init__(self, source: Source, network: NetworkSpec) -> None:
        self._source = source
        self._network = network
        self.error: BaseException | None = None  # what the source raised, or a bad block's

    @contextmanager
    def blocks(self) -> Iterator[Iterator[tuple[Features, np.ndarray]]]:
        """One pass over the source: its blocks, checked, while a thread reads the next ones.

        The thread ends with the context: after the block that it is reading.
        """
        from queue import Empty, Full, Queue  # here: a fit without a stream does not need them

        queue: Queue[tuple[Any, BaseException | None]] = Queue(AHEAD)
        done = threading.Event()

        def put(item: tuple[Any, BaseException | None]) -> None:
            while not done.is_set():
                try:
                    return queue.put(item, timeout=POLL)
                except Full:
                    continue

        def read() -> None:
            try:
                source = self._source() if callable(self._source) else self._source
                iterator = iter(source)
                try:
                    for number, block in enumerate(iterator, 1):
                        put((self._checked(block, number), None))
                        if done.is_set():
                            break
                finally:
                    close = getattr(iterator, "close", None)  # a generator's files
                    if close is not None:
                        close()
                put((None, None))
            except BaseException as error:  # raised on where the blocks are used
                put((None, error))

        def received() -> Iterator[tuple[Features, np.ndarray]]:
            while True:
                block, error = queue.get()
                if error is not None:
                    self.error = error
                    raise error
                if block is None:
                    return
                yield block

        # In this context: what a source does counts as done by its fit.
        run = copy_context().run
        thread = threading.Thread(target=run, args=(read,), name="fastnn-stream", daemon=True)
        thread.start()
        try:
            yield received()
        finally:
            done.set()
            try:
                queue.get_nowait()  # so that it need not wait to put
            except Empty:
                pass
            thread.join(1.0)  # no longer: an interrupt must not wait for a slow source

    def _checked(self, block: Any, number: int) -> tuple[Features, np.ndarray]:
        if not isinstance(block, (tuple, list)) or len(block) != 2:
            kind = type(block).__name__
            raise TypeError(f"block {number}: a stream must yield pairs (X, y), got {kind}")
        try:
            X, y = as_pair(block[0], block[1], self._network, to_train=True)
        except (TypeError, ValueError) as error:
            raise type(error)(f"block {number}: {error}") from None
        return _owned(X), _owned(y)


def _owned(array: Any) -> Any:
    """A copy, as it lies, of what may be the source's own memory: it reads on, perhaps into it,
    before this block is used."""
    if isinstance(array, CSR):
        return CSR(
            _owned(array.indptr), _owned(array.indices), _owned(array.data), array.shape
        )
    return np.array(array, order="K")


def as_stream(source: Any, epochs: int, network: NetworkSpec) -> Stream:
    """The stream that `fit` was given instead of X and y."""
    if hasattr(source, "shape") or hasattr(source, "__array__"):
        raise TypeError("y is missing: without it X must be a stream that yields pairs (X, y)")
    if not callable(source):
        try:
            once = iter(source) is source
        except TypeError:
            kind = type(source).__name__
            raise TypeError(
                "without y, X must be an iterable of pairs (X, y) or a callable that returns an "
                f"iterator of them, got {kind}"
            ) from None
        if once and epochs > 1:
            raise ValueError(
                "an iterator can be read for one epoch alone; pass a callable that returns a new "
                f"one, got epochs={epochs}"
            )
    return Stream(cast(Source, source), network)
