"""PyTorch's side of crates/core-tensor/benches/core_tensor: the same operations, shapes and names.

Name a part of an operation to run only those that contain it: `python core-tensor.py conv2d`. With `--peak-memory`, it
measures the resident memory that three training steps of a ResNet-18 (or `transformer`) add, and nothing else.
"""

import json
import resource
import sys
from functools import partial

import torch
import torch.nn.functional as F
from torch import nn

import measure as measuring
from measure import threads

FEATURES = 64
FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")

Inputs = tuple[torch.Tensor, ...]

FusedAdam = partial(torch.optim.Adam, lr=1e-3, fused=True)
FusedAdamW = partial(torch.optim.AdamW, lr=1e-3, fused=True)


def wanted(name: str) -> bool:
    return FILTER in name


def measure(name: str, operation) -> None:
    if wanted(name):
        measuring.measure(name, operation)


def backward(y: torch.Tensor) -> None:
    y.sum().backward()


def leaf(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, requires_grad=True)


def step(name: str, leaves: list[torch.Tensor], forward) -> None:
    """Measures `forward` with its backward pass; gradients are made anew each time, as ours are."""

    def operation() -> None:
        for one in leaves:
            one.grad = None
        backward(forward())

    measure(name, operation)


def without_grad(name: str, shapes: list[tuple[int, ...]], function) -> None:
    """Measures `function` of tensors of these shapes, which are made only if the name is wanted."""
    if wanted(name):
        tensors = [torch.randn(*shape) for shape in shapes]
        with torch.no_grad():
            measure(name, lambda: function(*tensors))


def with_grad(name: str, shapes: list[tuple[int, ...]], function, parameters=()) -> None:
    """Measures `function` of leaves of these shapes with its backward pass; `parameters` are leaves that it holds."""
    if wanted(name):
        leaves = [leaf(*shape) for shape in shapes]
        step(name, [*leaves, *parameters], lambda: function(*leaves))


def both(name: str, shapes: list[tuple[int, ...]], function, parameters=()) -> None:
    without_grad(f"{name} forward", shapes, function)
    with_grad(f"{name} f+b", shapes, function, parameters)


def message_passing(size: str, nodes: int, edges: int) -> None:
    rows, cols = torch.randint(nodes, (edges,)), torch.randint(nodes, (edges,))
    ones = torch.ones(edges)
    adjacency = torch.sparse_coo_tensor(torch.stack([rows, cols]), ones, (nodes, nodes)).to_sparse_csr()
    x, x_var = torch.randn(nodes, FEATURES), leaf(nodes, FEATURES)
    weights, scores = leaf(edges), leaf(edges, 4)

    with torch.no_grad():
        measure(f"spmm forward, {size}", lambda: adjacency @ x)
    step(f"spmm forward+backward, {size}", [x_var], lambda: adjacency @ x_var)

    def weighted() -> torch.Tensor:
        messages = weights[:, None] * x_var.index_select(0, cols)
        return torch.zeros(nodes, FEATURES).index_add(0, rows, messages)

    step(f"weighted spmm forward+backward, {size}", [x_var, weights], weighted)

    heads = rows[:, None].expand(-1, 4)

    def softmax() -> torch.Tensor:
        largest = torch.full((nodes, 4), -torch.inf).scatter_reduce(0, heads, scores.detach(), "amax")
        powers = (scores - largest.index_select(0, rows)).exp()
        return powers / torch.zeros(nodes, 4).index_add(0, rows, powers).index_select(0, rows)

    step(f"segment softmax 4 heads f+b, {size}", [scores], softmax)

    targets = rows[:, None].expand(-1, FEATURES)
    step(
        f"segment max f+b, {size}",
        [x_var],
        lambda: torch.zeros(nodes, FEATURES).scatter_reduce(
            0, targets, x_var.index_select(0, cols), "amax", include_self=False
        ),
    )
    step(f"gather rows f+b, {size}", [x_var], lambda: x_var.index_select(0, cols))
    graphs = torch.arange(nodes) * 100 // nodes
    step(f"readout by sum f+b, {size}", [x_var], lambda: torch.zeros(100, FEATURES).index_add(0, graphs, x_var))
    measure(
        f"building the pattern, {size}",
        lambda: torch.sparse_coo_tensor(torch.stack([rows, cols]), ones, (nodes, nodes)).to_sparse_csr(),
    )


