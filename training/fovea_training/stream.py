"""Training batches: drawn in this process, or by data workers into a pool on the device.

Data workers write chunks of screens into memory that they share with this process, so nothing is pickled and no file descriptor is opened for a batch.
The chunks go into a ring of recent screens on the device, and every step draws its images from that at random, with noise of its own: a device that is
faster than the workers sees a screen several times, never waits, and never sees an old one; workers that are faster wait.
"""

import collections.abc
import dataclasses
import mmap
import multiprocessing
import os
import sys
import time

import numpy as np
import torch

from .batch import Batch, BatchSource, Plan, seen

CHUNK = 16
CHUNKS_AHEAD = 4
"""Chunks that each worker may have ready."""
POOL = 4096
_TEXT = ("ids", "targets", "weight", "segment", "position", "pointer", "slot", "quoted")


def batches(plan: Plan, seed: int, workers: int = 0, device: torch.device = torch.device("cpu")) -> collections.abc.Iterator[Batch]:
    """Batches for training, on the device. Give every resumed part another seed."""
    if workers:
        return Pool(plan, seed, workers, device)
    return (batch.to(device) for batch in BatchSource(plan, seed))


def _compact(batch: Batch) -> dict[str, np.ndarray]:
    """The tensors of a batch in small types: no id, place or label is above 32 767."""
    tensors = {"pixels": batch.pixels, **batch.labels, **{name: getattr(batch, name) for name in _TEXT if getattr(batch, name) is not None}}
    small = lambda array: array.astype(np.int16) if array.dtype == np.int64 else array
    return {name: small(tensor.numpy()) for name, tensor in tensors.items()}


def _views(memory: mmap.mmap, like: dict[str, np.ndarray], start: int) -> dict[str, np.ndarray]:
    views = {}
    for name, array in like.items():
        views[name] = np.frombuffer(memory, array.dtype, array.size, start).reshape(array.shape)
        start += _padded(array.nbytes)
    return views


def _padded(size: int) -> int:
    return -(-size // 64) * 64


def _work(plan: Plan, seed: int, slots: list[dict[str, np.ndarray]], first: int, free: object, ready: object, parent: int) -> None:
    torch.set_num_threads(1)
    source = BatchSource(plan, seed)
    while True:
        for number, slot in enumerate(slots, first):
            while not free.acquire(timeout=1):
                if os.getppid() != parent:
                    return
            for name, array in _compact(source.draw_frames()).items():
                slot[name][...] = array
            ready.put(number)


class Pool:
    """The ring of recent screens, and the workers that fill it."""

    def __init__(self, plan: Plan, seed: int, workers: int, device: torch.device):
        self.plan, self.drawn = plan, 0
        chunk = dataclasses.replace(plan, images=CHUNK)
        like = _compact(BatchSource(chunk, seed).draw_frames())
        size = sum(_padded(array.nbytes) for array in like.values())
        memory = mmap.mmap(-1, size * workers * CHUNKS_AHEAD)
        self._slots = [_views(memory, like, size * number) for number in range(workers * CHUNKS_AHEAD)]
        forked = multiprocessing.get_context("fork")
        self._ready, self._free = forked.SimpleQueue(), [forked.Semaphore(CHUNKS_AHEAD) for _ in range(workers)]
        self._processes = []
        for worker in range(workers):
            first = worker * CHUNKS_AHEAD
            arguments = (chunk, seed * 1009 + worker, self._slots[first : first + CHUNKS_AHEAD], first, self._free[worker], self._ready, os.getpid())
            self._processes.append(forked.Process(target=_work, args=arguments, daemon=True))
            self._processes[-1].start()
        self._ring = {name: torch.empty((POOL, *array.shape[1:]), dtype=torch.from_numpy(array).dtype, device=device) for name, array in like.items()}

    def __iter__(self) -> "Pool":
        return self

    def __next__(self) -> Batch:
        self._notice_ended()
        self.take(self.plan.images)
        while self.drawn < min(POOL, 2 * self.plan.images):
            self._notice_ended()
            time.sleep(0.005)
            self.take(CHUNK)
        chosen = torch.randperm(min(POOL, self.drawn), device=self._ring["pixels"].device)[: self.plan.images]
        return _batch({name: tensor[chosen] for name, tensor in self._ring.items()}, self.plan.noise)

    def take(self, most: int) -> None:
        """Moves at most that many screens into the ring, of those that are ready."""
        until = self.drawn + most
        while self.drawn < until and not self._ready.empty():
            number, start = self._ready.get(), self.drawn % POOL
            for name, array in self._slots[number].items():
                self._ring[name][start : start + CHUNK] = torch.from_numpy(array).to(self._ring[name].device)
            self._free[number // CHUNKS_AHEAD].release()
            self.drawn += CHUNK

    def _notice_ended(self) -> None:
        """A worker that ended is reported, once; the others go on with the training, for hours on a device may hang on it. Without any it ends."""
        left = [process for process in self._processes if process.is_alive()]
        if len(left) < len(self._processes):
            report = f"{len(self._processes) - len(left)} of {len(self._processes)} data workers ended; the error stands above."
            if not left:
                raise RuntimeError(report)
            print(f"WARNING: {report}", file=sys.stderr, flush=True)
            self._processes = left

    def close(self) -> None:
        for process in self._processes:
            process.terminate()


def _batch(tensors: dict[str, torch.Tensor], noise: bool) -> Batch:
    wide = {name: tensor.long() if tensor.dtype == torch.int16 else tensor for name, tensor in tensors.items()}
    text = {name: wide.pop(name) for name in _TEXT if name in wide}
    return Batch(seen(wide.pop("pixels"), noise), wide, **text)
