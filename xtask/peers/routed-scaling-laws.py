"""The law's fit with SciPy and the routed layer in PyTorch, for `cargo xtask bench routed-scaling-laws --peers`.

`--objectives` prints the best objective of the twenty starts for each router instead.
"""

import json
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import minimize

from measure import measure, threads

torch.set_num_threads(threads())

SIZES = [16527360.0, 27279360.0, 57369600.0, 132163584.0, 368123904.0, 1308819456.0]
LAWS = [
    (-0.08303, -0.11804, 0.009925, 1.11358, math.log2(2.0746), math.log2(238.67)),
    (-0.08273, -0.12342, 0.011233, 1.10701, math.log2(1.7219), math.log2(470.05)),
    (-0.08736, -0.13836, 0.012635, 1.15953, math.log2(4.2688), math.log2(427.32)),
]
NOTEBOOK = np.array([-0.01100865, 0.11597899, -0.08367467, 1.0, 1.0, 9.99978226])


def transform(experts, start, top):
    """log10 of the bounded number of experts, with derivatives by the exponents of 2."""
    per_start, per_max = 2.0**-start, 2.0**-top
    reach = 1.0 / (per_start - per_max)
    shifted = experts - 1.0 + reach
    effective = 1.0 / (1.0 / shifted + per_max)
    share = (reach / shifted) ** 2
    base = math.log10(2.0)
    return np.log10(effective), effective * share * per_start * base, effective * (1.0 - share) * per_max * base


def points(law, phase):
    cells = [(size, 2.0**power) for size in SIZES for power in range(10)]
    x = np.log10([size for size, _ in cells])
    experts = np.array([e for _, e in cells])
    z, _, _ = transform(experts, law[4], law[5])
    index = np.arange(len(cells)) + 1.0 + phase
    error = 0.0035 * np.sin(12.9898 * index) * np.cos(78.233 * index)
    return x, experts, law[0] * x + law[1] * z + law[2] * x * z + law[3] + error


def objective(theta, x, experts, y):
    a, b, c, d, start, top = theta
    if not start < top:
        return 1e3, np.zeros(6)
    z, by_start, by_top = transform(experts, start, top)
    error = a * x + b * z + c * x * z + d - y
    if not np.all(np.isfinite(error)):
        return 1e3, np.zeros(6)
    slope = b + c * x
    columns = np.stack([x, z, x * z, np.ones_like(x), slope * by_start, slope * by_top])
    return np.mean(error**2), 2.0 * columns @ error / len(x)


def starts():
    state = 42
    mask = (1 << 64) - 1
    values = []

    def uniform():
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) & mask
        return ((state >> 11) + 0.5) / float(1 << 53)

    while len(values) < 120:
        u1, u2 = uniform(), uniform()
        radius = math.sqrt(-2.0 * math.log(u1))
        values += [radius * math.cos(2.0 * math.pi * u2), radius * math.sin(2.0 * math.pi * u2)]
    return np.array(values).reshape(20, 6) * NOTEBOOK


# SciPy's default stops when a step gains less than 2e-9, a thousandth of this objective at its optimum.
CONVERGED = {"ftol": 1e-15, "gtol": 1e-12, "maxiter": 100_000, "maxfun": 1_000_000}


def run(start, data, options=None):
    return minimize(objective, start, args=data, method="L-BFGS-B", jac=True, options=options)


def best_of(data, options=None):
    return min((run(start, data, options) for start in starts()), key=lambda result: result.fun)


def laws():
    routers = [points(law, phase) for law, phase in zip(LAWS, (0, 100, 200))]
    if "--objectives" in sys.argv:
        for data in routers:
            for options in (None, CONVERGED):
                found = sorted(run(start, data, options).fun for start in starts())
                close = sum(value <= found[0] * 1.001 for value in found)
                print(f"{found[0]:.12e}, {close} of 20 starts within 0.1 %", file=sys.stderr)
        sys.exit(0)
    for suffix, options in (("", None), (", converged", CONVERGED)):
        measure(f"law fit, 20 starts{suffix}", lambda: best_of(routers[0], options))
        # 1000 resamples take minutes; some are measured and scaled, the three full fits are not
        count = 40
        optima = []

        def fits():
            optima[:] = [best_of(data, options).x for data in routers]

        def bootstrap():
            rng = np.random.default_rng(0)
            for data, optimum in zip(routers, optima):
                for _ in range(count):
                    drawn = rng.integers(0, len(data[0]), len(data[0]))
                    run(optimum, tuple(column[drawn] for column in data), options)

        seconds = timed(fits) + timed(bootstrap) * 1000 / count
        name = f"law fit of three routers, 1000 bootstrap resamples{suffix}"
        if "BENCH_JSON" in os.environ:
            print(json.dumps({"name": name, "threads": threads(), "seconds": seconds}), flush=True)
        else:
            print(f"{name:<65} {seconds * 1e3:10.3f} ms, from {count} resamples", flush=True)


