"""Writes the reference values of the networks with PyTorch and torchvision (made with 1.13 and 0.14) on the CPU.

    pip install torch torchvision && python generate.py

`networks.json`, `state_dicts.json` and `resnet.safetensors` beside this one are its output. Parameters and images are filled by a formula, so that none is stored: see `fill` and `image`.
"""

import json
import math
import pathlib
import struct

import torch
import torchvision
from torch import nn
from torch.nn import functional as f

FOLDER = pathlib.Path(__file__).parent
torch.set_num_threads(1)


def conv(inputs, outputs, kernel=3, stride=1, padding=None, bias=False, groups=1):
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(inputs, outputs, kernel, stride, padding, bias=bias, groups=groups)


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, outputs, stride=stride), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = conv(outputs, outputs), nn.BatchNorm2d(outputs)
        if stride != 1 or inputs != outputs:
            self.downsample = nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x)))))
        return f.relu(y + (self.downsample(x) if hasattr(self, "downsample") else x))


class CifarResNet(nn.Module):
    def __init__(self, stem, widths, depths, classes):
        super().__init__()
        self.conv1, self.bn1 = conv(3, stem), nn.BatchNorm2d(stem)
        inputs, self.count = stem, len(widths)
        for stage, (width, depth) in enumerate(zip(widths, depths)):
            blocks = []
            for block in range(depth):
                blocks.append(BasicBlock(inputs, width, 2 if stage and not block else 1))
                inputs = width
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
        self.fc = nn.Linear(inputs, classes)

    def features_of(self, x):
        x = f.relu(self.bn1(self.conv1(x)))
        for stage in range(self.count):
            x = getattr(self, f"layer{stage + 1}")(x)
        return x.mean((2, 3))

    def forward(self, x):
        return self.fc(self.features_of(x))


class WideBlock(nn.Module):
    def __init__(self, inputs, outputs, stride, tensorflow):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, outputs, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(outputs), conv(outputs, outputs)
        self.stride, self.tensorflow = stride, tensorflow
        if inputs != outputs:
            self.convShortcut = conv(inputs, outputs, 1, stride)

    def forward(self, x):
        activated = f.relu(self.bn1(x))
        if self.tensorflow and self.stride == 2:
            # "same" padding: an even size gets one zero behind it, an odd one gets one on each side
            height, width = x.shape[2] % 2, x.shape[3] % 2
            y = f.conv2d(f.pad(activated, (width, 1, height, 1)), self.conv1.weight, stride=2)
        else:
            y = self.conv1(activated)
        y = self.conv2(f.relu(self.bn2(y)))
        if not hasattr(self, "convShortcut"):
            return x + y
        return self.convShortcut(x if self.tensorflow else activated) + y


class WideGroup(nn.Module):
    def __init__(self, *blocks):
        super().__init__()
        self.layer = nn.Sequential(*blocks)