def dense() -> None:
    with_grad("linear 4096×256×128 f+b", [(4096, 256), (128, 256), (128,)], F.linear)
    with_grad("sum over rows 4096×256 f+b", [(4096, 256)], lambda x: x.sum(0))
    for size in (64, 256, 512, 1024):
        without_grad(f"matmul {size} forward", [(size, size)] * 2, torch.matmul)
    without_grad("matmul 20000x64x64 forward", [(20_000, 64), (64, 64)], torch.matmul)
    with_grad("matmul 512 f+b", [(512, 512)] * 2, torch.matmul)
    both("bmm 64x128x64x128", [(64, 128, 64), (64, 64, 128)], torch.bmm)
    with_grad("bmm 4096x8x8x8 f+b", [(4096, 8, 8)] * 2, torch.bmm)


def convolutions() -> None:
    padded = partial(F.conv2d, padding=1)
    for channels, size in [(64, 32), (128, 16), (256, 8), (512, 4)]:
        shapes = [(64, channels, size, size), (channels, channels, 3, 3)]
        both(f"conv2d {channels}c {size}x{size} b64 k3", shapes, padded)
    image = torch.randn(64, 3, 32, 32)
    with_grad("conv2d stem 3-64 32x32 b64 f+b", [(64, 3, 3, 3)], lambda w: padded(image, w))
    x, small = (64, 64, 32, 32), (64, 64, 16, 16)
    with_grad("conv2d 64-128 32x32 b64 k3 s2 f+b", [x, (128, 64, 3, 3)], partial(padded, stride=2))
    with_grad("conv2d 64-128 32x32 b64 k1 f+b", [x, (128, 64, 1, 1)], F.conv2d)
    with_grad("conv2d depthwise 64c 16x16 b64 k3 f+b", [small, (64, 1, 3, 3)], partial(padded, groups=64))
    with_grad("conv2d grouped 64c 16x16 b64 k3 g4 f+b", [small, (64, 16, 3, 3)], partial(padded, groups=4))
    with_grad(
        "conv_transpose2d 64-32 16x16 b32 k4 s2 f+b",
        [(32, 64, 16, 16), (64, 32, 4, 4)],
        partial(F.conv_transpose2d, stride=2, padding=1),
    )
    both("conv1d 64c L512 b32 k3 d4", [(32, 64, 512), (64, 64, 3)], partial(F.conv1d, padding=4, dilation=4))


def norms() -> None:
    norm = nn.BatchNorm1d(256)
    with_grad("batch norm 4096×256 f+b", [(4096, 256)], norm, norm.parameters())
    images = [(64, 64, 32, 32)]
    norm = nn.BatchNorm2d(64)
    both("batch norm 64x64x32x32", images, norm, norm.parameters())
    with_grad("batch norm+relu 64x64x32x32 f+b", images, lambda x: norm(x).relu(), norm.parameters())
    norm.eval()
    without_grad("batch norm 64x64x32x32 eval", images, norm)
    norm = nn.LayerNorm(256)
    both("layer norm 4096x256", [(4096, 256)], norm, norm.parameters())
    norm = nn.GroupNorm(8, 64)
    with_grad("group norm 32x64x16x16 g8 f+b", [(32, 64, 16, 16)], norm, norm.parameters())
    norm = nn.RMSNorm(256, eps=1e-5)
    with_grad("rms norm 4096x256 f+b", [(4096, 256)], norm, norm.parameters())


