"""DSTAGNN in PyTorch and its graph with POT's exact solver, for `cargo xtask bench dstagnn --peers`.

The network is the same function with PyTorch's fused operations where it has them; the graph convolution is one matrix product for each order, over all steps at once.
"""

import math

import numpy as np
import torch
import torch.nn.functional as F
from measure import measure, threads, use_device
from torch import nn

torch.set_num_threads(threads())
use_device(torch)
torch.manual_seed(0)


class Block(nn.Module):
    def __init__(self, n, time, maps, filters, heads, width, embedding, terms, relevance):
        super().__init__()
        self.first, self.heads, self.width, self.order = maps == 1, heads, width, len(terms)
        self.terms, self.relevance = terms, relevance
        linear = lambda i, o: nn.Linear(i, o, bias=False)
        if self.first:
            self.table, self.table_norm = nn.Parameter(torch.randn(time, n) * 0.1), nn.LayerNorm(n)
            self.residual = nn.Conv2d(1, filters, 1)
        self.query, self.key, self.value = (linear(n, heads * width) for _ in range(3))
        self.mix = linear(heads * width, n)
        self.embed = nn.Conv2d(time, embedding, (1, maps))
        self.position, self.norm = nn.Parameter(torch.randn(n, embedding) * 0.1), nn.LayerNorm(embedding)
        self.spatial_query, self.spatial_key = (linear(embedding, self.order * width) for _ in range(2))
        self.masks = nn.Parameter(torch.randn(self.order, n, n) * 0.1)
        self.theta = nn.Parameter(torch.randn(self.order, maps, filters) * 0.1)
        self.units = nn.ModuleList(nn.Conv2d(filters, 2 * filters, (1, s)) for s in (3, 5, 7))
        self.time = nn.Linear(3 * time - 12, time)
        self.out_norm = nn.LayerNorm(filters)

    def forward(self, x, carried):  # [B, N, C, T]
        batch, n, maps, time = x.shape
        e = x.permute(0, 2, 3, 1)  # [B, D, T, N]
        if self.first:
            e = self.table_norm(e + self.table)
        split = lambda y: y.view(batch, maps, time, self.heads, self.width).transpose(2, 3)
        q, k, v = split(self.query(e)), split(self.key(e)), split(self.value(e))
        scores = q @ k.transpose(-1, -2) / math.sqrt(self.width) + carried
        context = (scores.softmax(3) @ v).transpose(2, 3).reshape(batch, maps, time, -1)
        o = F.layer_norm(self.mix(context) + e, (n,))
        z = self.embed(o.permute(0, 2, 3, 1))[..., 0].transpose(1, 2)
        z = F.dropout(self.norm(z + self.position), 0.05)
        heads = lambda y: y.view(batch, n, self.order, self.width).transpose(1, 2)
        s = heads(self.spatial_query(z)) @ heads(self.spatial_key(z)).transpose(-1, -2) / math.sqrt(self.width)
        graph = (self.terms * (s + self.relevance * self.masks).softmax(2)).transpose(-1, -2)  # [B, K, N, N]
        y = 0
        for k in range(self.order):
            signal = (graph[:, k] @ x.reshape(batch, n, -1)).view(batch, n, maps, time)
            y = y + torch.einsum("bnct,cf->bfnt", signal, self.theta[k])
        y = y.relu()  # [B, F, N, T]
        gated = []
        for unit in self.units:
            a, b = unit(y).chunk(2, 1)
            gated.append(a.tanh() * b.sigmoid())
        u = F.dropout(self.time(torch.cat(gated, 3)), 0.05)
        u = (u if self.first else y + u).relu()
        planes = x.permute(0, 2, 1, 3)
        r = self.residual(planes) if self.first else planes
        out = self.out_norm((r + u).relu().permute(0, 3, 2, 1))  # [B, T, N, F]
        return out.permute(0, 2, 3, 1), scores


class Dstagnn(nn.Module):
    def __init__(self, n, blocks, filters, heads, width, embedding, top, time=12, horizon=12):
        super().__init__()
        w = torch.zeros(n, n)
        for i in range(n):
            w[i, [(i + j + 1) % n for j in range(top)]] = 1
        laplacian = 2 * (w.sum(1).diag() - w) / (2 * top) - torch.eye(n)
        terms = torch.stack([torch.eye(n), laplacian, 2 * laplacian * laplacian - torch.eye(n)])
        sizes = [1] + [filters] * (blocks - 1)
        self.blocks = nn.ModuleList(
            Block(n, time, maps, filters, heads, width, embedding, terms, w + torch.eye(n)) for maps in sizes
        )
        self.gather = nn.Conv2d(time * blocks, 128, (1, filters))
        self.out = nn.Linear(128, horizon)

    def forward(self, x):
        outs, carried = [], 0
        for block in self.blocks:
            x, carried = block(x, carried)
            outs.append(x)
        y = self.gather(torch.cat(outs, 3).permute(0, 3, 1, 2))[..., 0].transpose(1, 2)
        return self.out(y)


def step(n, batch, **sizes):
    model = Dstagnn(n, **sizes)
    adam = torch.optim.Adam(model.parameters(), lr=1e-4)
    x, target = torch.randn(batch, n, 1, 12), torch.rand(batch, n, 12) * 300

    def run():
        loss = F.smooth_l1_loss(model(x), target)
        adam.zero_grad()
        loss.backward()
        adam.step()

    measure(f"training step/N = {n}, batch {batch}", run)


step(60, 32, blocks=2, filters=16, heads=3, width=16, embedding=64, top=3)
step(170, 16, blocks=4, filters=32, heads=3, width=32, embedding=512, top=1)


def flow(days, period, nodes):
    rng = np.random.default_rng(0)
    volumes = 0.7 + 0.6 * rng.random((days, 1, nodes))
    phase = np.arange(period)[None, :, None] / period + 0.3 * np.arange(nodes) / nodes
    return np.maximum(volumes * (100 + 80 * np.sin(2 * np.pi * phase)) + 10 * rng.random((days, period, nodes)), 0)


def similarity(x):
    import ot  # here, so that the steps run without it

    nodes = x.shape[2]
    days = np.ascontiguousarray(x.transpose(2, 0, 1))
    lengths = np.linalg.norm(days, axis=2)
    unit = days / lengths[..., None]
    weights = lengths / lengths.sum(1, keepdims=True)
    out = np.zeros((nodes, nodes))
    for i in range(nodes):
        for j in range(i + 1, nodes):
            out[i, j] = out[j, i] = 1 - ot.emd2(weights[i], weights[j], 1 - unit[i] @ unit[j].T)
    return out


for nodes, count in ((60, 4), (60, 35)):
    series = flow(count, 288, nodes)
    measure(f"similarity/{nodes} sensors, {count} days", lambda: similarity(series))