class WideResNet(nn.Module):
    def __init__(self, depth, factor, classes, tensorflow=False):
        super().__init__()
        self.conv1, inputs = conv(3, 16), 16
        for group, (width, stride) in enumerate([(16, 1), (32, 2), (64, 2)]):
            blocks = []
            for block in range((depth - 4) // 6):
                blocks.append(WideBlock(inputs, width * factor, 1 if block else stride, tensorflow))
                inputs = width * factor
            setattr(self, f"block{group + 1}", WideGroup(*blocks))
        self.bn1, self.fc = nn.BatchNorm2d(inputs), nn.Linear(inputs, classes)

    def features_of(self, x):
        x = self.block3.layer(self.block2.layer(self.block1.layer(self.conv1(x))))
        return f.relu(self.bn1(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.features_of(x))


class Separable(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, inputs, stride=stride, groups=inputs), nn.BatchNorm2d(inputs)
        self.conv2, self.bn2 = conv(inputs, outputs, 1), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return f.relu(self.bn2(self.conv2(f.relu(self.bn1(self.conv1(x))))))


class MobileNet(nn.Module):
    def __init__(self, factor, stride, classes):
        super().__init__()
        scaled = lambda width: max(8, int(width * factor))
        inputs = scaled(32)
        self.conv1, self.bn1 = conv(3, inputs, stride=stride), nn.BatchNorm2d(inputs)
        blocks = []
        for width, stride in zip([64, 128, 128, 256, 256] + [512] * 6 + [1024] * 2, [1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1]):
            blocks.append(Separable(inputs, scaled(width), stride))
            inputs = scaled(width)
        self.layers, self.linear = nn.Sequential(*blocks), nn.Linear(inputs, classes)

    def features_of(self, x):
        return self.layers(f.relu(self.bn1(self.conv1(x)))).mean((2, 3))

    def forward(self, x):
        return self.linear(self.features_of(x))


class NormalizedConv(nn.Module):
    def __init__(self, inputs, outputs, kernel):
        super().__init__()
        self.conv, self.norm = conv(inputs, outputs, kernel), nn.BatchNorm2d(outputs)

    def forward(self, x):
        return f.relu(self.norm(self.conv(x)))


class NetworkInNetwork(nn.Module):
    def __init__(self, divisor, classes):
        super().__init__()
        inputs = 3
        for block, layers in enumerate([[(192, 5), (160, 1), (96, 1)], [(192, 5), (192, 1), (192, 1)], [(192, 3), (192, 1), (192, 1)]]):
            modules = []
            for width, kernel in layers:
                modules.append(NormalizedConv(inputs, -(-width // divisor), kernel))
                inputs = -(-width // divisor)
            self.add_module(str(block), nn.Sequential(*modules))
        self.head = nn.Linear(inputs, classes)

    def features_of(self, x):
        x = f.max_pool2d(getattr(self, "0")(x), 3, 2, 1)
        x = f.avg_pool2d(getattr(self, "1")(x), 3, 2, 1)
        return getattr(self, "2")(x).mean((2, 3))

    def forward(self, x):
        return self.head(self.features_of(x))


class NineLayer(nn.Module):
    def __init__(self, classes):
        super().__init__()
        inputs = 3
        for at, outputs in enumerate([128, 128, 128, 256, 256, 256, 512, 256, 128]):
            setattr(self, f"c{at + 1}", conv(inputs, outputs, padding=1 if at < 6 else 0, bias=True))
            setattr(self, f"bn{at + 1}", nn.BatchNorm2d(outputs))
            inputs = outputs
        self.l_c1 = nn.Linear(inputs, classes)

    def features_of(self, x):
        for at in range(1, 10):
            x = f.leaky_relu(getattr(self, f"bn{at}")(getattr(self, f"c{at}")(x)), 0.01)
            x = f.max_pool2d(x, 2) if at in (3, 6) else x
        return x.mean((2, 3))

    def forward(self, x):
        return self.l_c1(self.features_of(x))


class MnistCnn(nn.Module):
    def __init__(self, size, classes):
        super().__init__()
        self.fc1, self.fc2, self.bn = conv(1, 8, bias=True), conv(8, 16, bias=True), nn.BatchNorm2d(8)
        self.linear1, self.linear2 = nn.Linear(16 * size * size, 784), nn.Linear(784, 256)
        self.linear3 = nn.Linear(256, classes)

    def features_of(self, x):
        return self.linear2(self.linear1(torch.tanh(self.fc2(self.bn(f.relu(self.fc1(x))))).flatten(1)))

    def forward(self, x):
        return self.linear3(self.features_of(x))


class ConvPool(nn.Module):
    def __init__(self, channels, blocks, kernel, padding, flat, hidden, classes):
        super().__init__()
        self.blocks, number = [len(block) for block in blocks], 0
        for block in blocks:
            for outputs in block:
                number += 1
                setattr(self, f"conv{number}", conv(channels, outputs, kernel, padding=padding, bias=True))
                channels = outputs
        sizes = [flat * channels, *hidden, classes]
        self.linears = len(hidden) + 1
        for at in range(self.linears):
            setattr(self, f"fc{at + 1}", nn.Linear(sizes[at], sizes[at + 1]))

    def features_of(self, x):
        number = 0
        for count in self.blocks:
            for _ in range(count):
                number += 1
                x = f.relu(getattr(self, f"conv{number}")(x))
            x = f.max_pool2d(x, 2)
        x = x.flatten(1)
        for at in range(1, self.linears):
            x = f.relu(getattr(self, f"fc{at}")(x))
        return x

    def forward(self, x):
        return getattr(self, f"fc{self.linears}")(self.features_of(x))


class Plain(nn.Module):
    def __init__(self, layers, classes):
        super().__init__()
        inputs, self.count = 1, len(layers)
        for at, (outputs, stride) in enumerate(layers):
            setattr(self, f"conv{at + 1}", conv(inputs, outputs, stride=stride))
            setattr(self, f"bn{at + 1}", nn.BatchNorm2d(outputs))
            inputs = outputs
        self.fc = nn.Linear(inputs, classes)

    def features_of(self, x):
        for at in range(1, self.count + 1):
            x = f.relu(getattr(self, f"bn{at}")(getattr(self, f"conv{at}")(x)))
        return x.mean((2, 3))

    def forward(self, x):
        return self.fc(self.features_of(x))


def torchvision_resnet(depth, classes, cifar=False):
    model = getattr(torchvision.models, f"resnet{depth}")(num_classes=classes)
    if cifar:
        model.conv1, model.maxpool = conv(3, 64), nn.Identity()
    return model


def torchvision_vgg(depth, classes, head=None):
    """`head` is the width of the linear layers, or "cifar"."""
    model = getattr(torchvision.models, f"vgg{depth}_bn")(num_classes=classes, init_weights=False)
    if head == "cifar":
        model.features, model.avgpool, model.classifier = model.features[:-1], nn.AdaptiveAvgPool2d(1), nn.Linear(512, classes)
    elif head is not None:
        model.classifier[0], model.classifier[3] = nn.Linear(512 * 49, head), nn.Linear(head, head)
        model.classifier[6] = nn.Linear(head, classes)
    return model


def features_of(model, x):
    if hasattr(model, "features_of"):
        return model.features_of(x)
    if isinstance(model, torchvision.models.ResNet):
        seen = []
        handle = model.fc.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    else:
        last = model.classifier if isinstance(model.classifier, nn.Linear) else model.classifier[-1]
        seen = []
        handle = last.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    model(x)
    handle.remove()
    return seen[0]


def values(state):
    """The state without the counters, which are not parameters of ours, in the order of names."""
    return sorted((name, value) for name, value in state.items() if not name.endswith("num_batches_tracked"))


def wave(count, phase):
    k = torch.arange(count, dtype=torch.float64)
    return torch.sin(0.37 * (k % 1009) + 1.3 * phase + 0.11 * torch.floor(k / 1009))


def fill(model):
    """A wave that depends on a parameter's position in the order of names."""
    with torch.no_grad():
        for phase, (name, value) in enumerate(values(model.state_dict())):
            s = wave(value.numel(), phase).reshape(value.shape)
            if name.endswith("running_var"):
                s = 1 + 0.5 * s * s
            elif name.endswith("running_mean"):
                s = 0.1 * s
            elif value.dim() == 1:
                s = 1 + 0.2 * s if name.endswith("weight") else 0.1 * s
            else:
                s = s * math.sqrt(2 / (value.numel() / value.shape[0]))
            value.copy_(s)


def image(shape):
    count = math.prod(shape)
    return (wave(count, 7) + wave(count, 3) * torch.cos(0.05 * torch.arange(count, dtype=torch.float64))).reshape(shape)


def summary(value):
    """The norm, and the product with a wave, which sees the order."""
    value = value.detach().flatten()
    return [value.norm().item(), (value * wave(value.numel(), 0)).sum().item()]


def case(name, model, shape):
    model = model.double()
    fill(model)
    x = image(shape)
    result = {"name": name, "shape": list(shape)}
    model.eval()
    with torch.no_grad():
        result["evaluate"] = model(x).tolist()
        result["features"] = summary(features_of(model, x))
    # statistics of the batch, no dropout
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.train()
    logits = model(x)
    result["train"] = logits.tolist()
    (logits * torch.linspace(0.5, 1.5, logits.numel(), dtype=torch.float64).reshape(logits.shape)).sum().backward()
    result["gradients"] = {name: summary(parameter.grad) for name, parameter in sorted(model.named_parameters())}
    running = [(name, value) for name, value in values(model.state_dict()) if "running" in name]
    result["running"] = {name: summary(value) for name, value in running}
    return result


def networks():
    return [
        case("resnet18", torchvision_resnet(18, 5), (2, 3, 33, 40)),
        case("resnet50", torchvision_resnet(50, 5), (2, 3, 64, 64)),
        case("resnet18-cifar", torchvision_resnet(18, 5, cifar=True), (2, 3, 16, 16)),
        case("resnet20", CifarResNet(16, [16, 32, 64], [3, 3, 3], 10), (2, 3, 32, 32)),
        case("wrn-16-2", WideResNet(16, 2, 5), (2, 3, 16, 16)),
        case("wrn-10-1-tensorflow", WideResNet(10, 1, 5, tensorflow=True), (2, 3, 13, 16)),
        case("vgg11", torchvision_vgg(11, 5, head=12), (2, 3, 64, 64)),
        case("vgg16-cifar", torchvision_vgg(16, 5, head="cifar"), (2, 3, 32, 32)),
        case("mobilenet-0.3", MobileNet(0.3, 2, 5), (2, 3, 64, 64)),
        case("mobilenet-0.3-cifar", MobileNet(0.3, 1, 5), (2, 3, 32, 32)),
        case("network-in-network", NetworkInNetwork(7, 5), (2, 3, 16, 16)),
        case("nine-layer", NineLayer(5), (2, 3, 32, 32)),
        case("mnist", MnistCnn(8, 5), (2, 1, 8, 8)),
        case("carlini", ConvPool(1, [[32, 32], [64, 64]], 3, 0, 16, [200, 200], 10), (2, 1, 28, 28)),
        case("madry", ConvPool(1, [[32], [64]], 5, 2, 4, [1024], 10), (2, 1, 8, 8)),
        case("plain", Plain([(16, 1), (64, 2), (64, 2), (64, 1)], 5), (2, 1, 14, 14)),
    ]


def state_dicts():
    """Names and shapes of whole networks."""
    models = {
        "resnet18": torchvision_resnet(18, 1000),
        "resnet50": torchvision_resnet(50, 1000),
        "resnet18-cifar": torchvision_resnet(18, 10, cifar=True),
        "resnet20": CifarResNet(16, [16, 32, 64], [3, 3, 3], 10),
        "vgg11": torchvision_vgg(11, 1000),
        "vgg13": torchvision_vgg(13, 1000),
        "vgg16": torchvision_vgg(16, 1000),
        "vgg19": torchvision_vgg(19, 1000),
        "vgg16-cifar": torchvision_vgg(16, 10, head="cifar"),
        "wrn-28-10": WideResNet(28, 10, 10),
        "mobilenet": MobileNet(1, 2, 1000),
        "mobilenet-0.25": MobileNet(0.25, 2, 1000),
        "network-in-network": NetworkInNetwork(1, 10),
        "nine-layer": NineLayer(10),
        "mnist": MnistCnn(28, 10),
        "carlini": ConvPool(1, [[32, 32], [64, 64]], 3, 0, 16, [200, 200], 10),
        "madry": ConvPool(1, [[32], [64]], 5, 2, 49, [1024], 10),
    }
    return {
        name: {
            "parameters": sum(parameter.numel() for parameter in model.parameters()),
            "state": [f"{name} {'x'.join(map(str, value.shape))}" for name, value in values(model.state_dict())],
        }
        for name, model in models.items()
    }


def save_safetensors(path, tensors):
    """A float32 state dict with PyTorch's counters of batches, as `safetensors.torch.save_file` writes it."""
    header, blob = {}, b""
    for name, value in tensors.items():
        dtype, code = ("I64", "q") if value.dtype == torch.int64 else ("F32", "f")
        data = struct.pack(f"<{value.numel()}{code}", *value.flatten().tolist())
        header[name] = {"dtype": dtype, "shape": list(value.shape), "data_offsets": [len(blob), len(blob) + len(data)]}
        blob += data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(struct.pack("<Q", len(text)) + text + blob)


def state_dict_file():
    model = CifarResNet(4, [4, 6], [1, 1], 3)
    fill(model.double())
    model.float().eval()
    save_safetensors(FOLDER / "resnet.safetensors", model.state_dict())
    with torch.no_grad():
        return {"shape": [2, 3, 8, 8], "logits": model(image((2, 3, 8, 8)).float()).tolist()}


def main():
    written = {"cases": networks(), "state_dict": state_dict_file()}
    (FOLDER / "networks.json").write_text(json.dumps(written, indent=1) + "\n")
    (FOLDER / "state_dicts.json").write_text(json.dumps(state_dicts(), indent=1) + "\n")


main()
