"""PyTorch's side of crates/core-tensor/benches/core_tensor.rs: the same operations, shapes and names."""

import torch
import torch.nn.functional as F

from measure import measure, threads

FEATURES = 64


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
    x, weight, bias, wide = leaf(4096, 256), leaf(128, 256), leaf(128), leaf(256)
    step("linear 4096×256×128 f+b", [x, weight, bias], lambda: F.linear(x, weight, bias))
    step("bias+relu 4096×256 f+b", [x, wide], lambda: (x + wide).relu())
    step("relu 1M f+b", [x], lambda: x.relu())
    step("tanh 1M f+b", [x], lambda: x.tanh())
    step("sum over rows 4096×256 f+b", [x], lambda: x.sum(0))
    step("softmax 4096×256 f+b", [x], lambda: x.softmax(-1))
    targets, logits = torch.randint(100, (4096,)), leaf(4096, 100)
    step("cross entropy 4096×100 f+b", [logits], lambda: F.cross_entropy(logits, targets))
    norm = torch.nn.BatchNorm1d(256)
    step("batch norm 4096×256 f+b", [x, norm.weight, norm.bias], lambda: norm(x))
    step("dropout 1M f+b", [x], lambda: F.dropout(x, 0.5))


def training() -> None:
    x, targets = torch.randn(128, 64), torch.randint(10, (128,))
    linear, relu = torch.nn.Linear, torch.nn.ReLU
    model = torch.nn.Sequential(linear(64, 64), relu(), linear(64, 64), relu(), linear(64, 10))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)

    def training_step() -> None:
        optimizer.zero_grad()
        F.cross_entropy(model(x), targets).backward()
        optimizer.step()

    measure("MLP 64-64-64-10 batch 128, training step", training_step)

    parameters = [leaf(256, 256) for _ in range(16)]
    sum(p.square().sum() for p in parameters).backward()
    many = torch.optim.AdamW(parameters, lr=1e-3, fused=True)
    measure("AdamW step, 1M parameters in 16 tensors", many.step)


if __name__ == "__main__":
    torch.manual_seed(0)
    torch.set_num_threads(threads())
    message_passing("2.5k nodes 25k edges", 2_500, 25_000)
    message_passing("10k nodes 100k edges", 10_000, 100_000)
    dense()
    training()
