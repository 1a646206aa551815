"""SITHCon in PyTorch, for `cargo xtask bench sithcon --peers`.

The epoch of the Morse decoder is written in three ways: every layer at every step, as a plain program does; the last layer at the last step only; and, on top of it, gradients through winning
windows only (forward without a tape, then the winners again with one). The first layer's memory is computed beforehand in all three, and sequences are packed, not padded.
"""

import math

import torch
import torch.nn.functional as F
from measure import measure, threads, use_device

torch.set_num_threads(threads())
use_device(torch)
torch.manual_seed(0)
DOT, DASH = "10", "1110"
CODES = (
    ".- -... -.-. -.. . ..-. --. .... .. .--- -.- .-.. -- -. --- .--. --.- .-. ... - ..- ...- .-- -..- -.-- --.. "
    ".---- ..--- ...-- ....- ..... -.... --... ---.. ----. ----- --..-- .-.-.- ..--.. -..-. -....- -.--. -.--.-"
).split()


def signal(code, scale):
    bits = "".join(DOT if mark == "." else DASH for mark in code) + "00"
    return torch.tensor([float(bit) for bit in bits for _ in range(scale)])


def filters(lags, tau_max, n=400, k=35, tau_min=0.1):
    tau = tau_min * (tau_max / tau_min) ** (torch.arange(n, dtype=torch.float64) / (n - 1))
    t = torch.arange(1, lags + 1, dtype=torch.float64)[:, None]
    log = k * math.log(k) - math.lgamma(k) - tau.log() + (k + 1) * (t / tau).log() - k * t / tau
    return (log.exp() * k / (k + 1)).float()  # [lags, n]


def past(x):
    """[T, C] to [T, C, T]: at each step what came before, the newest first."""
    steps = x.shape[0]
    padded = F.pad(x.t(), (steps - 1, 0))  # [C, 2T - 1]
    return padded.unfold(1, steps, 1).flip(2).transpose(0, 1)


class Layer(torch.nn.Module):
    def __init__(self, features, channels, taps, width=23, dilation=2):
        super().__init__()
        self.taps, self.dilation, self.width = taps, dilation, width
        bound = 1 / math.sqrt(features * width)
        self.v = torch.nn.Parameter(torch.empty(channels, features, width).uniform_(-bound, bound))
        self.g = torch.nn.Parameter(self.v.detach().flatten(1).norm(dim=1)[:, None, None].clone())
        self.linear = torch.nn.Linear(channels, channels)

    def weight(self):
        return self.g * self.v / self.v.flatten(1).norm(dim=1)[:, None, None]

    def memory(self, x):
        return past(x) @ self.taps[: x.shape[0]]

    def last(self, x):
        return x.flip(0).t() @ self.taps[: x.shape[0]]

    def pool(self, images):
        return F.conv1d(images, self.weight(), dilation=self.dilation).max(2).values

    def pool_winners(self, images):
        w = self.weight()
        with torch.no_grad():
            at = F.conv1d(images, w, dilation=self.dilation).max(2).indices  # [R, O]
        taps = at[:, :, None] + self.dilation * torch.arange(self.width)  # [R, O, w]
        rows, features = images.shape[:2]
        index = taps.reshape(rows, 1, -1).expand(-1, features, -1)
        windows = images.gather(2, index).view(rows, features, *at.shape[1:], self.width)
        return torch.einsum("rcow,ocw->ro", windows, w)


