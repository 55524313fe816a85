"""Three overlapping steps for many items: decode, process, encode. Knows nothing about pictures."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 4  # maximum items decoded but not processed (plus one batch), and processed but not encoded
THREADS = 2  # for decoding, and as many for encoding
MOST = 256 * 2**20  # bytes of waiting items: larger items are handled one at a time


def overlapped(
    items: Iterable[Item],
    decode: Callable[[Item], Work],
    process: Callable[[Sequence[Work]], object],
    encode: Callable[[Work], Result],
    weigh: Callable[[Work], int],
    alike: Callable[[Work], tuple[Any, int]] = lambda work: (None, 1),
    most: int = MOST,
) -> Iterator[Result]:
    """Yield ``encode(process(decode(item)))`` for each item, in order. ``process`` runs in this thread, the others in
    worker threads.

    ``alike`` returns the kind of an item, and how many consecutive items of this kind ``process`` gets at once.
    ``weigh``: the bytes of an item between its steps; at most ``most`` bytes wait. An exception of a step is raised
    here and ends everything. After an early end (an error, Ctrl-C, ``close``) no further item is decoded, processed
    items are encoded, and no thread remains.
    """
    source = iter(items)
    decoding: deque[Future[Work | _Deferred]] = deque()
    held = _Decoded(decode, weigh, most)
    encoding: deque[tuple[int, Future[Result]]] = deque()
    weight = most  # of the current item; the same is assumed for items still being decoded
    ahead = AHEAD
    # Tasks are submitted one by one and never block: the interpreter's exit cannot hang on them.
    decoder, encoder = ThreadPoolExecutor(THREADS, "decode"), ThreadPoolExecutor(THREADS, "encode")

    def waiting() -> int:
        return sum(held for held, _ in encoding)

    def fill(least: int) -> None:
        while len(decoding) < ahead:
            if len(decoding) >= least and weight * (len(decoding) + 2) + waiting() > most:
                return
            try:
                decoding.append(decoder.submit(held.decoded, next(source)))
            except StopIteration:
                return

    def taken() -> Work:
        work = decoding.popleft().result()
        if isinstance(work, _Deferred):
            return decoder.submit(decode, work.item).result()
        held.release(work)
        return work

    def ready(kind: Any) -> bool:
        work = decoding[0].result() if decoding and decoding[0].done() else _Deferred(None)
        return not isinstance(work, _Deferred) and alike(work)[0] == kind

    try:
        while True:
            fill(1)
            if not decoding:
                break
            some = [taken()]
            weight, (kind, count) = weigh(some[0]), alike(some[0])
            ahead = AHEAD + count
            while len(some) < count and ready(kind):
                some.append(taken())
            fill(0)
            process(some)
            for work in some:
                encoding.append((weigh(work), encoder.submit(encode, work)))
            del some, work
            while encoding and (len(encoding) >= AHEAD or waiting() > most or encoding[0][1].done()):
                yield encoding.popleft()[1].result()
        while encoding:
            yield encoding.popleft()[1].result()
    finally:
        decoder.shutdown(cancel_futures=True)
        encoder.shutdown()


@dataclass
class _Deferred:
    """An item that was not decoded, for lack of memory budget."""

    item: Any


class _Decoded:
    """Tracks the bytes of decoded items: if items get heavier than before, decoding is deferred."""

    def __init__(self, decode: Callable[[Any], Any], weigh: Callable[[Any], int], most: int):
        self._decode, self._weigh, self._most = decode, weigh, most
        self._lock, self._bytes, self._last = threading.Lock(), 0, 0

    def decoded(self, item: Any) -> Any:
        """The decoded item, or _Deferred."""
        with self._lock:
            if self._bytes and self._bytes + self._last > self._most:
                return _Deferred(item)
        work = self._decode(item)
        with self._lock:
            self._last = self._weigh(work)
            self._bytes += self._last
        return work

    def release(self, work: Any) -> None:
        with self._lock:
            self._bytes -= self._weigh(work)


def in_order(
    items: Iterable[Work],
    process: Callable[[Any], Any],
    before: Sequence[Callable[[Any], Any]] = (),
    after: Sequence[Callable[[Any], Any]] = (),
) -> None:
    """Put each item through the steps ``before``, through ``process`` and through the steps ``after``, all in the
    order of the items: for what must be read and written in sequence, such as a film's frames.

    One thread reads ``items``, each step has a thread, and ``process`` runs in this one; a few items wait in between.
    After an exception in a step no further item comes to it; it is raised here, after all threads have ended.
    """
    source, end = iter(items), object()
    waiting: deque[Future[Any]] = deque()
    leaving: deque[Future[Any]] = deque()
    names = ["read", *(f"before {number}" for number, _ in enumerate(before))]
    names += [f"after {number}" for number, _ in enumerate(after)]
    threads = [ThreadPoolExecutor(1, name) for name in names]
    early, late = threads[1 : 1 + len(before)], threads[1 + len(before) :]
    broken: set[ThreadPoolExecutor] = set()  # threads whose step has failed

    def following(step: Callable[[Any], Any], thread: ThreadPoolExecutor, earlier: "Future[Any]") -> Any:
        item = earlier.result()
        if thread in broken:
            raise CancelledError
        try:
            return item if item is end else step(item)
        except BaseException:
            broken.add(thread)
            raise

    def through(steps: Sequence[Callable[[Any], Any]], of: Sequence[ThreadPoolExecutor], made: "Future[Any]") -> Any:
        for step, thread in zip(steps, of, strict=True):
            made = thread.submit(following, step, thread, made)
        return made

    try:
        while True:
            while len(waiting) < AHEAD:
                waiting.append(through(before, early, threads[0].submit(next, source, end)))
            item = waiting.popleft().result()
            if item is end:
                break
            processed: Future[Any] = Future()
            processed.set_result(process(item))
            leaving.append(through(after, late, processed))
            del item, processed
            while len(leaving) >= AHEAD or (leaving and leaving[0].done()):
                leaving.popleft().result()
        while leaving:
            leaving.popleft().result()
    finally:
        for thread in threads:  # from the first on: what waits for a step that is cancelled is cancelled, too
            thread.shutdown(cancel_futures=True)
