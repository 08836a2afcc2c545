"""Processes that read chunks of images, over pipes alone.

A pool of `concurrent.futures` would need semaphores, and these /dev/shm, which a fenced worker does not have where the
kernel gives it no mount namespace.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import cycle, islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkContext, SpawnContext

from registry.errors import WorkerFailed
from training.data.image_files import Chunk, ImageFile, read_chunk


def read(chunks: Sequence[Chunk], processes: int) -> Iterator[list[ImageFile]]:
    """What `read_chunk` finds in each of them, in their order. Raises what it raises, and WorkerFailed for a killed process."""
    if processes <= 1:
        yield from map(read_chunk, chunks)
        return
    with ExitStack() as stack:
        readers = [stack.enter_context(_reader(chunks[i::processes])) for i in range(processes)]
        for reader in islice(cycle(readers), len(chunks)):
            try:
                found = reader.recv()
            except EOFError:
                hint = "most often: out of memory; raise [runner] memory_mb"
                raise WorkerFailed("a process that read images was killed", hint=hint) from None
            if isinstance(found, Exception):
                raise found
            yield found


@contextmanager
def _reader(chunks: Sequence[Chunk]) -> Iterator[Connection]:
    """A process that reads these chunks, as the pipe from which its findings come."""
    # a fork is there at once, with Pillow loaded; beside other threads it could deadlock
    how: ForkContext | SpawnContext = get_context("fork") if threading.active_count() == 1 else get_context("spawn")
    receiver, sender = how.Pipe(duplex=False)
    process = how.Process(target=_send, args=(sender, chunks), daemon=True)
    process.start()
    sender.close()  # so that its end is noticed
    try:
        yield receiver
    finally:
        receiver.close()
        process.kill()
        process.join()


def _send(sender: Connection, chunks: Iterable[Chunk]) -> None:
    for chunk in chunks:
        try:
            sender.send(read_chunk(chunk))
        except BrokenPipeError:  # nobody wants to know any more
            return
        except Exception as error:  # noqa: BLE001  (raised by who asked)
            sender.send(error)
            return
