"""The reconstruction after OEPG in PyTorch, and Totoro in NumPy and SciPy, for `cargo xtask bench oepg --peers`.

Starts from the parameters, data, clusters and views that crates/gnn/benches/oepg.rs wrote to target/bench/oepg-*.safetensors, and prints beside each time what ours and the peer found there.
Freed memory stays with the process, as on our side.

- Ego layer: the formulas as they stand, with all descriptors [N, G, D], their values and keys at once, an order at a time. `matrix form`: what ours computes, without descriptors, in PyTorch's operations.
- Epoch: both views with X in compressed rows (masked columns are masked rows of the weight, which costs less than a masked X), the whole matrix of similarities, which both directions share, fused Adam,
  and the first layer that follows. The ego layer in both forms.
- Totoro: Pi by numpy.linalg.inv. `power iteration`: 150 steps of SciPy's sparse product, which leave an error of 3e-11, for all classes side by side.

Name a part of a measurement to run only those that contain it. With `--peak-memory` beside it, three repetitions are run and the process's peak resident set is printed.
"""

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from scipy.sparse import csr_array
from threadpoolctl import threadpool_limits

from lagraph import SHOWS_PEAK, Product, honest, keep_memory, normalised, run, stored, wanted
from measure import measure, threads

EGO = "ego layer, N = 100,000, D = 128, G = 42"
EPOCH = "OEPG epoch, Cora"
# What a forward and a backward pass of the explicit form need, with some room.
EXPLICIT_BYTES = 14 * 2**30


class Clusters:
    """Of all levels together."""

    def __init__(self, tensors: dict):
        levels = [at for at in range(8) if f"clusters.{at}.mu" in tensors]
        self.mu = torch.cat([tensors[f"clusters.{at}.mu"] for at in levels])
        self.v = torch.cat([tensors[f"clusters.{at}.v"] for at in levels])
        self.of_level = [F.normalize(tensors[f"clusters.{at}.mu"]) for at in levels]
        self.of_instances = [tensors[f"clusters.{at}.of_instances"] for at in levels]
        self.level = torch.cat([torch.full((len(of_level),), at) for at, of_level in enumerate(self.of_level)])
        self.s, self.inverse = self.v.rsqrt(), 1 / self.v


class Ego:
    """Sums of descriptors, weighed by attention over all of them."""

    def __init__(self, parameters: dict, prefix: str):
        self.w1, self.w2, self.wq, self.wk, self.r = (parameters[prefix + name] for name in ("w1", "w2", "wq", "wk", "r"))
        self.scale = 1 / math.sqrt(self.wk.shape[1])

    def explicit(self, z: torch.Tensor, x: torch.Tensor, clusters: Clusters) -> torch.Tensor:
        query = (x @ self.wq).unsqueeze(2)
        first = (z.unsqueeze(1) - clusters.mu) * clusters.s
        second = (first.square() - 1) * math.sqrt(0.5)
        values = [first @ self.w1, second @ self.w2]
        scores = [((value @ self.wk + self.r[clusters.level]) @ query).squeeze(2) for value in values]
        alpha = (torch.cat(scores, 1) * self.scale).softmax(1).unsqueeze(1).split(len(clusters.mu), 2)
        return (alpha[0] @ values[0] + alpha[1] @ values[1]).squeeze(1)

    def matrix(self, z: torch.Tensor, x: torch.Tensor, clusters: Clusters) -> torch.Tensor:
        mu, s, v = clusters.mu, clusters.s, clusters.inverse
        query, square = x @ self.wq, z * z
        u1, u2 = query @ (self.w1 @ self.wk).t(), query @ (self.w2 @ self.wk).t()
        of_level = query @ self.r[clusters.level].t()
        first = (u1 * z) @ s.t() - u1 @ (mu * s).t()
        second = (u2 * square) @ v.t() - 2 * (u2 * z) @ (mu * v).t() + u2 @ (mu * mu * v).t() - u2.sum(1, keepdim=True)
        scores = torch.cat([first + of_level, second * math.sqrt(0.5) + of_level], 1) * self.scale
        a1, a2 = scores.softmax(1).split(len(mu), 1)
        of_first = z * (a1 @ s) - a1 @ (mu * s)
        of_second = square * (a2 @ v) - 2 * z * (a2 @ (mu * v)) + a2 @ (mu * mu * v) - a2.sum(1, keepdim=True)
        return of_first @ self.w1 + (of_second * math.sqrt(0.5)) @ self.w2


FORMS = {"": Ego.explicit, ", matrix form": Ego.matrix}


def parameters_of(tensors: dict) -> dict:
    return {name[5:]: value.clone().requires_grad_() for name, value in tensors.items() if name.startswith("init.")}


def available() -> int:
    return int(Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]) * 1024


