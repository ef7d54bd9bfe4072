"""A crew: forked worker processes that one process leads over pipes.

Reading, hashing and writing many small files is bound by the interpreter's lock, so threads do not
help; processes do. A worker lives no longer than its leader: it ends when its pipe does. It ignores
what asks a command to end, because the leader hears it and ends the crew. Every worker has a slot of
memory that it shares with the leader, for results that are too large for a pipe.
"""

from __future__ import annotations

import contextlib
import gc
import mmap
import os
import pickle
import select
import signal
import struct
import sys
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

from . import interrupt
from .errors import SealiftError

_SIZE = struct.Struct("<I")


class Channel:
    """One end of a worker's pipes; messages are Python values of our own processes."""

    def __init__(self, reader: int, writer: int, slot: mmap.mmap | None, *, patient: bool) -> None:
        """Take the descriptors.

        Args:
            reader: where messages come from.
            writer: where messages go to.
            slot: memory that both ends see.
            patient: whether `send` waits until all is written. The leader's end does not: it might wait for
                a worker that waits for it. What is left then goes out with `flush`.
        """
        self._reader = reader
        self._writer = writer
        self._outgoing: deque[memoryview] = deque()
        self.slot = slot
        os.set_blocking(writer, patient)

    def fileno(self) -> int:
        """The descriptor that becomes readable when a message has come."""
        return self._reader

    @property
    def writer(self) -> int:
        """The descriptor that becomes writable when `flush` can go on."""
        return self._writer

    @property
    def pending(self) -> bool:
        """Whether something is still to go out."""
        return bool(self._outgoing)

    def send(self, message: Any) -> None:
        """Send one message."""
        content = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
        self._outgoing.append(memoryview(_SIZE.pack(len(content)) + content))
        self.flush()

    def flush(self) -> None:
        """Write as much of what is to go out as the pipe takes."""
        while self._outgoing:
            first = self._outgoing[0]
            try:
                done = os.write(self._writer, first)
            except BlockingIOError:
                return
            if done < len(first):
                self._outgoing[0] = first[done:]
            else:
                self._outgoing.popleft()

    def receive(self) -> Any:
        """The next message.

        Raises:
            EOFError: the other end is gone.
            SealiftError: the worker failed in a way that a person should read.
        """
        message = pickle.loads(self._exactly(_SIZE.unpack(self._exactly(_SIZE.size))[0]))  # noqa: S301 our own pipe
        if isinstance(message, BaseException):
            raise message
        return message

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size:
            part = os.read(self._reader, min(size, 1 << 20))
            if not part:
                raise EOFError("a worker process ended unexpectedly")
            parts.append(part)
            size -= len(part)
        return b"".join(parts)

    def close(self) -> None:
        """Let go of the pipes."""
        for descriptor in (self._reader, self._writer):
            with contextlib.suppress(OSError):
                os.close(descriptor)


class _Lead(Channel):
    """The leader's end, where a worker that is gone is a failure that a person should read."""

    def flush(self) -> None:
        """Write as much of what is to go out as the pipe takes; why a worker is gone, `receive` says."""
        try:
            super().flush()
        except BrokenPipeError:
            self._outgoing.clear()

    def receive(self) -> Any:
        """The next message.

        Raises:
            SealiftError: the worker is gone, or failed in a way that a person should read.
        """
        try:
            return super().receive()
        except EOFError as error:
            raise SealiftError(
                "a worker process was killed",
                hint="the system may have run out of memory: run the same command again with fewer --threads",
            ) from error


Body = Callable[[Channel], None]


