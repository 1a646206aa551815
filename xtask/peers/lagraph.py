"""LaGraph's steps and GRACE's loss in PyTorch, for `cargo xtask bench lagraph --peers`.

Trains from the parameters, on the data and with the settings that crates/gnn/benches/lagraph.rs wrote to target/bench/lagraph-*.safetensors, and prints beside each time the loss of the view that
is stored there, by ours and by PyTorch. A step draws a masked view, encodes both views, decodes the first, and ends with fused Adam. The masked view is not decoded, as nothing of it would remain
but running statistics, whose layers are run without a tape. Freed memory stays with the process, as on our side. Adjacencies are in compressed rows and, as they are symmetric, their own transposes.

- `dense X`: the first layer is a dense product, as in the official program.
- `sparse X`: X in compressed rows with its transpose beside it, for both views; the rows of noise are multiplied apart. The weight of that layer lies [features, hidden], as such a product likes it.

Name a part of a measurement to run only those that contain it. With `--peak-memory` beside it, three steps are run and the process's peak resident set is printed.
"""

import ctypes
import json
import os
import sys
import warnings
from pathlib import Path

import torch
import torch.nn.functional as F

from measure import measure, threads

warnings.filterwarnings("ignore", message="Sparse (CSR tensor support|invariant checks)")
FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
SHOWS_PEAK = "--peak-memory" in sys.argv[1:]
TYPES = {"F32": torch.float32, "F64": torch.float64, "I64": torch.int64}
CORA = "LaGraph step, Cora, hidden 512"
SYNTHETIC = "LaGraph step, synthetic 18,000 x 6,805"
NCI1 = "LaGraph epoch, NCI1, batch 128"
GRACE = "GRACE loss forward and backward, N = 2,708, d = 128"
LARGE_GRACE = "GRACE loss forward and backward, N = 20,000, d = 128"


def wanted(*names: str) -> bool:
    return any(FILTER in name for name in names)


def stored(name: str) -> dict | None:
    """The tensors of a file that our benchmark wrote."""
    target = Path(os.environ.get("CARGO_TARGET_DIR", Path(__file__).resolve().parents[2] / "target"))
    path = target / "bench" / f"{name}.safetensors"
    if not path.exists():
        print(f"skipped: {name}: target/bench/{path.name} is not there; our benchmark writes it", flush=True)
        return None
    content = bytearray(path.read_bytes())
    length = int.from_bytes(content[:8], "little")
    tensors = {}
    for key, entry in json.loads(content[8 : 8 + length]).items():
        if key == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        flat = torch.frombuffer(content[8 + length + start : 8 + length + end], dtype=TYPES[entry["dtype"]])
        tensors[key] = flat.reshape(entry["shape"])
    return tensors


def keep_memory() -> None:
    """Tells glibc's allocator to keep what is freed, as ours does: clearing pages again and again can take most of a step. Not where the peak is measured."""
    if sys.platform == "linux" and not SHOWS_PEAK:
        for parameter, value in ((-4, 0), (-1, 2**31 - 1), (-2, 64 << 20)):  # M_MMAP_MAX, M_TRIM_THRESHOLD, M_TOP_PAD
            ctypes.CDLL(None).mallopt(parameter, value)


def resident(field: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field)) * 1024


def run(name: str, operation, repetitions: int | None = None) -> None:
    if not SHOWS_PEAK:
        measure(name, operation, repetitions)
        return
    for _ in range(3):
        operation()
    print(json.dumps({"name": f"{name}, peak resident bytes", "peak": resident("VmHWM"), "after": resident("VmRSS")}), flush=True)


def honest(name: str, tensors: dict) -> str:
    """The name of a measurement whose data may have been generated."""
    for data in ("Cora", "NCI1") if tensors["config.is_generated"].item() else ():
        name = name.replace(data, f"generated like {data}")
    return name


class Product(torch.autograd.Function):
    """A constant matrix in compressed rows times a dense one; the transpose of the first is at hand."""

    @staticmethod
    def forward(context, matrix, transposed, x):
        context.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(context, gradient):
        return None, None, context.transposed @ gradient


