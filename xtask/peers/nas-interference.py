"""Steps of super-nets in PyTorch and Kendall's tau in SciPy, for `cargo xtask bench nas-interference --peers`.

The same super-net: learned positions, layers of attention, feed-forward or separable convolution with post-norm, a linear output; masked cross-entropy, gradients clipped to 1, Adam over all parameters (those off the path have no gradient and are passed over). Step t runs
operator (t + layer) mod 3 in each layer; MAGIC-A adds a pass of architecture 0 without gradient and 0.05 times the mean over layers of the mean squared differences.

Name a part of a row to run only those that contain it.
"""

import sys

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from measure import measure, threads

FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")


class Attention(nn.Module):
    def __init__(self, width, heads, middle):
        super().__init__()
        self.heads = heads
        self.qkv, self.out, self.norm = nn.Linear(width, 3 * width), nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(batch, length, width)
        return self.norm(x + self.out(y))


class FeedForward(nn.Module):
    def __init__(self, width, heads, middle):
        super().__init__()
        self.up, self.down, self.norm = nn.Linear(width, middle), nn.Linear(middle, width), nn.LayerNorm(width)

    def forward(self, x):
        return self.norm(x + self.down(F.gelu(self.up(x))))


class Convolution(nn.Module):
    def __init__(self, width, heads, middle):
        super().__init__()
        self.depthwise = nn.Conv1d(width, width, 3, padding=1, groups=width)
        self.pointwise, self.norm = nn.Linear(width, width), nn.LayerNorm(width)

    def forward(self, x):
        y = self.depthwise(x.transpose(1, 2)).transpose(1, 2)
        return self.norm(x + self.pointwise(F.gelu(y)))


class SuperNet(nn.Module):
    def __init__(self, vocabulary, length, layers, width, heads, middle):
        super().__init__()
        self.embedding = nn.Embedding(vocabulary + 1, width)
        self.position = nn.Parameter(torch.randn(length, width))
        kinds = [Attention, FeedForward, Convolution]
        self.layers = nn.ModuleList(nn.ModuleList(kind(width, heads, middle) for kind in kinds) for _ in range(layers))
        self.output = nn.Linear(width, vocabulary)

    def forward(self, ids, path):
        x, hidden = self.embedding(ids) + self.position, []
        for layer, operator in zip(self.layers, path):
            x = layer[operator](x)
            hidden.append(x)
        return self.output(x), hidden


def steps(name, vocabulary, length, layers, width, heads, middle, batch):
    if FILTER not in f"{name}, SPOS step" and FILTER not in f"{name}, MAGIC-A step":
        return
    generator = np.random.default_rng(1)
    targets = torch.from_numpy(generator.integers(0, vocabulary, (batch, length)))
    mask = (torch.arange(batch * length) % 5 == 0).view(batch, length)
    ids = torch.where(mask, vocabulary, targets)
    for is_aligned in [False, True]:
        torch.manual_seed(0)
        net = SuperNet(vocabulary, length, layers, width, heads, middle)
        optimizer = torch.optim.Adam(net.parameters(), lr=2e-3)
        count = 0

        def path(step):
            return [(step + layer) % 3 for layer in range(layers)]

        def step():
            nonlocal count
            if is_aligned:
                with torch.no_grad():
                    _, anchor = net(ids, path(0))
            logits, hidden = net(ids, path(count))
            loss = F.cross_entropy(logits[mask], targets[mask])
            if is_aligned:
                loss = loss + 0.05 / layers * sum(F.mse_loss(h, a) for h, a in zip(hidden, anchor))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            torch.nn.utils.clip_grad_norm_([p for p in net.parameters() if p.grad is not None], 1.0)
            optimizer.step()
            count += 1

        measure(f"{name}, {'MAGIC-A' if is_aligned else 'SPOS'} step", step)


def main():
    torch.set_num_threads(threads())
    steps("tiny", 12, 16, 5, 24, 2, 48, 32)
    steps("L = 6, d = 256, T = 128", 1000, 128, 6, 256, 4, 1024, 16)
    name = "Kendall's tau of 15,625 pairs with ties"
    if FILTER in name:
        from scipy.stats import kendalltau

        generator = np.random.default_rng(0)
        x, y = np.floor(generator.random((2, 15625)) * 2000)
        measure(name, lambda: kendalltau(x, y))


main()
