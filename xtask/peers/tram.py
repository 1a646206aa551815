"""TRAM in PyTorch, for `cargo xtask bench tram --peers`.

Training steps of a Wide ResNet 16-4 without and with the head that sees privileged information (PI), without L2; and full marginalisation over PI at test time, every head input tiled.
"""

import torch
import torch.nn.functional as F
from measure import measure, threads
from torch import nn

torch.set_num_threads(threads())
torch.manual_seed(0)
CLASSES, PI, TOWER = 10, 748, 128


def conv3(inputs, outputs, stride=1):
    """3x3, "same" as in TensorFlow: at stride 2 on even sizes the zeros are below and on the right only."""
    if stride == 1:
        return nn.Conv2d(inputs, outputs, 3, padding=1, bias=False)
    return nn.Sequential(nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(inputs, outputs, 3, stride=stride, bias=False))


class Block(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.norms = nn.ModuleList([nn.BatchNorm2d(inputs), nn.BatchNorm2d(outputs)])
        self.convs = nn.ModuleList([conv3(inputs, outputs, stride), conv3(outputs, outputs)])
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Conv2d(inputs, outputs, 1, stride=stride, bias=False)

    def forward(self, x):
        y = x
        for norm, conv in zip(self.norms, self.convs):
            y = conv(norm(y).relu())
        return self.shortcut(x) + y


class WideResNet(nn.Module):
    def __init__(self, depth, widening):
        super().__init__()
        blocks, width = [], 16
        for outputs, first in ((16 * widening, 1), (32 * widening, 2), (64 * widening, 2)):
            for at in range((depth - 4) // 6):
                blocks.append(Block(width, outputs, first if at == 0 else 1))
                width = outputs
        self.body = nn.Sequential(conv3(3, 16), *blocks, nn.BatchNorm2d(width), nn.ReLU(), nn.AvgPool2d(8), nn.Flatten())
        self.width = width
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight)

    def forward(self, x):
        return self.body(x)


class PiHead(nn.Module):
    def __init__(self, width, residual):
        super().__init__()
        self.of_pi, self.joint = nn.Linear(PI, TOWER), nn.Linear(width + TOWER, TOWER)
        self.out = nn.Linear(width + TOWER, CLASSES)
        self.residual = residual

    def forward(self, phi, pi):
        e = self.of_pi(pi).relu()
        j = self.joint(torch.cat([phi, e], -1)).relu()
        return self.out(torch.cat([phi, j + e if self.residual else j], -1))


def one_hot(rows):
    return F.one_hot(torch.randint(0, PI, (rows,)), PI).float()


def stepper(modules, loss):
    parameters = [p for module in modules for p in module.parameters()]
    sgd = torch.optim.SGD(parameters, lr=0.1, momentum=0.9, nesterov=True)

    def step():
        sgd.zero_grad()
        loss().backward()
        sgd.step()

    return step


def training(batch=32, annotators=1):
    images, labels = torch.randn(batch, 3, 32, 32), torch.randint(0, CLASSES, (batch * annotators,))
    pi = one_hot(batch * annotators)
    net = WideResNet(16, 4)
    head = nn.Linear(net.width, CLASSES)
    plain = stepper([net, head], lambda: F.cross_entropy(head(net(images)), labels))
    measure(f"no-pi step wrn-16-4 b={batch}", plain)

    net = WideResNet(16, 4)
    no_pi, with_pi = nn.Linear(net.width, CLASSES), PiHead(net.width, residual=True)

    def loss():
        phi = net(images).repeat_interleave(annotators, 0)
        return F.cross_entropy(no_pi(phi.detach()), labels) + F.cross_entropy(with_pi(phi, pi), labels)

    measure(f"tram step wrn-16-4 b={batch} A={annotators}", stepper([net, no_pi, with_pi], loss))


def marginalisation(batch=128, samples=1000, width=640):
    phi, pi, head = torch.randn(batch, width), one_hot(samples), PiHead(width, residual=False)

    @torch.no_grad()
    def marginalise():
        # Eight images at a time: all at once take about 2 GB and half as long again.
        parts = []
        for images in phi.split(8):
            tiled = head(images[:, None].repeat(1, samples, 1), pi.repeat(len(images), 1, 1))
            parts.append(tiled.softmax(-1).mean(1))
        return torch.cat(parts)

    measure(f"full marginalisation b={batch} S={samples} F={width} T={TOWER}", marginalise, repetitions=1)


training()
marginalisation()