def normalised(num_nodes: int, sources: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """D^-1/2 (A + I) D^-1/2 of undirected edges."""
    loops = torch.arange(num_nodes)
    rows, columns = torch.cat([sources, targets, loops]), torch.cat([targets, sources, loops])
    degrees = torch.bincount(rows, minlength=num_nodes).float()
    values = (degrees[rows] * degrees[columns]).rsqrt()
    return torch.sparse_coo_tensor(torch.stack([rows, columns]), values, (num_nodes, num_nodes)).to_sparse_csr()


class Model:
    """Parameters and running statistics by our names."""

    def __init__(self, tensors: dict):
        self.config = {name[7:]: value.item() for name, value in tensors.items() if name.startswith("config.")}
        self.of = {name[5:]: value.clone() for name, value in tensors.items() if name.startswith("init.")}
        for name, value in self.of.items():
            if "running" not in name:
                value.requires_grad_()

    def optimizer(self) -> torch.optim.Optimizer:
        parameters = [value for value in self.of.values() if value.requires_grad]
        return torch.optim.Adam(parameters, lr=self.config["learning_rate"], fused=True)

    def norm(self, name: str, x: torch.Tensor) -> torch.Tensor:
        statistics = (self.of[f"{name}.running_mean"], self.of[f"{name}.running_var"])
        return F.batch_norm(x, *statistics, self.of[f"{name}.weight"], self.of[f"{name}.bias"], training=True)

    def linear(self, name: str, x: torch.Tensor) -> torch.Tensor:
        return F.linear(x, self.of[f"{name}.weight"], self.of[f"{name}.bias"])

    def step(self, optimizer: torch.optim.Optimizer, loss: torch.Tensor) -> None:
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


FIRST = "encoder.convs.0.lin.weight"


class OfNodes(Model):
    """GCN with PReLU, a linear decoder with ReLU."""

    def __init__(self, tensors: dict, is_sparse: bool):
        super().__init__(tensors)
        n, f = tensors["x.shape"].tolist()
        rows = torch.sparse_csr_tensor(tensors["x.offsets"], tensors["x.columns"], tensors["x.values"], (n, f))
        self.x, self.is_sparse = rows.to_dense(), is_sparse
        if is_sparse:
            self.rows, self.columns = rows, rows.t().to_sparse_csr()
            self.of[FIRST] = self.of[FIRST].detach().t().contiguous().requires_grad_()
        self.adjacency = normalised(n, tensors["edges.sources"], tensors["edges.targets"])

    def first(self, nodes: torch.Tensor | None, noise: torch.Tensor | None) -> torch.Tensor:
        """X W, of the masked view if there is noise."""
        if self.is_sparse:
            y = Product.apply(self.rows, self.columns, self.of[FIRST])
            return y if nodes is None else y.index_copy(0, nodes, noise @ self.of[FIRST])
        x = self.x if nodes is None else self.x.index_copy(0, nodes, noise)
        return F.linear(x, self.of[FIRST])

    def encode(self, nodes: torch.Tensor | None = None, noise: torch.Tensor | None = None) -> torch.Tensor:
        x = None
        for at in range(2):
            name = f"encoder.convs.{at}"
            y = self.first(nodes, noise) if at == 0 else F.linear(x, self.of[f"{name}.lin.weight"])
            y = Product.apply(self.adjacency, self.adjacency, y) + self.of[f"{name}.bias"]
            x = self.norm(f"encoder.bns.{at}", F.prelu(y, self.of[f"{name}.act.weight"]))
        return x

    def loss(self, nodes: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        h, masked = self.encode(), self.encode(nodes, noise)
        reconstruction = F.mse_loss(F.relu(self.linear("decoder.nns.0", h)), self.x)
        return reconstruction + self.config["alpha"] * F.mse_loss(h[nodes], masked[nodes]).sqrt()

    def view(self) -> tuple[torch.Tensor, torch.Tensor]:
        n, f = self.x.shape
        nodes = torch.randperm(n)[: int(self.config["ratio"] * n)]
        return nodes, torch.randn(len(nodes), f) * self.config["std"]


def step(file: str, name: str, variants: dict, repetitions: int | None = None) -> None:
    if not wanted(*(name + suffix for suffix in variants)):
        return
    tensors = stored(f"lagraph-{file}")
    if tensors is None:
        return
    for suffix, is_sparse in variants.items():
        if not wanted(name + suffix):
            continue
        model = OfNodes(tensors, is_sparse)
        if not SHOWS_PEAK:
            with torch.no_grad():
                found = model.loss(tensors["view.nodes"], tensors["view.values"]).item()
            print(f"  loss of the stored view: ours {tensors['loss'].item():.7f}, PyTorch {found:.7f}", flush=True)
        optimizer = model.optimizer()
        run(honest(name, tensors) + suffix, lambda: model.step(optimizer, model.loss(*model.view())), repetitions)


class Batch:
    """Graphs side by side."""

    def __init__(self, tensors: dict, at: int, width: int):
        self.sources, self.targets = tensors[f"batch.{at}.sources"], tensors[f"batch.{at}.targets"]
        self.graphs = tensors[f"batch.{at}.graphs"]
        self.x = F.one_hot(tensors[f"batch.{at}.tags"], width).float()
        self.sizes = torch.bincount(self.graphs)
        self.starts = self.sizes.cumsum(0) - self.sizes


class OfGraphs(Model):
    """GIN with ReLU, sums of the nodes of a graph, a decoder of two layers."""

    def gin(self, at: int, x: torch.Tensor, batch: Batch) -> torch.Tensor:
        y = x.index_add(0, batch.targets, x[batch.sources])
        return self.linear(f"encoder.convs.{at}.nn.2", F.relu(self.linear(f"encoder.convs.{at}.nn.0", y)))

    def encode(self, x: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """The last layer, and the sums of all layers side by side."""
        sums = []
        for at in range(3):
            x = self.norm(f"encoder.bns.{at}", F.relu(self.gin(at, x, batch)))
            sums.append(torch.zeros(len(batch.sizes), x.shape[1]).index_add(0, batch.graphs, x))
        return x, torch.cat(sums, 1)

    def hidden(self, h: torch.Tensor) -> torch.Tensor:
        return self.norm("decoder.bns.0", F.relu(self.linear("decoder.nns.0", h)))

    def loss(self, batch: Batch, nodes: torch.Tensor, noise: torch.Tensor) -> torch.Tensor:
        (h, z), (of_view, masked) = self.encode(batch.x, batch), self.encode(batch.x.index_copy(0, nodes, noise), batch)
        reconstruction = F.mse_loss(F.relu(self.linear("decoder.nns.1", self.hidden(h))), batch.x)
        with torch.no_grad():
            self.hidden(of_view)
        return reconstruction + self.config["alpha"] * F.mse_loss(z, masked).sqrt()

    def view(self, batch: Batch) -> tuple[torch.Tensor, torch.Tensor]:
        """floor(ratio n) nodes of each graph: the first ones of a random order inside it."""
        order = torch.argsort(batch.graphs + torch.rand(len(batch.graphs)))
        rank = torch.arange(len(order)) - batch.starts[batch.graphs]
        counts = (batch.sizes * self.config["ratio"]).floor().long()
        nodes = order[rank < counts[batch.graphs]]
        return nodes, torch.randn(len(nodes), batch.x.shape[1]) * self.config["std"]


def epoch() -> None:
    tensors = stored("lagraph-nci1") if wanted(NCI1) else None
    if tensors is None:
        return
    model = OfGraphs(tensors)
    width = model.of["encoder.convs.0.nn.0.weight"].shape[1]
    batches = [Batch(tensors, at, width) for at in range(tensors["num_batches"].item())]
    if not SHOWS_PEAK:
        with torch.no_grad():
            found = OfGraphs(tensors).loss(batches[0], tensors["view.nodes"], tensors["view.values"]).item()
        print(f"  loss of the stored view: ours {tensors['loss'].item():.7f}, PyTorch {found:.7f}", flush=True)
    optimizer = model.optimizer()

    def once() -> None:
        for batch in batches:
            model.step(optimizer, model.loss(batch, *model.view(batch)))

    run(honest(NCI1, tensors), once)


def grace(u: torch.Tensor, v: torch.Tensor, temperature: float) -> torch.Tensor:
    """With whole matrices of similarities, the one across the views used in both directions."""
    u, v = F.normalize(u), F.normalize(v)
    across = (u @ v.t() / temperature).exp()
    of_u, of_v = (u @ u.t() / temperature).exp(), (v @ v.t() / temperature).exp()
    positive = across.diagonal().log()
    from_u = (across.sum(1) + of_u.sum(1) - of_u.diagonal()).log() - positive
    from_v = (across.sum(0) + of_v.sum(1) - of_v.diagonal()).log() - positive
    return (from_u + from_v).mean() / 2


def contrast() -> None:
    tensors = stored("lagraph-grace") if wanted(GRACE) and not SHOWS_PEAK else None
    if tensors is not None:
        u, v = tensors["u"], tensors["v"]
        once = contrasting(u, v, tensors["temperature"].item())
        print(f"  loss: ours {tensors['loss'].item():.7f}, PyTorch {once().item():.7f}", flush=True)
        run(GRACE, once)
    if SHOWS_PEAK and wanted(LARGE_GRACE):
        memory = Path("/proc/meminfo").read_text().split("MemAvailable:")[1].split()[0]
        if int(memory) < 16 * 2**20:
            print(f"skipped: {LARGE_GRACE}: less than 16 GiB of memory are free", flush=True)
        else:
            run(LARGE_GRACE, contrasting(torch.randn(20_000, 128), torch.randn(20_000, 128), 0.4))


def contrasting(u: torch.Tensor, v: torch.Tensor, temperature: float):
    u.requires_grad_(), v.requires_grad_()

    def once() -> torch.Tensor:
        u.grad = v.grad = None
        loss = grace(u, v, temperature)
        loss.backward()
        return loss.detach()

    return once


def main() -> None:
    keep_memory()
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    step("cora", CORA, {", dense X": False, ", sparse X": True})
    step("synthetic", SYNTHETIC, {"": False}, repetitions=2)
    epoch()
    contrast()


if __name__ == "__main__":
    main()
