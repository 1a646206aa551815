"""Solves by torchdiffeq and diffrax and training steps in PyTorch, for `cargo xtask bench lyanet --peers`.

The same systems, networks and tolerances. diffrax is measured after its compilation. LyaNet's step follows the formulas of the specification with one batched product for all pairs of examples and states.

Name a part of a row to run only those that contain it.
"""

import math
import sys

import torch
import torch.nn.functional as F
from torch import nn

from measure import measure, threads

FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
torch.set_num_threads(threads())


def wanted(name):
    return FILTER in name


def small():
    from torchdiffeq import odeint

    if wanted("small: y' = -2 y to 10, 1e-9"):
        y0, t = torch.tensor([1.0, 0.5], dtype=torch.float64), torch.tensor([0.0, 10.0], dtype=torch.float64)
        with torch.no_grad():
            measure("small: y' = -2 y to 10, 1e-9", lambda: odeint(lambda t, y: -2 * y, y0, t, rtol=1e-9, atol=1e-9))
    name = "small: Lotka-Volterra to 20, 1e-6, beside torchdiffeq"
    if wanted(name):
        y0, t = torch.tensor([10.0, 5.0], dtype=torch.float64), torch.tensor([0.0, 20.0], dtype=torch.float64)

        def prey(t, y):
            return torch.stack([y[0] * (1.1 - 0.4 * y[1]), y[1] * (0.1 * y[0] - 0.4)])

        with torch.no_grad():
            measure(name, lambda: odeint(prey, y0, t, rtol=1e-6, atol=1e-6))
    name = "small: Lotka-Volterra to 20, 1e-6, beside diffrax"
    if wanted(name):
        import jax

        jax.config.update("jax_enable_x64", True)
        import diffrax
        import jax.numpy as jnp

        term = diffrax.ODETerm(lambda t, y, args: jnp.stack([y[0] * (1.1 - 0.4 * y[1]), y[1] * (0.1 * y[0] - 0.4)]))
        control = diffrax.PIDController(rtol=1e-6, atol=1e-6)

        @jax.jit
        def run(y0):
            return diffrax.diffeqsolve(term, diffrax.Dopri5(), 0.0, 20.0, None, y0, stepsize_controller=control).ys

        y0 = jnp.array([10.0, 5.0])
        run(y0).block_until_ready()
        measure(name, lambda: run(y0).block_until_ready())


def mlp(widths, batch):
    from torchdiffeq import odeint, odeint_adjoint

    name = f"mlp {widths[0]}-{widths[1]}-{widths[2]}, batch {batch}"
    torch.manual_seed(0)

    class Field(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = nn.Sequential(nn.Linear(widths[0], widths[1]), nn.Tanh(), nn.Linear(widths[1], widths[2]))

        def forward(self, t, y):
            return self.net(y)

    field, t = Field(), torch.tensor([0.0, 1.0])
    y0 = torch.randn(batch, widths[0], requires_grad=True)
    if wanted(f"{name}, forward"):
        with torch.no_grad():
            measure(f"{name}, forward", lambda: odeint(field, y0, t, rtol=1e-5, atol=1e-5))
    for mode, solver in [("through steps", odeint), ("adjoint", odeint_adjoint)]:
        if wanted(f"{name}, {mode}"):

            def run():
                field.zero_grad()
                y0.grad = None
                solver(field, y0, t, rtol=1e-5, atol=1e-5)[-1].sum().backward()

            measure(f"{name}, {mode}", run)


class Dynamics(nn.Module):
    def __init__(self, classes, width, gain):
        super().__init__()
        self.first, self.last, self.act = nn.Linear(classes, width), nn.Linear(width, classes), nn.PReLU()
        self.width, self.rate = width, math.log(15 * math.sqrt(classes))
        self.speed = self.rate * gain
        self.register_buffer("vertices", 30 * torch.eye(classes) - 15)

    def forward(self, h, maps):
        a1 = self.act(self.first(h))
        a2 = self.act(torch.matmul(maps, a1.t()).transpose(1, 2))
        u = F.normalize(self.last(a2), dim=-1)
        difference = self.vertices - h[:, None]
        distance = difference.norm(dim=-1)
        scores = torch.einsum("sjk,bsk->bsj", difference, u)
        weight = (distance * scores.softmax(-1)).mean(-1, keepdim=True)
        return self.speed * weight * u


def lyanet_step(name, classes, width, batch, states, make, shape):
    if not wanted(name):
        return
    torch.manual_seed(0)
    net, dynamics = make(width * width), Dynamics(classes, width, 5.0)
    net.train()
    optimizer = torch.optim.Adam([*net.parameters(), *dynamics.parameters()], lr=1e-3)
    x, labels = torch.randn(shape), torch.arange(batch) % classes
    onehot = F.one_hot(labels, classes).float()

    def step():
        z = F.normalize(torch.randn(states, classes), dim=-1)
        h = z * torch.rand(states, 1) * 15 * math.sqrt(classes)
        f = dynamics(h, net(x).view(batch, width, width))
        log_p = h.log_softmax(-1)
        value = -log_p[:, labels].t()
        change = ((log_p.exp()[None] - onehot[:, None]) * f).sum(-1)
        loss = F.relu(change + dynamics.rate * value).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    measure(name, step)


def spiral(outputs):
    return nn.Sequential(nn.Linear(2, 64), nn.ReLU(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, outputs))


def convolutions(outputs):
    layers = []
    for a, b in [(1, 16), (16, 32), (32, 64)]:
        layers += [nn.Conv2d(a, b, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(1024, outputs))


class Block(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(a, b, 3, stride, 1, bias=False), nn.BatchNorm2d(b)
        self.conv2, self.bn2 = nn.Conv2d(b, b, 3, 1, 1, bias=False), nn.BatchNorm2d(b)
        self.down = None if stride == 1 and a == b else nn.Sequential(nn.Conv2d(a, b, 1, stride, bias=False), nn.BatchNorm2d(b))

    def forward(self, x):
        y = self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x)))))
        return F.relu(y + (x if self.down is None else self.down(x)))


