"""Python's side of crates/gnn/benches/sep.rs: the same trees and training epochs.

Coding trees: the authors' code, if SEP_REPOSITORY names a checkout of it (needs numba). Epochs: the same models in PyTorch, with PyTorch Geometric's
convolutions where it is installed, on the graphs and clusters that our benchmark wrote to target/bench/sep-imdb-binary.json.
"""

import csv
import json
import os
import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from measure import measure, threads

BATCH_SIZE = 128
HIDDEN = 64


def skip(what: str, why: str) -> None:
    print(f"skipped: {what}: {why}")


def dense(num_nodes: int, edges: list) -> np.ndarray:
    adjacency = np.zeros((num_nodes, num_nodes))
    for u, v in edges:
        adjacency[u, v] = adjacency[v, u] = 1
    return adjacency


def grid(side: int) -> list:
    at = lambda row, column: row * side + column
    right = [(at(r, c), at(r, c + 1)) for r in range(side) for c in range(side - 1)]
    down = [(at(r, c), at(r + 1, c)) for r in range(side - 1) for c in range(side)]
    return right + down


def trees() -> None:
    repository = os.environ.get("SEP_REPOSITORY")
    if not repository:
        return skip("coding trees", "SEP_REPOSITORY does not name a checkout of the authors' code")
    sys.path.insert(0, str(Path(repository) / "SEPN"))
    try:
        from codingTree import PartitionTree
    except ImportError as error:
        return skip("coding trees", str(error))

    def build(adjacency: np.ndarray) -> None:
        PartitionTree(adj_matrix=adjacency).build_coding_tree(3)

    lattice = dense(900, grid(30))
    measure("coding tree, 30x30 grid, k=3", lambda: build(lattice))
    data = Path(os.environ.get("DATA_DIR", "."))
    cora = data / "planetoid-cora" / "edges.csv"
    if cora.exists():
        with cora.open() as file:
            rows = [(int(u), int(v)) for u, v in list(csv.reader(file))[1:]]
        adjacency = dense(2708, rows)
        measure("coding tree, Cora, k=3", lambda: build(adjacency))
    else:
        skip("Cora", "not in DATA_DIR")
    mutag = data / "tu-mutag" / "MUTAG.txt"
    if mutag.exists():
        graphs = read_graphs(mutag.read_text())
        measure("coding trees, all of MUTAG, k=3", lambda: [build(graph) for graph in graphs])
    else:
        skip("MUTAG", "not in DATA_DIR")


def read_graphs(text: str) -> list:
    lines = iter(text.splitlines())
    graphs = []
    for _ in range(int(next(lines))):
        num_nodes = int(next(lines).split()[0])
        rows = [list(map(int, next(lines).split())) for _ in range(num_nodes)]
        graphs.append(dense(num_nodes, [(u, v) for u, row in enumerate(rows) for v in row[2:]]))
    return graphs


class Level:
    """A graph as an edge index in both directions."""

    def __init__(self, num_nodes: int, edges: list):
        self.num_nodes = num_nodes
        pairs = torch.tensor(edges, dtype=torch.long).reshape(-1, 2)
        self.edge_index = torch.cat([pairs, pairs.flip(1)]).t().contiguous()


class Sample:
    def __init__(self, graph: dict):
        self.label = graph["label"]
        self.levels = [Level(graph["num_nodes"], graph["edges"])]
        self.parents = []
        labels = list(range(graph["num_nodes"]))
        for parents in graph["parents"][:2]:
            labels = [parents[label] for label in labels]
            pairs = {tuple(sorted((labels[u], labels[v]))) for u, v in graph["edges"] if labels[u] != labels[v]}
            self.levels.append(Level(max(parents) + 1, sorted(pairs)))
            self.parents.append(torch.tensor(parents))
        self.x = None


class Batch:
    def __init__(self, samples: list):
        self.x = torch.cat([sample.x for sample in samples])
        self.y = torch.tensor([sample.label for sample in samples])
        self.edges, self.parents, self.graph, self.sizes = [], [], [], []
        for d in range(3):
            sizes = [sample.levels[d].num_nodes for sample in samples]
            offsets = np.concatenate([[0], np.cumsum(sizes)[:-1]])
            self.edges.append(torch.cat([s.levels[d].edge_index + int(o) for s, o in zip(samples, offsets)], 1))
            self.graph.append(torch.repeat_interleave(torch.arange(len(samples)), torch.tensor(sizes)))
            self.sizes.append(sum(sizes))
            if d > 0:
                self.parents.append(torch.cat([s.parents[d - 1] + int(o) for s, o in zip(samples, offsets)]))


def convolutions():
    """PyTorch Geometric's layers, as its users have them."""
    from torch_geometric.nn import GCNConv, GINConv

    def gin(inputs: int) -> nn.Module:
        return GINConv(nn.Sequential(nn.Linear(inputs, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN)))

    return (lambda inputs: GCNConv(inputs, HIDDEN)), gin


def segment_sum(x: torch.Tensor, index: torch.Tensor, size: int) -> torch.Tensor:
    return torch.zeros(size, x.shape[1]).index_add(0, index, x)


class Classifier(nn.Module):
    def __init__(self, inputs: int, classes: int, conv, pools: int):
        super().__init__()
        self.convs = nn.ModuleList([conv(inputs), conv(HIDDEN), conv(HIDDEN)])
        self.pools = pools
        self.classifier = nn.Sequential(
            nn.Linear(3 * HIDDEN, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, HIDDEN // 2), nn.ReLU(), nn.Linear(HIDDEN // 2, classes)
        )

    def forward(self, batch: Batch) -> torch.Tensor:
        x, level, readouts = batch.x, 0, []
        for i, conv in enumerate(self.convs):
            x = F.relu(conv(x, batch.edges[level]))
            if i < self.pools:
                x = segment_sum(x, batch.parents[level], batch.sizes[level + 1])
                level += 1
            readouts.append(segment_sum(x, batch.graph[level], len(batch.y)))
        return self.classifier(torch.cat(readouts, 1))


def epochs() -> None:
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))
    path = target / "bench" / "sep-imdb-binary.json"
    if not path.exists():
        return skip("epochs", f"{path} is not there; our benchmark writes it")
    try:
        gcn, gin = convolutions()
    except ImportError as error:
        return skip("epochs", str(error))
    samples = [Sample(graph) for graph in json.loads(path.read_text())]
    degrees = [torch.bincount(s.levels[0].edge_index[0], minlength=s.levels[0].num_nodes) for s in samples]
    values = torch.unique(torch.cat(degrees))
    for sample, degree in zip(samples, degrees):
        sample.x = F.one_hot(torch.searchsorted(values, degree), len(values)).float()
    classes = max(sample.label for sample in samples) + 1
    for name, conv, pools in [("SEP-G", gcn, 2), ("GIN", gin, 0)]:
        model = Classifier(len(values), classes, conv, pools)
        optimizer = torch.optim.Adam(model.parameters(), lr=5e-4)

        def epoch() -> None:
            for start in range(0, len(samples), BATCH_SIZE):
                batch = Batch(samples[start : start + BATCH_SIZE])
                loss = F.cross_entropy(model(batch), batch.y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()

        measure(f"{name} epoch, IMDB-BINARY, batch {BATCH_SIZE}", epoch)


torch.set_num_threads(threads())
epochs()
trees()
