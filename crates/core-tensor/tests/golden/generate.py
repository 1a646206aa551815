"""Writes the reference values of the tests with PyTorch (2.x, any) on the CPU in float64.

    pip install torch numpy && python generate.py

The files beside this one are its output.
"""

import json
import pathlib

import torch

FOLDER = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)


def write(name, value):
    (FOLDER / name).write_text(json.dumps(value, indent=1) + "\n")


def optimizers():
    """Six steps on two parameters; the second one has no gradient in the third step."""
    cases = [
        ("sgd", dict(lr=0.1)),
        ("sgd", dict(lr=0.1, weight_decay=0.05)),
        ("sgd", dict(lr=0.1, momentum=0.9)),
        ("sgd", dict(lr=0.1, momentum=0.9, dampening=0.3, weight_decay=0.05)),
        ("sgd", dict(lr=0.1, momentum=0.9, nesterov=True, weight_decay=0.05)),
        ("adam", dict(lr=0.1)),
        ("adam", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.1)),
        ("adamw", dict(lr=0.1, weight_decay=0.01)),
        ("adamw", dict(lr=0.05, betas=(0.8, 0.95), eps=1e-3, weight_decay=0.3)),
    ]
    kinds = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}
    torch.manual_seed(0)
    start = [torch.randn(2, 3), torch.randn(4)]
    gradients = [[torch.randn(2, 3), torch.randn(4)] for _ in range(6)]
    out = {
        "start": [p.tolist() for p in start],
        "gradients": [[g.tolist() for g in step] for step in gradients],
        "skipped": {"step": 2, "parameter": 1},
        "cases": [],
    }
    for kind, options in cases:
        parameters = [p.clone().requires_grad_() for p in start]
        optimizer = kinds[kind](parameters, **options)
        trace = []
        for step, grads in enumerate(gradients):
            for index, (p, g) in enumerate(zip(parameters, grads)):
                p.grad = None if (step, index) == (2, 1) else g.clone()
            optimizer.step()
            trace.append([p.detach().tolist() for p in parameters])
        out["cases"].append({"kind": kind, "options": options, "trace": trace})
    write("optimizers.json", out)


def operations():
    """Values and gradients of the dense operations."""
    torch.manual_seed(1)
    f = torch.nn.functional
    x, w, b = torch.randn(5, 3), torch.randn(4, 3), torch.randn(4)
    targets = torch.tensor([0, 2, 1, 1, 2])
    weight, bias = torch.rand(3) + 0.5, torch.randn(3)
    special = torch.tensor([-3.0, -0.5, 0.0, 0.5, 3.0])

    def run(function, *inputs):
        inputs = [i.clone().requires_grad_() for i in inputs]
        y = function(*inputs)
        seed = torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape)
        (y * seed).sum().backward()
        return {
            "inputs": [i.detach().tolist() for i in inputs],
            "output": y.detach().tolist(),
            "gradients": [i.grad.tolist() for i in inputs],
        }

    running_mean, running_var = torch.zeros(3), torch.ones(3)
    out = {
        "linear": run(f.linear, x, w, b),
        "relu": run(f.relu, special),
        "leaky_relu": run(lambda x: f.leaky_relu(x, 0.2), special),
        "elu": run(f.elu, special),
        "sigmoid": run(torch.sigmoid, special),
        "tanh": run(torch.tanh, special),
        "softmax": run(lambda x: f.softmax(x, -1), x),
        "log_softmax": run(lambda x: f.log_softmax(x, -1), x),
        "cross_entropy": run(lambda x: f.cross_entropy(x, targets), x),
        "cross_entropy_each": run(lambda x: f.cross_entropy(x, targets, reduction="none"), x),
        "mse": run(f.mse_loss, x, x.flip(0)),
        "batch_norm": run(
            lambda x, weight, bias: f.batch_norm(x, running_mean, running_var, weight, bias, True, 0.1, 1e-5),
            x, weight, bias,
        ),
        "targets": targets.tolist(),
    }
    out["batch_norm"]["running_mean"] = running_mean.tolist()
    out["batch_norm"]["running_var"] = running_var.tolist()
    write("operations.json", out)


def clipping():
    torch.manual_seed(2)
    grads = [torch.randn(2, 2), torch.randn(3)]
    parameters = [torch.zeros_like(g).requires_grad_() for g in grads]
    for p, g in zip(parameters, grads):
        p.grad = g.clone()
    norm = torch.nn.utils.clip_grad_norm_(parameters, 0.7)
    write("clipping.json", {
        "gradients": [g.tolist() for g in grads], "max_norm": 0.7, "norm": norm.item(),
        "clipped": [p.grad.tolist() for p in parameters],
    })


optimizers()
operations()
clipping()