def ego_layer() -> None:
    tensors = stored("oepg-ego") if wanted(*(EGO + suffix for suffix in FORMS)) else None
    if tensors is None:
        return
    z, x, clusters = tensors["z"].requires_grad_(), tensors["x"].requires_grad_(), Clusters(tensors)
    parameters = parameters_of(tensors)
    layer = Ego(parameters, "ego.")
    leaves = [z, x, *parameters.values()]
    for suffix, form in FORMS.items():
        # Of the peak there is one in a process: that of the explicit form, unless the other is named.
        if not wanted(EGO + suffix) or (SHOWS_PEAK and suffix and wanted(EGO)):
            continue
        if form is Ego.explicit and available() < EXPLICIT_BYTES:
            print(f"skipped: {EGO}: less than {EXPLICIT_BYTES / 2**30:.0f} GiB of memory are free", flush=True)
            continue
        found = []

        def once() -> None:
            for leaf in leaves:
                leaf.grad = None
            loss = form(layer, z, x, clusters).square().mean()
            loss.backward()
            found[:] = [loss.item()]

        run(EGO + suffix, once, 2 if form is Ego.explicit else 3)
        print(f"  mean square: ours {tensors['loss'].item():.7f}, PyTorch {found[0]:.7f}", flush=True)


def norm(x: torch.Tensor) -> torch.Tensor:
    return F.layer_norm(x, x.shape[1:])