def resnet(outputs):
    layers = [nn.Conv2d(3, 64, 7, 2, 3, bias=False), nn.BatchNorm2d(64), nn.ReLU(), nn.MaxPool2d(3, 2, 1)]
    for a, b, stride in [(64, 64, 1), (64, 128, 2), (128, 256, 2), (256, 512, 2)]:
        layers += [Block(a, b, stride), Block(b, b, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(512, outputs))


class Stitch(nn.Module):
    def __init__(self, a, b, stride):
        super().__init__()
        self.conv1, self.bn, self.conv2 = nn.Conv2d(a, b, 3, stride, 1), nn.BatchNorm2d(b), nn.Conv2d(b, b, 3, 1, 1)
        self.down = nn.Conv2d(a, b, 1, stride, bias=False)

    def forward(self, z):
        return self.down(z) + F.relu(self.conv2(self.bn(F.relu(self.conv1(z)))))


class OdeBlock(nn.Module):
    def __init__(self, a):
        super().__init__()
        self.conv1 = nn.ModuleList(nn.Conv2d(a, a, 3, 1, 1) for _ in range(3))
        self.conv2 = nn.ModuleList(nn.Conv2d(a, a, 3, 1, 1) for _ in range(3))
        self.bn1 = nn.ModuleList(nn.BatchNorm2d(a) for _ in range(3))
        self.bn2 = nn.ModuleList(nn.BatchNorm2d(a) for _ in range(3))

    def field(self, thirds, z):
        k = min(thirds // 3, 2)
        return 3 * self.bn2[k](F.relu(self.conv2[k](self.bn1[k](F.relu(self.conv1[k](z))))))

    def forward(self, z):
        h = 1 / 3
        for step in range(3):
            k1 = self.field(3 * step, z)
            k2 = self.field(3 * step + 1, z + h / 3 * k1)
            k3 = self.field(3 * step + 2, z + h * (k2 - k1 / 3))
            k4 = self.field(3 * step + 3, z + h * (k1 - k2 + k3))
            z = z + h / 8 * (k1 + 3 * k2 + 3 * k3 + k4)
        return z


def continuous():
    name = "continuous: step by the cross-entropy"
    if not wanted(name):
        return
    torch.manual_seed(0)
    a = 16
    net = nn.Sequential(
        nn.Conv2d(3, a, 3, 1, 1, bias=False), nn.BatchNorm2d(a), nn.ReLU(),
        Stitch(a, a, 1), OdeBlock(a), Stitch(a, 2 * a, 2), OdeBlock(2 * a), Stitch(2 * a, 4 * a, 2), OdeBlock(4 * a),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4 * a, 10),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=1e-3)
    x, labels = torch.randn(128, 3, 32, 32), torch.arange(128) % 10

    def step():
        loss = F.cross_entropy(net(x), labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    measure(name, step)


def nero():
    name = "nero: a step of 4.4 million parameters"
    if not wanted(name):
        return
    torch.manual_seed(0)
    shapes = [(64, 3, 7, 7), (128, 64, 3, 3), (256, 128, 3, 3), (512, 256, 3, 3), (512, 512, 3, 3), (1000, 512)]
    state = []

    def norm(x):
        return x.view(x.shape[0], -1).norm(dim=1).view(-1, *[1] * (x.dim() - 1))

    def mean(x):
        return x.view(x.shape[0], -1).mean(dim=1).view(-1, *[1] * (x.dim() - 1))

    for shape in shapes:
        p = torch.randn(shape)
        if len(shape) > 2:
            p -= mean(p)
            p /= norm(p)
        state.append({"p": p, "g": torch.randn(shape), "a": torch.zeros_like(norm(p)), "scale": norm(p).mean(), "step": 0})

    def step():
        for s in state:
            p, g = s["p"], s["g"]
            s["step"] += 1
            s["a"].mul_(0.9).add_(0.1 * norm(g) ** 2)
            update = g / (s["a"] / (1 - 0.9 ** s["step"])).sqrt()
            update[torch.isnan(update)] = 0
            p.add_(update * s["scale"], alpha=-0.01)
            if p.dim() > 2:
                p -= mean(p)
                p /= norm(p)

    with torch.no_grad():
        measure(name, step)


small()
for widths, batch in [((2, 16, 2), 16), ((64, 128, 64), 128), ((64, 128, 64), 2048)]:
    mlp(widths, batch)
lyanet_step("LyaNet step, spiral", 3, 16, 64, 64, spiral, (64, 2))
lyanet_step("LyaNet step, convolutions", 10, 32, 64, 64, convolutions, (64, 1, 28, 28))
lyanet_step("LyaNet step, ResNet-18, 512 states", 10, 128, 64, 512, resnet, (64, 3, 32, 32))
continuous()
nero()