def activations() -> None:
    x = (4096, 256)
    with_grad("bias+relu 4096×256 f+b", [x, (256,)], lambda x, b: (x + b).relu())
    with_grad("relu 1M f+b", [x], torch.relu)
    with_grad("tanh 1M f+b", [x], torch.tanh)
    with_grad("gelu 1M f+b", [x], F.gelu)
    with_grad("gelu tanh 1M f+b", [x], partial(F.gelu, approximate="tanh"))
    with_grad("silu 1M f+b", [x], F.silu)
    with_grad("sigmoid 1M f+b", [x], torch.sigmoid)
    with_grad("elu 1M f+b", [x], F.elu)
    without_grad("tanh 1M forward", [x], torch.tanh)
    without_grad("gelu 1M forward", [x], F.gelu)
    for name, dtype in (("f32", torch.float32), ("f64", torch.float64)):
        positive = torch.rand(*x, dtype=dtype) * 19.9 + 0.1
        without_grad(f"lgamma 1M {name} forward", [], lambda: torch.lgamma(positive))
        without_grad(f"digamma 1M {name} forward", [], lambda: torch.digamma(positive))
    with_grad("bias+gelu 4096x256 f+b", [x, (256,)], lambda x, b: F.gelu(x + b))
    with_grad("add+relu 1M f+b", [x, x], lambda a, b: (a + b).relu())
    with_grad("swiglu 4096x256 f+b", [x, x], lambda a, b: F.silu(a) * b)
    with_grad("dropout 1M f+b", [x], partial(F.dropout, p=0.5))

    with_grad("softmax 4096×256 f+b", [x], partial(F.softmax, dim=-1))
    without_grad("softmax 4096x256 forward", [x], partial(F.softmax, dim=-1))
    with_grad("softmax dim1 64x256x64 f+b", [(64, 256, 64)], partial(F.softmax, dim=1))
    with_grad("log softmax 4096x256 f+b", [x], partial(F.log_softmax, dim=-1))
    loss = partial(F.cross_entropy, target=torch.randint(100, (4096,)))
    with_grad("cross entropy 4096×100 f+b", [(4096, 100)], loss)
    without_grad("cross entropy 4096x100 forward", [(4096, 100)], loss)


def pooling() -> None:
    images = [(64, 64, 32, 32)]
    with_grad("max pool 64x64x32x32 k2 f+b", images, lambda x: F.max_pool2d(x, 2))
    with_grad("max pool 64x64x32x32 k3 s2 p1 f+b", images, lambda x: F.max_pool2d(x, 3, stride=2, padding=1))
    with_grad("avg pool 64x64x32x32 k2 f+b", images, lambda x: F.avg_pool2d(x, 2))


def indexing() -> None:
    ids = torch.randint(10_000, (8192,))
    with_grad("embedding 10k x 64, 8192 ids f+b", [(10_000, 64)], lambda weight: F.embedding(ids, weight))
    targets = torch.randint(10_000, (100_000,))
    with_grad(
        "scatter add 100k x 64 to 10k f+b",
        [(100_000, 64)],
        lambda x: torch.zeros(10_000, 64).index_add(0, targets, x),
    )


def sequences() -> None:
    heads = [(8, 8, 128, 32)] * 3
    with_grad("attention 64x128x32 f+b", heads, F.scaled_dot_product_attention)
    causal = partial(F.scaled_dot_product_attention, is_causal=True)
    with_grad("attention causal 64x128x32 f+b", heads, causal)
    for name, layer in [("lstm", nn.LSTM(32, 64)), ("gru", nn.GRU(32, 64))]:
        with_grad(f"{name} 32-64 T50 b32 f+b", [(50, 32, 32)], lambda x: layer(x)[0], layer.parameters())


def optimizers() -> None:
    def with_gradients(count: int, *shape: int) -> list[torch.Tensor]:
        tensors = [leaf(*shape) for _ in range(count)]
        for one in tensors:
            one.grad = 2 * one.detach()
        return tensors

    measure("AdamW step, 1M parameters in 16 tensors", FusedAdamW(with_gradients(16, 256, 256)).step)
    measure("AdamW step, 1M parameters in 104 tensors", FusedAdamW(with_gradients(104, 100, 101)).step)
    sgd = torch.optim.SGD(with_gradients(16, 256, 256), lr=1e-3, momentum=0.9, fused=True)
    measure("SGD momentum step, 1M parameters in 16 tensors", sgd.step)
    clipped = with_gradients(16, 256, 256)
    measure("clip grad norm 1M in 16 tensors", lambda: nn.utils.clip_grad_norm_(clipped, 1e9))


def tiny() -> None:
    def repeated(function, *tensors: torch.Tensor) -> None:
        for _ in range(1000):
            function(*tensors)

    without_grad("tiny add 8, 1000 times", [(8,), (8,)], partial(repeated, torch.add))
    without_grad("tiny matmul 8x8, 1000 times", [(8, 8), (8, 8)], partial(repeated, torch.matmul))
    x, addend = leaf(8), torch.randn(8)

    def relus() -> None:
        for _ in range(100):
            x.grad = None
            backward(x.relu())

    measure("tiny relu 8 f+b, 100 times", relus)

    def chain() -> torch.Tensor:
        y = x
        for _ in range(100):
            y = y + addend
        return y

    step("tiny chain of 100 adds f+b", [x], chain)


class BasicBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(self.conv1(x)))
        return F.relu(self.norm2(self.conv2(y)) + self.shortcut(x))


class PreActivationBlock(nn.Module):
    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.norm1 = nn.BatchNorm2d(before)
        self.conv1 = nn.Conv2d(before, after, 3, stride, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(after)
        self.conv2 = nn.Conv2d(after, after, 3, 1, 1, bias=False)
        changes = stride != 1 or before != after
        self.shortcut = nn.Conv2d(before, after, 1, stride, bias=False) if changes else None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.norm1(x))
        shortcut = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(F.relu(self.norm2(self.conv1(y)))) + shortcut


def blocks(block, width: int, widths: list[int]) -> list[nn.Module]:
    """Two blocks of each width; the first of each but the first width halves the image."""
    layers = []
    for group, after in enumerate(widths):
        layers += [block(width, after, 1 if group == 0 else 2), block(after, after, 1)]
        width = after
    return layers


def resnet18() -> nn.Module:
    stem = [nn.Conv2d(3, 64, 3, 1, 1, bias=False), nn.BatchNorm2d(64), nn.ReLU()]
    head = [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, 10)]
    return nn.Sequential(*stem, *blocks(BasicBlock, 64, [64, 128, 256, 512]), *head)


def wide_resnet() -> nn.Module:
    stem = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    head = [nn.BatchNorm2d(256), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(256, 10)]
    return nn.Sequential(stem, *blocks(PreActivationBlock, 16, [64, 128, 256]), *head)