class Model:
    """Two layers of GCN, the second with clusters as virtual neighbours, and the three losses."""

    LAMBDA, BETA, GAMMA, SLOPE, EDGES, FEATURES = 0.3, 0.05, 0.05, 0.25, (0.2, 0.4), (0.3, 0.4)

    def __init__(self, tensors: dict, form):
        self.n, self.f = tensors["x.shape"].tolist()
        self.structure = tensors["x.offsets"], tensors["x.columns"]
        self.rows, self.columns = self.features(tensors["x.values"])
        self.edges = tensors["edges.sources"], tensors["edges.targets"]
        self.of = parameters_of(tensors)
        # [features, hidden], as a sparse product likes it
        self.of["layer1.lin.weight"] = self.of["layer1.lin.weight"].detach().t().contiguous().requires_grad_()
        self.slow = {name: self.of[name].detach().clone() for name in ("layer1.lin.weight", "layer1.bias")}
        self.clusters, self.ego, self.form = Clusters(tensors), Ego(self.of, "layer2.ego."), form
        self.optimizer = torch.optim.Adam(self.of.values(), lr=1e-3, weight_decay=1e-5, fused=True)
        self.diagonal = torch.eye(self.n, dtype=torch.bool)

    def features(self, values: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        rows = torch.sparse_csr_tensor(*self.structure, values, (self.n, self.f))
        return rows, rows.t().to_sparse_csr()

    def adjacencies(self, sources: torch.Tensor, targets: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Of both layers, and the share of the virtual neighbours."""
        first = normalised(self.n, sources, targets)
        offsets, columns = first.crow_indices(), first.col_indices()
        counts = offsets.diff()
        degrees = counts + self.LAMBDA
        values = (degrees.repeat_interleave(counts) * degrees[columns]).rsqrt()
        second = torch.sparse_csr_tensor(offsets, columns, values, first.shape)
        return first, second, (self.LAMBDA / degrees).unsqueeze(1)

    def encode(self, x: torch.Tensor, adjacencies: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, torch.Tensor]:
        """The output, and the sums of descriptors, from X W of the first layer."""
        first, second, share = adjacencies
        h = F.leaky_relu(Product.apply(first, first, x) + self.of["layer1.bias"], self.SLOPE)
        z = norm(h)
        ego = norm(self.form(self.ego, z, z, self.clusters)) * h.detach().std()
        y = F.linear(Product.apply(second, second, h) + share * ego, self.of["layer2.lin.weight"], self.of["layer2.bias"])
        return F.leaky_relu(y, self.SLOPE), ego

    def project(self, y: torch.Tensor) -> torch.Tensor:
        first, second = ((self.of[f"projection.{at}.weight"], self.of[f"projection.{at}.bias"]) for at in range(2))
        return F.normalize(F.linear(F.elu(F.linear(y, *first)), *second))

    def losses(self, encoded: list) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        (y1, s1), (y2, s2) = encoded
        similarities = self.project(y1) @ self.project(y2).t() / 0.5
        positive = similarities.diagonal().mean()
        others = similarities.masked_fill(self.diagonal, -math.inf)
        local = (others.logsumexp(1).mean() + others.logsumexp(0).mean()) / 2 - positive
        cluster = 0
        for y in (F.normalize(y1), F.normalize(y2)):
            for centroids, of_instances in zip(self.clusters.of_level, self.clusters.of_instances):
                cluster = cluster + F.cross_entropy(y @ centroids.t() / 0.1, of_instances) / 4
        predictor = self.of["predictor"]
        ego = 1 - F.cosine_similarity(y1 @ predictor, s2.detach()).mean() / 2
        return local, cluster, ego - F.cosine_similarity(y2 @ predictor, s1.detach()).mean() / 2

    def stored_losses(self, tensors: dict) -> list[float]:
        encoded = []
        with torch.no_grad():
            for at in range(2):
                rows, columns = self.features(tensors[f"view.{at}.values"])
                edges = tensors[f"view.{at}.sources"], tensors[f"view.{at}.targets"]
                x = Product.apply(rows, columns, self.of["layer1.lin.weight"])
                encoded.append(self.encode(x, self.adjacencies(*edges)))
            return [loss.item() for loss in self.losses(encoded)]

    def epoch(self) -> None:
        encoded = []
        for edges, columns in zip(self.EDGES, self.FEATURES):
            kept = torch.rand(self.f, 1) >= columns
            x = Product.apply(self.rows, self.columns, self.of["layer1.lin.weight"] * kept)
            kept = torch.rand(len(self.edges[0])) >= edges
            encoded.append(self.encode(x, self.adjacencies(self.edges[0][kept], self.edges[1][kept])))
        local, cluster, ego = self.losses(encoded)
        self.optimizer.zero_grad()
        (local + self.BETA * cluster + self.GAMMA * ego).backward()
        self.optimizer.step()
        for name, value in self.slow.items():
            value.lerp_(self.of[name].detach(), 0.01)


def epoch() -> None:
    tensors = stored("oepg-cora") if wanted(*(EPOCH + suffix for suffix in FORMS)) else None
    if tensors is None:
        return
    for suffix, form in FORMS.items():
        if not wanted(EPOCH + suffix) or (SHOWS_PEAK and suffix and wanted(EPOCH)):
            continue
        model = Model(tensors, form)
        found = zip(("local", "cluster", "ego"), model.stored_losses(tensors))
        both = (f"{name}: ours {tensors[f'loss.{name}'].item():.6f}, PyTorch {value:.6f}" for name, value in found)
        print("  first losses, " + "; ".join(both), flush=True)
        run(honest(EPOCH, tensors) + suffix, model.epoch)


class Conflict:
    """T of each labelled node."""

    RESTART = 0.15

    def __init__(self, n: int, tensors: dict):
        adjacency = normalised(n, tensors["edges.sources"], tensors["edges.targets"]).double()
        parts = adjacency.values(), adjacency.col_indices(), adjacency.crow_indices()
        self.adjacency = csr_array(tuple(part.numpy() for part in parts), shape=(n, n))
        degrees = np.diff(self.adjacency.indptr).astype(float)
        self.adjacency.data = 1 / np.sqrt(np.repeat(degrees, degrees.astype(int)) * degrees[self.adjacency.indices])
        self.labelled, self.classes = tensors["labelled"].numpy(), tensors["classes"].numpy()
        self.starts = np.zeros((n, self.classes.max() + 1))
        self.starts[self.labelled, self.classes] = 1 / np.bincount(self.classes)[self.classes]
        self.expected = tensors["conflict"].numpy()

    def of(self, twice: np.ndarray) -> np.ndarray:
        """From Pi P, a column for each class."""
        rows = twice[self.labelled]
        return rows.sum(1) - rows[np.arange(len(rows)), self.classes]

    def inverse(self) -> np.ndarray:
        n = len(self.starts)
        pi = self.RESTART * np.linalg.inv(np.eye(n) - (1 - self.RESTART) * self.adjacency.toarray())
        return self.of(pi @ (pi @ self.starts))

    def iteration(self) -> np.ndarray:
        x = self.starts
        for _ in range(2):
            start = self.RESTART * x
            for _ in range(150):
                x = start + (1 - self.RESTART) * (self.adjacency @ x)
        return self.of(x)


def totoro(n: int) -> None:
    name = f"Totoro, {n:,} nodes, 10 classes"
    variants = {", power iteration": Conflict.iteration}
    if n <= 5000:
        variants = {"": Conflict.inverse, **variants}
    tensors = stored(f"oepg-totoro-{n}") if wanted(*(name + suffix for suffix in variants)) else None
    if tensors is None:
        return
    conflict = Conflict(n, tensors)
    for suffix, form in variants.items():
        if not wanted(name + suffix):
            continue
        found = []
        repetitions, warm_ups = (1, 0) if form is Conflict.inverse else (3, 1)
        measure(name + suffix, lambda: found.append(form(conflict)), repetitions, warm_ups)
        apart = np.abs(found[-1] / conflict.expected - 1).max()
        print(f"  mean conflict: ours {conflict.expected.mean():.9f}, {found[-1].mean():.9f}; apart by {apart:.1e} at most", flush=True)


def main() -> None:
    keep_memory()
    torch.set_num_threads(threads())
    threadpool_limits(threads())
    torch.manual_seed(0)
    ego_layer()
    epoch()
    if not SHOWS_PEAK:
        totoro(5_000)
        totoro(20_000)


if __name__ == "__main__":
    main()