def timed(operation):
    best = math.inf
    for _ in range(2):
        begin = time.perf_counter()
        operation()
        best = min(best, time.perf_counter() - begin)
    return best


TOKENS, WIDTH, HIDDEN = 4096, 256, 1024


def routed(x, router, w1, w2, k):
    """Grouped by index: tokens sorted by expert, two products for each expert's slice, added back with their gates."""
    probabilities = torch.softmax(x @ router.t(), dim=-1)
    gates, experts = torch.topk(probabilities, k, dim=-1)
    order = torch.argsort(experts.reshape(-1), stable=True)
    counts = torch.bincount(experts.reshape(-1), minlength=w1.shape[0]).tolist()
    tokens = order // k
    parts = torch.split(x.index_select(0, tokens), counts)
    outputs = [
        F.linear(F.gelu(F.linear(part, w1e)), w2e)
        for part, w1e, w2e in zip(parts, w1.unbind(0), w2.unbind(0))
    ]
    weighted = torch.cat(outputs) * gates.reshape(-1).index_select(0, order).unsqueeze(1)
    return torch.zeros_like(x).index_add(0, tokens, weighted)


def routed_lists(x, router, w1, w2, k):
    """The same with a parameter for each expert, as nn.ModuleList gives: no gradient of a stacked tensor to put together."""
    probabilities = torch.softmax(x @ router.t(), dim=-1)
    gates, experts = torch.topk(probabilities, k, dim=-1)
    order = torch.argsort(experts.reshape(-1), stable=True)
    counts = torch.bincount(experts.reshape(-1), minlength=len(w1)).tolist()
    tokens = order // k
    parts = torch.split(x.index_select(0, tokens), counts)
    outputs = [F.linear(F.gelu(F.linear(part, a)), b) for part, a, b in zip(parts, w1, w2)]
    weighted = torch.cat(outputs) * gates.reshape(-1).index_select(0, order).unsqueeze(1)
    return torch.zeros_like(x).index_add(0, tokens, weighted)


def layers():
    torch.manual_seed(0)
    x = torch.randn(TOKENS, WIDTH, requires_grad=True)
    cotangent = torch.randn(TOKENS, WIDTH)
    for experts, k in ((1, 1), (8, 1), (64, 1), (8, 2)):
        router = (torch.randn(experts, WIDTH) * 0.02).requires_grad_()
        # the faster of the two ways to hold the experts: one parameter each
        w1 = [(torch.randn(HIDDEN, WIDTH) * 0.02).requires_grad_() for _ in range(experts)]
        w2 = [(torch.randn(WIDTH, HIDDEN) * 0.02).requires_grad_() for _ in range(experts)]
        parameters = [x, router, *w1, *w2]

        def step():
            for parameter in parameters:
                parameter.grad = None
            (routed_lists(x, router, w1, w2, k) * cotangent).sum().backward()

        suffix = "" if k == 1 else f" k={k}"
        measure(f"routed layer E={experts}{suffix} f+b", step)
        if "--stacked" in sys.argv:
            stacked1 = torch.stack([w.detach() for w in w1]).requires_grad_()
            stacked2 = torch.stack([w.detach() for w in w2]).requires_grad_()

            def stacked():
                for parameter in (x, router, stacked1, stacked2):
                    parameter.grad = None
                (routed(x, router, stacked1, stacked2, k) * cotangent).sum().backward()

            measure(f"routed layer E={experts}{suffix} f+b, stacked", stacked)
    w1 = (torch.randn(HIDDEN, WIDTH) * 0.02).requires_grad_()
    w2 = (torch.randn(WIDTH, HIDDEN) * 0.02).requires_grad_()

    def dense():
        for parameter in (x, w1, w2):
            parameter.grad = None
        (F.linear(F.gelu(F.linear(x, w1)), w2) * cotangent).sum().backward()

    measure("dense feed-forward f+b", dense)
    logits = torch.randn(TOKENS, 64) * 2.0
    measure("sinkhorn T=4096 E=64", lambda: sinkhorn(logits))


@torch.no_grad()
def sinkhorn(logits, tolerance=1e-2, iterations=100):
    tokens, experts = logits.shape
    f = torch.zeros(experts)
    for _ in range(iterations):
        g = -math.log(tokens) - torch.logsumexp(logits + f, dim=1)
        f = -math.log(experts) - torch.logsumexp(logits + g[:, None], dim=0)
        mass = torch.exp(logits + f + g[:, None]).sum(dim=1)
        if (tokens * mass - 1).abs().max() < tolerance:
            break
    return f


laws()
layers()