class Gin(nn.Module):
    def __init__(self, graphs: int, widths: list[int]) -> None:
        super().__init__()
        self.graphs = graphs
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Linear(before, after), nn.BatchNorm1d(after), nn.ReLU(), nn.Linear(after, after))
            for before, after in zip(widths, widths[1:])
        )
        self.head = nn.Linear(widths[-1], 2)

    def forward(self, x: torch.Tensor, rows: torch.Tensor, cols: torch.Tensor, graph: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = F.relu(layer(x.index_add(0, rows, x.index_select(0, cols))))
        return self.head(x.new_zeros(self.graphs, x.shape[1]).index_add(0, graph, x))


class TransformerLayer(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.LayerNorm(width), nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        q, k, v = self.qkv(self.norm(x)).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        attended = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.out(attended.transpose(1, 2).flatten(2))
        return x + self.mlp(x)


class Transformer(nn.Module):
    def __init__(self, tokens: int, length: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(tokens, width)
        self.positions = nn.Parameter(torch.randn(length, width))
        self.layers = nn.Sequential(*(TransformerLayer(width, 8) for _ in range(4)))
        self.head = nn.Sequential(nn.LayerNorm(width), nn.Linear(width, tokens))

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        return self.head(self.layers(self.tokens(ids) + self.positions)).flatten(0, 1)


class TemporalBlock(nn.Module):
    def __init__(self, before: int, after: int, kernel: int, dilation: int) -> None:
        super().__init__()
        self.padding = ((kernel - 1) * dilation, 0)
        self.conv1 = nn.Conv1d(before, after, kernel, dilation=dilation)
        self.conv2 = nn.Conv1d(after, after, kernel, dilation=dilation)
        self.shortcut = nn.Identity() if before == after else nn.Conv1d(before, after, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = F.relu(self.conv1(F.pad(x, self.padding)))
        y = F.relu(self.conv2(F.pad(y, self.padding)))
        return F.relu(y + self.shortcut(x))


class Tcn(nn.Module):
    def __init__(self, channels: int, levels: int) -> None:
        super().__init__()
        levels = [TemporalBlock(channels if level else 1, channels, 7, 2**level) for level in range(levels)]
        self.levels = nn.Sequential(*levels)
        self.head = nn.Linear(channels, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.levels(x)[:, :, -1])


def mlp(widths: list[int], activation) -> nn.Module:
    layers = []
    for before, after in zip(widths, widths[1:]):
        layers += [nn.Linear(before, after), activation()]
    return nn.Sequential(*layers[:-1])


def training(model: nn.Module, optimizer, inputs: Inputs, targets: torch.Tensor, loss=F.cross_entropy):
    """A training step of the model, always on the same batch."""
    optimizer = optimizer(model.parameters())

    def training_step() -> None:
        optimizer.zero_grad(set_to_none=True)
        loss(model(*inputs), targets).backward()
        optimizer.step()

    return training_step


def whole(name: str, build, optimizer, inputs: Inputs, targets: torch.Tensor, evaluated=False, **others) -> None:
    """Measures a training step of a model and, if it is `evaluated` too, its forward pass in evaluation mode."""
    if wanted(f"{name}, training step"):
        measure(f"{name}, training step", training(build(), optimizer, inputs, targets, **others))
    if evaluated and wanted(f"{name}, forward"):
        model = build().eval()
        with torch.no_grad():
            measure(f"{name}, forward", lambda: model(*inputs))


def images(batch: int) -> tuple[Inputs, torch.Tensor]:
    return (torch.randn(batch, 3, 32, 32),), torch.randint(10, (batch,))


RESNET_OPTIMIZER = partial(torch.optim.SGD, lr=0.1, momentum=0.9, weight_decay=5e-4)


def models() -> None:
    classes, relu = torch.randint(10, (128,)), nn.ReLU
    x = torch.randn(128, 64)
    whole("MLP 64-64-64-10 batch 128", partial(mlp, [64, 64, 64, 10], relu), FusedAdamW, (x,), classes)
    x = torch.randn(128, 784)
    whole("MLP 784-1024-1024-10 b128", partial(mlp, [784, 1024, 1024, 10], relu), FusedAdamW, (x,), classes)
    x, y = torch.rand(100_000, 2), torch.randn(100_000, 1)
    build = partial(mlp, [2, 64, 64, 64, 64, 1], nn.Tanh)
    whole("coordinate MLP 2-64x4-1 100k", build, FusedAdam, (x,), y, loss=F.mse_loss)

    graphs, size, edges = 128, 20, 64
    first = size * torch.arange(graphs)[:, None]
    rows, cols = ((first + torch.randint(size, (graphs, edges))).flatten() for _ in range(2))
    inputs = torch.randn(graphs * size, 16), rows, cols, torch.arange(graphs).repeat_interleave(size)
    build = partial(Gin, graphs, [16, 64, 64, 64, 64])
    whole("GIN 128 graphs", build, FusedAdam, inputs, torch.randint(2, (graphs,)))

    ids, targets = torch.randint(1000, (16, 128)), torch.randint(1000, (16 * 128,))
    build = partial(Transformer, 1000, 128, 256)
    whole("transformer 4x256 T128 b16", build, FusedAdamW, (ids,), targets, evaluated=True)
    x, targets = torch.randn(32, 1, 784), torch.randint(10, (32,))
    whole("TCN 25x8 T784 b32", partial(Tcn, 25, 8), FusedAdam, (x,), targets, evaluated=True)
    whole("ResNet-18 32x32 b64", resnet18, RESNET_OPTIMIZER, *images(64), evaluated=True)
    nesterov = partial(torch.optim.SGD, lr=0.1, momentum=0.9, nesterov=True)
    whole("WRN-16-4 32x32 b32", wide_resnet, nesterov, *images(32), evaluated=True)


def peak_memory() -> None:
    def resident() -> int:
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024

    if FILTER == "transformer":
        ids, targets = torch.randint(1000, (16, 128)), torch.randint(1000, (16 * 128,))
        before = resident()
        training_step = training(Transformer(1000, 128, 256), FusedAdamW, (ids,), targets)
    else:
        inputs, targets = images(64)
        before = resident()
        training_step = training(resnet18(), RESNET_OPTIMIZER, inputs, targets)
    for _ in range(3):
        training_step()
    peak = resident()
    report = {"name": f"{FILTER or 'ResNet-18'} peak resident bytes", "bytes": peak - before, "before": before, "peak": peak}
    print(json.dumps(report, separators=(",", ":")), flush=True)


def benchmarks() -> None:
    message_passing("2.5k nodes 25k edges", 2_500, 25_000)
    message_passing("10k nodes 100k edges", 10_000, 100_000)
    dense()
    convolutions()
    norms()
    activations()
    pooling()
    indexing()
    sequences()
    optimizers()
    tiny()
    models()


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(threads())
    if "--peak-memory" in sys.argv[1:]:
        peak_memory()
    else:
        benchmarks()