class SithCon(torch.nn.Module):
    def __init__(self, features, channels, outputs, layers, taps, relu_after_pool):
        super().__init__()
        widths = [features] + [channels] * (layers - 1)
        self.layers = torch.nn.ModuleList(Layer(width, channels, taps) for width in widths)
        self.out = torch.nn.Linear(channels, outputs)
        self.relu_after_pool = relu_after_pool

    def step(self, layer, images, winners):
        z = layer.pool_winners(images) if winners else layer.pool(images)
        return layer.linear(z.relu()) if self.relu_after_pool else layer.linear(z).relu()

    def forward(self, memory, lengths, all_steps=False, winners=False):
        x = self.step(self.layers[0], memory, winners)
        for layer in self.layers[1:]:
            parts = x.split(lengths)
            if layer is self.layers[-1] and not all_steps:
                images = torch.stack([layer.last(part) for part in parts])
            else:
                images = torch.cat([layer.memory(part) for part in parts])
            x = self.step(layer, images, winners)
        if all_steps:
            ends = torch.tensor(lengths).cumsum(0) - 1
            return self.out(x)[ends]
        return self.out(x)


signals = [signal(code, 10) for code in CODES]
labels = torch.arange(43)
model = SithCon(1, 35, 43, 2, filters(256, 4000.0), True)
adam = torch.optim.Adam(model.parameters())
batches = [signals[i : i + 8] for i in range(0, 43, 8)]
lengths = [[len(x) for x in batch] for batch in batches]
memories = [torch.cat([model.layers[0].memory(x[:, None]) for x in batch]) for batch in batches]


def epoch(**how):
    for at, (memory, sizes) in enumerate(zip(memories, lengths)):
        loss = F.cross_entropy(model(memory, sizes, **how), labels[8 * at : 8 * at + len(sizes)])
        adam.zero_grad()
        loss.backward()
        adam.step()


measure("Morse decoder/training epoch/PyTorch, all steps", lambda: epoch(all_steps=True))
measure("Morse decoder/training epoch/PyTorch, last step only", epoch)
measure("Morse decoder/training epoch/PyTorch, winning windows only", lambda: epoch(winners=True))


def infer():
    with torch.no_grad():
        memory = torch.cat([model.layers[0].memory(x[:, None]) for x in signals])
        return model(memory, [len(x) for x in signals])


measure("Morse decoder/43 symbols", infer)

steps = 500
adding = SithCon(2, 25, 1, 3, filters(512, 3000.0), False)
optimizer = torch.optim.Adam(adding.parameters())
x = (torch.rand(steps, 2) < 0.4).float()
target = torch.tensor([[0.9]])


def add():
    loss = F.mse_loss(adding(adding.layers[0].memory(x), [steps]), target)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


measure("Morse adding/training step, one item of 500 steps", add)


class Tcn(torch.nn.Module):
    def __init__(self, channels=(25, 25), kernel=45):
        super().__init__()
        self.blocks, inputs = torch.nn.ModuleList(), 1
        for level, width in enumerate(channels):
            norm = torch.nn.utils.parametrizations.weight_norm
            convs = [norm(torch.nn.Conv1d(c, width, kernel, dilation=2**level)) for c in (inputs, width)]
            down = torch.nn.Conv1d(inputs, width, 1) if inputs != width else torch.nn.Identity()
            self.blocks.append(torch.nn.ModuleList([*convs, down]))
            inputs = width
        self.linear = torch.nn.Linear(inputs, 43)

    def forward(self, x, ends):
        for first, second, down in self.blocks:
            pad = (first.kernel_size[0] - 1) * first.dilation[0]
            y = second(F.pad(first(F.pad(x, (pad, 0))).relu(), (pad, 0))).relu()
            x = (y + down(x)).relu()
        return self.linear(x[torch.arange(len(ends)), :, ends])


tcn = Tcn()
tcn_adam = torch.optim.Adam(tcn.parameters())
padded = [torch.nn.utils.rnn.pad_sequence(batch, batch_first=True)[:, None] for batch in batches]


def tcn_epoch():
    for at, (x, sizes) in enumerate(zip(padded, lengths)):
        loss = F.cross_entropy(tcn(x, torch.tensor(sizes) - 1), labels[8 * at : 8 * at + len(sizes)])
        tcn_adam.zero_grad()
        loss.backward()
        tcn_adam.step()


measure("TCN/training epoch", tcn_epoch)