class Crew:
    """`count` workers that each run `body` until their channel ends; a context manager."""

    def __init__(self, count: int, body: Body, *, slot: int = 0) -> None:
        """Fork the workers.

        Args:
            count: how many.
            body: what each runs; it returns when its channel raises `EOFError`.
            slot: bytes of shared memory for each.
        """
        self.channels: list[Channel] = []
        self._children: list[int] = []
        sys.stdout.flush()
        sys.stderr.flush()
        try:
            for _ in range(count):
                with interrupt.held_back():
                    self._fork(body, slot)
        except BaseException:
            self._end(kill=True)
            raise

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        self._end(kill=kind is not None)

    def _fork(self, body: Body, slot: int) -> None:
        shared = mmap.mmap(-1, slot) if slot else None
        to_worker, to_leader = os.pipe(), os.pipe()
        child = os.fork()
        if child == 0:
            status = 1
            try:
                gc.disable()
                interrupt.ignore()
                for channel in self.channels:
                    channel.close()
                os.close(to_worker[1])
                os.close(to_leader[0])
                status = _work(body, Channel(to_worker[0], to_leader[1], shared, patient=True))
            finally:
                os._exit(status)
        os.close(to_worker[0])
        os.close(to_leader[1])
        self._children.append(child)
        self.channels.append(_Lead(to_leader[0], to_worker[1], shared, patient=False))

    def ready(self) -> Iterator[Channel]:
        """Wait until a worker has sent something; yield those that have."""
        while True:
            waiting = {channel.writer: channel for channel in self.channels if channel.pending}
            readable, writable, _ = select.select(self.channels, waiting, [])
            for descriptor in writable:
                waiting[descriptor].flush()
            if readable:
                yield from readable
                return

    def run(self, tasks: Iterator[Any], *, ahead: int = 2) -> Iterator[Any]:
        """Hand each of `tasks` to a free worker and yield the answers as they come.

        Nobody gets a second one before all have one: a few large ones are done by as many workers.

        Args:
            tasks: messages; each makes the body send exactly one answer.
            ahead: tasks that a worker may have at a time.
        """
        under_way = dict.fromkeys(self.channels, 0)
        exhausted = False
        while True:
            for most, channel in product(range(1, ahead + 1), self.channels):
                while not exhausted and under_way[channel] < most:
                    try:
                        task = next(tasks)
                    except StopIteration:
                        exhausted = True
                        break
                    channel.send(task)
                    under_way[channel] += 1
            if not any(under_way.values()):
                return
            for channel in self.ready():
                answer = channel.receive()
                under_way[channel] -= 1
                yield answer

    def in_order(self, tasks: Iterator[Any], *, ahead: int = 2, most: int = 128) -> Iterator[Any]:
        """As `run`, but yield the answers in the order of the tasks. Nobody gets a second one before all have one.

        Args:
            tasks: messages; each makes the body send exactly one answer. None among them means that nothing further
                is handed out before the next answer was yielded.
            ahead: tasks that a worker may have at a time.
            most: tasks that are handed out before the answer to the first of them was yielded.
        """
        begun: dict[Channel, deque[int]] = {channel: deque() for channel in self.channels}
        answers: dict[int, Any] = {}
        handed = done = 0
        exhausted = False
        while True:
            waits = exhausted
            for count, channel in product(range(1, ahead + 1), self.channels):
                while not waits and len(begun[channel]) < count and handed - done < most:
                    try:
                        task = next(tasks)
                    except StopIteration:
                        waits = exhausted = True
                        break
                    if task is None:
                        waits = True
                        break
                    channel.send(task)
                    begun[channel].append(handed)
                    handed += 1
            if handed == done:
                return
            for channel in self.ready():
                answers[begun[channel].popleft()] = channel.receive()
            while done in answers:
                yield answers.pop(done)
                done += 1

    def _end(self, *, kill: bool) -> None:
        if kill:
            for child in self._children:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
        for channel in self.channels:
            channel.close()
        for child in self._children:
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child, 0)
        self.channels.clear()
        self._children.clear()


def _work(body: Body, channel: Channel) -> int:
    try:
        body(channel)
    except (EOFError, BrokenPipeError):
        return 0
    except SealiftError as error:
        return _report(channel, error)
    except BaseException:
        return _report(channel, RuntimeError(f"a worker failed:\n{traceback.format_exc()}"))
    return 0


def _report(channel: Channel, error: BaseException) -> int:
    with contextlib.suppress(OSError):
        channel.send(error)
    return 1
