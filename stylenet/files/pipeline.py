"""Three overlapping steps for many items: decode, process, encode. Knows nothing about pictures."""

import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

Item = TypeVar("Item")
Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 4  # items decoded but not yet processed at most (and as many as are processed at once), and not yet encoded
THREADS = 2  # that decode, and as many that encode
MOST = 256 * 2**20  # bytes that may wait: larger items go one at a time, and take no more memory than one alone


def overlapped(
    items: Iterable[Item],
    decode: Callable[[Item], Work],
    process: Callable[[Sequence[Work]], object],
    encode: Callable[[Work], Result],
    weigh: Callable[[Work], int],
    alike: Callable[[Work], tuple[Any, int]] = lambda work: (None, 1),
    most: int = MOST,
) -> Iterator[Result]:
    """Yield ``encode(process(decode(item)))`` for each item, in order. ``process`` runs in this thread, the others
    beside it.

    ``alike`` returns the kind of an item, and how many consecutive items of one kind ``process`` gets at once.
    ``weigh``: the bytes that an item holds between its steps; at most ``most`` bytes wait. An exception of a step is
    raised here and ends everything. After an early end (an error, Ctrl-C, ``close``) no item is decoded, processed
    items are encoded, and no thread remains.
    """
    source = iter(items)
    decoding: deque[Future[Work | _Later]] = deque()
    held = _Held(decode, weigh, most)
    encoding: deque[tuple[int, Future[Result]]] = deque()
    weight = most  # of the item at work; those still being decoded are taken for its like
    ahead = AHEAD
    # Tasks are handed out one by one and none waits for room: at the interpreter's end there is nothing to hang on.
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
        if isinstance(work, _Later):
            return decoder.submit(decode, work.item).result()
        held.give_up(work)
        return work

    def ready(kind: Any) -> bool:
        work = decoding[0].result() if decoding and decoding[0].done() else _Later(None)
        return not isinstance(work, _Later) and alike(work)[0] == kind

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
class _Later:
    """An item that was not decoded, as there was no room."""

    item: Any


class _Held:
    """What is decoded and not yet taken: when items turn out heavier than those before, no more are decoded at once."""

    def __init__(self, decode: Callable[[Any], Any], weigh: Callable[[Any], int], most: int):
        self._decode, self._weigh, self._most = decode, weigh, most
        self._lock, self._bytes, self._last = threading.Lock(), 0, 0

    def decoded(self, item: Any) -> Any:
        """The item decoded, or put off."""
        with self._lock:
            if self._bytes and self._bytes + self._last > self._most:
                return _Later(item)
        work = self._decode(item)
        with self._lock:
            self._last = self._weigh(work)
            self._bytes += self._last
        return work

    def give_up(self, work: Any) -> None:
        with self._lock:
            self._bytes -= self._weigh(work)


def in_order(items: Iterable[Work], process: Callable[[Work], Result], take: Callable[[Result], object]) -> None:
    """``take(process(item))`` of each item that must be read and taken one after another, such as a film's frames.

    ``items`` are read and results taken in a thread each, ``process`` runs in this one; a few wait between them. What
    any of them raises comes out here, when both threads have ended.
    """
    source, end = iter(items), object()
    waiting: deque[Future[Any]] = deque()
    taking: deque[Future[object]] = deque()
    reader, taker = ThreadPoolExecutor(1, "read"), ThreadPoolExecutor(1, "take")
    try:
        while True:
            while len(waiting) < AHEAD:
                waiting.append(reader.submit(next, source, end))
            item = waiting.popleft().result()
            if item is end:
                break
            taking.append(taker.submit(take, process(item)))
            while len(taking) >= AHEAD or (taking and taking[0].done()):
                taking.popleft().result()
        while taking:
            taking.popleft().result()
    finally:
        reader.shutdown(cancel_futures=True)
        taker.shutdown(cancel_futures=True)
