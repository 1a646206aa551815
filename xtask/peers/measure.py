"""The measuring side of the protocol of `cargo xtask bench --peers`; see xtask/README.md."""

import json
import os
import time

# Repetitions that do not count: caches, allocators and lazily made plans settle in them.
WARM_UPS = 2
LEAST_REPETITIONS = 5
LEAST_SECONDS = 0.06


def threads() -> int:
    """The number of threads that both sides use."""
    return int(os.environ.get("BENCH_THREADS", "1"))


def use_device(torch):
    """Makes tensors on the GPU that BENCH_DEVICE names, if it names one (`cuda:N`), and measures to the end of its work."""
    global synchronize
    if "cuda" in os.environ.get("BENCH_DEVICE", "cpu"):
        torch.set_default_device(os.environ["BENCH_DEVICE"])
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        synchronize = torch.cuda.synchronize


def synchronize():
    """Nothing to wait for on the CPU."""


def measure(name: str, operation, repetitions: int | None = None, warm_ups: int | None = None) -> float:
    """Runs `operation()` repeatedly and prints its least time under `name`; returns it in seconds.

    With `repetitions`, for operations of many seconds: exactly that many, after `warm_ups` (one unless given) that do not count.
    """
    least, seconds = (LEAST_REPETITIONS, LEAST_SECONDS) if repetitions is None else (repetitions, 0)
    if warm_ups is None:
        warm_ups = WARM_UPS if repetitions is None else 1
    for _ in range(warm_ups):
        operation()
        synchronize()
    times = []
    while len(times) < least or sum(times) < seconds:
        start = time.perf_counter()
        operation()
        synchronize()
        times.append(time.perf_counter() - start)
    if "BENCH_JSON" in os.environ:
        print(json.dumps({"name": name, "threads": threads(), "seconds": min(times)}), flush=True)
    else:
        print(f"{name:<50} {min(times) * 1e3:10.3f} ms", flush=True)
    return min(times)
