"""Selection of large gradient elements in PyTorch, for `cargo xtask bench dragonn --peers`.

torch.topk stands for the exact selection; the threshold of a sample and nonzero for what DRAGONN and DGC do with PyTorch's operations.
"""

import torch
from measure import measure, threads

torch.set_num_threads(threads())
RATIO = 1e-3


def scatter(selected, slots, values):
    """Hashed selection with tensor operations: a multiplicative hash is as good as any for the time."""
    place = (selected * 2654435761 % 4294967296) % slots
    table = torch.full((slots,), -1, dtype=torch.int64)
    table[place] = selected
    kept = table[table >= 0]
    return kept, values[kept]


def dragonn(x):
    n, k = x.numel(), int(x.numel() * RATIO)
    sample = x[torch.randint(0, n, (n // 100,))].abs()
    threshold = torch.topk(sample, max(1, -(-sample.numel() // int(1 / RATIO))), sorted=False).values.min()
    selected = torch.nonzero(x.abs() >= threshold).view(-1)
    return scatter(selected, 4 * k, x)


def topk(x):
    index = torch.topk(x.abs(), int(-(-x.numel() * RATIO // 1)), sorted=False).indices
    return index, x[index]


def dgc(x):
    n, k = x.numel(), int(x.numel() * RATIO)
    magnitude = x.abs()
    sample = magnitude[torch.randint(0, 99, (1,)).item() :: 99]
    threshold = torch.topk(sample, max(1, int(sample.numel() * RATIO)), sorted=False).values.min().item()
    mask = magnitude >= threshold
    for _ in range(10):
        count = int(mask.sum())
        if count > 1.3 * k:
            threshold /= 0.9
        elif count < k:
            threshold *= 0.9
        else:
            break
        mask = magnitude >= threshold
    index = torch.nonzero(mask).view(-1)[:k]
    return index, x[index]


def random_k(x):
    index = torch.randperm(x.numel())[: int(x.numel() * RATIO)]
    return index, x[index]


with torch.no_grad():
    for log in (20, 22, 24):
        x = torch.randn(1 << log)
        measure(f"one read n=2^{log}", lambda: x.max())
        for name, run in (("dragonn", dragonn), ("top-k", topk), ("dgc", dgc), ("random-k", random_k)):
            measure(f"{name} n=2^{log} r=0.001", lambda: run(x))
    n, k, ranks = 1 << 22, int((1 << 22) * RATIO), 8
    pairs = [(torch.randperm(n)[:k], torch.randn(k)) for _ in range(ranks)]

    def sparse():
        out = torch.zeros(n)
        for index, values in pairs:
            out.index_add_(0, index, values, alpha=1 / ranks)
        return out

    def naive():
        dense = []
        for index, values in pairs:
            tensor = torch.zeros(n)
            tensor[index] = values
            dense.append(tensor)
        return sum(dense) / ranks

    measure("sparse decoding N=8 n=2^22 r=0.001", sparse)
    measure("naive decoding N=8 n=2^22 r=0.001", naive)
