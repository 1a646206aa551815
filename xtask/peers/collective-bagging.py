"""The certificate's integer programme by SciPy's HiGHS, for `cargo xtask bench collective-bagging --peers`.

Columns are merged and unreachable samples left out before the clock starts, on both sides. A solve of more than two seconds is timed once.
"""

import json
import os
import time
from pathlib import Path

import numpy as np
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.sparse import coo_matrix

from measure import measure, threads

GOLDEN = Path(__file__).resolve().parents[2] / "crates/adversarial/tests/golden/collective-bagging"


def stored(name):
    """Votes [G, N] from a safetensors file of bytes."""
    content = (GOLDEN / f"{name}_votes_g20.safetensors").read_bytes()
    length = int.from_bytes(content[:8], "little")
    entry = json.loads(content[8 : 8 + length])["preds"]
    start, end = entry["data_offsets"]
    votes = np.frombuffer(content[8 + length :][start:end], dtype=np.uint8)
    return votes.reshape(entry["shape"]).astype(int)


class Draws:
    """The linear congruential generator of the Rust side."""

    def __init__(self, state):
        self.state = state

    def unit(self):
        self.state = (self.state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.state >> 11) / 2**53

    def below(self, bound):
        return int(self.unit() * bound)


def generated(num_sub_classifiers, num_samples, classes, families):
    draws = Draws(11)
    weak = []
    for _ in range(families):
        half = [g < num_sub_classifiers // 2 for g in range(num_sub_classifiers)]
        for at in range(num_sub_classifiers - 1, 0, -1):
            other = draws.below(at + 1)
            half[at], half[other] = half[other], half[at]
        weak.append(half)
    votes = np.zeros((num_sub_classifiers, num_samples), dtype=int)
    for sample in range(num_samples):
        label = draws.below(classes)
        family = draws.below(families)
        for g in range(num_sub_classifiers):
            error = 0.2 + 0.7 * draws.unit() if weak[family][g] else 0.08
            is_wrong = draws.unit() < error
            other = draws.below(classes - 1)
            wrong = other + 1 if other >= label else other
            votes[g, sample] = wrong if is_wrong else label
    return votes


def programme(votes, classes, blocks, budget):
    """Merged columns that some attack reaches, as the arguments of `milp`."""
    num_sub_classifiers = votes.shape[0]
    columns = {}
    for sample in votes.T:
        counts = np.bincount(sample, minlength=classes)
        prediction = int(np.argmax(counts))
        rows = []
        for c in range(classes):
            if c == prediction:
                continue
            gap = counts[prediction] - counts[c] + (prediction < c)
            units = (sample != c).astype(int) + (sample == prediction)
            most = sum(np.sort(units[block])[::-1][:budget].sum() for block in blocks)
            if most >= gap:
                rows.append((tuple(units), int(gap)))
        if rows:
            key = tuple(sorted(rows))
            columns[key] = columns.get(key, 0) + 1
    objective = [0.0] * num_sub_classifiers
    entries, upper = [], []

    def constraint(terms, bound):
        entries.extend((len(upper), at, value) for at, value in terms)
        upper.append(bound)

    integral = [1] * num_sub_classifiers
    for rows, weight in columns.items():
        chosen = []
        for units, gap in rows:
            at = len(objective)
            objective.append(-float(weight) if len(rows) == 1 else 0.0)
            integral.append(1)
            constraint([(g, -float(u)) for g, u in enumerate(units) if u] + [(at, float(gap))], 0.0)
            chosen.append(at)
        if len(rows) > 1:
            at = len(objective)
            objective.append(-float(weight))
            integral.append(0)
            constraint([(z, -1.0) for z in chosen] + [(at, 1.0)], 0.0)
    for block in blocks:
        constraint([(g, 1.0) for g in block], float(budget))
    i, j, value = zip(*entries)
    matrix = coo_matrix((value, (i, j)), shape=(len(upper), len(objective))).tocsc()
    return dict(
        c=np.array(objective),
        integrality=np.array(integral),
        bounds=Bounds(0, 1),
        constraints=LinearConstraint(matrix, -np.inf, np.array(upper)),
        options={"mip_rel_gap": 0.0},
    )


def bench(name, arguments, wanted):
    def solve():
        result = milp(**arguments)
        assert result.status == 0, result.message
        found = round(-result.fun)
        assert found == wanted, (name, found, wanted)

    start = time.perf_counter()
    solve()
    seconds = time.perf_counter() - start
    if seconds <= 2:
        measure(name, solve)
    elif "BENCH_JSON" in os.environ:
        print(json.dumps({"name": name, "threads": threads(), "seconds": seconds}), flush=True)
    else:
        print(f"{name:<50} {seconds * 1e3:10.3f} ms", flush=True)


for name, budgets in [("bank", (1, 2, 3, 6)), ("electricity", (1, 2, 3))]:
    votes = stored(name)
    certificates = json.loads((GOLDEN / f"{name}_certificates_g20.json").read_text())
    wanted = {result["r"]: result["max_changed"] for result in certificates["results"]}
    for budget in budgets:
        arguments = programme(votes, 2, [np.arange(20)], budget)
        bench(f"{name} r={budget}, optimum", arguments, wanted[budget])
votes = generated(20, 500, 4, 10)
for name, buckets, budget, optimum in [("one block", 20, 3, 16), ("two blocks", 10, 2, 49)]:
    blocks = [np.arange(first, first + buckets) for first in range(0, 20, buckets)]
    arguments = programme(votes, 4, blocks, budget)
    bench(f"generated, 4 classes, {name}, r={budget}, optimum", arguments, optimum)
