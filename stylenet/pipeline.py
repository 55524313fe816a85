"""Three steps of many items overlapped: decode, process, encode. Knows nothing about pictures."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Work = TypeVar("Work")
Result = TypeVar("Result")

AHEAD = 4  # items decoded but not yet processed at most, and processed but not yet encoded
THREADS = 2  # that decode, and as many that encode
MOST = 256 * 2**20  # bytes that may wait: larger items go one at a time, and take no more memory than one alone


def overlapped(
    items: Iterable[Item],
    decode: Callable[[Item], Work],
    process: Callable[[Work], Work],
    encode: Callable[[Work], Result],
    weigh: Callable[[Work], int],
    most: int = MOST,
) -> Iterator[Result]:
    """``encode(process(decode(item)))`` of each item, in order: ``process`` in this thread, the others beside it.

    ``weigh``: the bytes that an item holds between its steps; no more than ``most`` wait, as far as the items before
    tell. What a step raises comes out here and ends it all. Ended early (an error, Ctrl-C, ``close``) it decodes no
    more, encodes what is processed, and leaves no thread.
    """
    source = iter(items)
    decoding: deque[Future[Work]] = deque()
    encoding: deque[tuple[int, Future[Result]]] = deque()
    weight = most  # of the item at work; those still being decoded are taken for its like
    # Tasks are handed out one by one and none waits for room: at the interpreter's end there is nothing to hang on.
    decoder, encoder = ThreadPoolExecutor(THREADS, "decode"), ThreadPoolExecutor(THREADS, "encode")

    def waiting() -> int:
        return sum(held for held, _ in encoding)

    def fill(least: int) -> None:
        while len(decoding) < AHEAD:
            if len(decoding) >= least and weight * (len(decoding) + 2) + waiting() > most:
                return
            try:
                decoding.append(decoder.submit(decode, next(source)))
            except StopIteration:
                return

    try:
        while True:
            fill(1)
            if not decoding:
                break
            work = decoding.popleft().result()
            weight = weigh(work)
            fill(0)
            work = process(work)
            encoding.append((weigh(work), encoder.submit(encode, work)))
            del work
            while encoding and (len(encoding) >= AHEAD or waiting() > most or encoding[0][1].done()):
                yield encoding.popleft()[1].result()
        while encoding:
            yield encoding.popleft()[1].result()
    finally:
        decoder.shutdown(cancel_futures=True)
        encoder.shutdown()
