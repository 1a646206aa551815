"""Dense networks and layers in PyTorch and ONNX Runtime, for `cargo xtask bench structured-lottery-tickets --peers`.

The peer of a pruned network is the dense one: zeros in a weight make neither PyTorch nor ONNX Runtime faster. ResNet-18 for 32 x 32 (He et al., 2016; stem 3 x 3 without a maximum) with random weights in evaluation, f32, in inference mode:

- `PyTorch`: images [n, c, h, w], batch norms apart;
- `PyTorch channels last`: the same with channels innermost;
- `PyTorch frozen`: traced, frozen and optimised for inference, which folds batch norms, with channels innermost;
- `ONNX Runtime`: exported, all graph optimisations; skipped where it is not installed.

Name a part of a row to run only those that contain it.
"""

import json
import os
import sys
import tempfile
import warnings

import torch
import torch.nn.functional as F

from measure import measure, threads

warnings.filterwarnings("ignore")
FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
CASES = ["dense", "blocks at 0.42", "blocks at 0.26", "blocks at 0.20", "channels at 0.42", "channels at 0.26"]


class Block(torch.nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.first = torch.nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.second = torch.nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.norms = torch.nn.ModuleList(torch.nn.BatchNorm2d(outputs) for _ in range(2))
        self.shortcut = torch.nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = torch.nn.Sequential(
                torch.nn.Conv2d(inputs, outputs, 1, stride, bias=False), torch.nn.BatchNorm2d(outputs)
            )

    def forward(self, x):
        y = F.relu(self.norms[0](self.first(x)))
        return F.relu(self.norms[1](self.second(y)) + self.shortcut(x))


def resnet18():
    layers = [torch.nn.Conv2d(3, 64, 3, 1, 1, bias=False), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
    inputs = 64
    for stage, width in enumerate([64, 128, 256, 512]):
        for block in range(2):
            layers.append(Block(inputs, width, 2 if stage > 0 and block == 0 else 1))
            inputs = width
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(512, 10)).eval()


def shown(name, seconds):
    """Another name for a time that was measured."""
    if "BENCH_JSON" in os.environ:
        print(json.dumps({"name": name, "threads": threads(), "seconds": seconds}), flush=True)


def network(variant, batch, operation):
    names = [f"ResNet-18, {case}, {batch} images/{variant}" for case in CASES]
    seconds = measure(names[0], operation)
    for name in names[1:]:
        shown(name, seconds)


def onnx(model, x):
    try:
        import onnxruntime
    except ImportError:
        print("skipped: onnxruntime is not installed", flush=True)
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "network.onnx")
        torch.onnx.export(model, x, path, dynamo=False, input_names=["x"], do_constant_folding=True)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads()
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    images = x.numpy()
    return lambda: session.run(None, {"x": images})


def main():
    torch.set_num_threads(threads())
    torch.manual_seed(0)
    with torch.inference_mode():
        if FILTER in "ResNet-18":
            for batch in [64, 1]:
                model, x = resnet18(), torch.randn(batch, 3, 32, 32)
                network("PyTorch", batch, lambda: model(x))
                run = onnx(model, x)
                if run is not None:
                    network("ONNX Runtime", batch, run)
                model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
                network("PyTorch channels last", batch, lambda: model(x))
                frozen = torch.jit.optimize_for_inference(torch.jit.freeze(torch.jit.trace(model, x)))
                network("PyTorch frozen", batch, lambda: frozen(x))
        if FILTER in "linear 512 x 768 to 3072":
            x, weight = torch.randn(512, 768), torch.randn(3072, 768)
            seconds = measure("linear 512 x 768 to 3072, dense/PyTorch", lambda: F.linear(x, weight))
            for density in ["0.5", "0.25", "0.1"]:
                shown(f"linear 512 x 768 to 3072, blocks at {density}/PyTorch", seconds)


main()
