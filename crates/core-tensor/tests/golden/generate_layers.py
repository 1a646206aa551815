"""Writes the reference values of the layers with PyTorch (2.x, any) on the CPU in float64, and a float32 state_dict.

    pip install torch numpy safetensors && python generate_layers.py

`layers.json`, `state_dict.safetensors` and `state_dict.json` beside this one are its output.
An infinity is the string "inf" or "-inf", as JSON has no number for it.
"""

import json
import math
import pathlib

import torch
from safetensors.torch import save_file

FOLDER = pathlib.Path(__file__).parent
torch.set_default_dtype(torch.float64)
f = torch.nn.functional
cases = []


def listed(tensor):
    def named(value):
        if isinstance(value, list):
            return [named(v) for v in value]
        return str(value) if isinstance(value, float) and math.isinf(value) else value

    return named(tensor.tolist())


def add(op, function, inputs, options=None, integers=None, buffers=None):
    """`function` is called with the inputs, the integers and the buffers by name."""
    integers, buffers = integers or {}, buffers or {}
    variables = {name: value.detach().clone().requires_grad_() for name, value in inputs.items()}
    # Cloned, since a batch norm may write to its buffers.
    y = function(**variables, **integers, **{name: value.clone() for name, value in buffers.items()})
    seed = torch.linspace(0.5, 1.5, y.numel()).reshape(y.shape)
    (y * seed).sum().backward()
    case = {"op": op, "options": options or {}, "inputs": {n: listed(v.detach()) for n, v in variables.items()}}
    if integers:
        case["integers"] = {n: listed(v) for n, v in integers.items()}
    if buffers:
        case["buffers"] = {n: listed(v) for n, v in buffers.items()}
    case["output"] = listed(y.detach())
    case["gradients"] = {n: listed(v.grad) for n, v in variables.items()}
    cases.append(case)


def convolutions():
    torch.manual_seed(3)
    # Input, weight, stride, padding, dilation, groups.
    for x, weight, stride, padding, dilation, groups in [
        ((2, 3, 5, 7), (4, 3, 3, 3), (1, 1), (0, 0), (1, 1), 1),
        ((1, 2, 7, 6), (3, 2, 3, 2), (2, 3), (1, 0), (1, 1), 1),
        ((2, 2, 7, 8), (3, 2, 3, 3), (1, 2), (2, 1), (2, 3), 1),
        ((2, 4, 5, 5), (6, 2, 3, 3), (2, 1), (1, 2), (1, 1), 2),
        ((2, 3, 5, 4), (6, 1, 3, 3), (1, 1), (1, 1), (1, 1), 3),
        ((1, 3, 6, 7), (6, 1, 3, 5), (2, 2), (1, 2), (1, 1), 3),
        ((2, 5, 3, 4), (3, 5, 1, 1), (1, 1), (0, 0), (1, 1), 1),
        ((1, 16, 5, 4), (16, 16, 3, 3), (1, 1), (1, 1), (1, 1), 1),
    ]:
        inputs = {"x": torch.randn(x), "weight": torch.randn(weight), "bias": torch.randn(weight[0])}
        options = {"stride": stride, "padding": padding, "dilation": dilation}
        add(
            "conv2d", lambda x, weight, bias: f.conv2d(x, weight, bias, **options, groups=groups), inputs,
            {f"{name}_{axis}": v for name, vs in options.items() for axis, v in zip("hw", vs)} | {"groups": groups},
        )
    for x, weight, options in [
        ((2, 3, 7), (4, 3, 3), dict(stride=1, padding=1, dilation=1, groups=1)),
        ((1, 2, 9), (3, 2, 2), dict(stride=2, padding=0, dilation=3, groups=1)),
        ((2, 4, 8), (6, 2, 3), dict(stride=3, padding=2, dilation=2, groups=2)),
    ]:
        inputs = {"x": torch.randn(x), "weight": torch.randn(weight), "bias": torch.randn(weight[0])}
        add("conv1d", lambda x, weight, bias: f.conv1d(x, weight, bias, **options), inputs, options)
    # The weight of a transposed one is [in, out / groups, ..].
    for op, x, weight, options in [
        ("conv_transpose2d", (2, 3, 3, 4), (3, 2, 2, 2), dict(stride=2, padding=0, output_padding=0, dilation=1, groups=1)),
        ("conv_transpose2d", (1, 2, 4, 3), (2, 3, 3, 3), dict(stride=2, padding=1, output_padding=1, dilation=1, groups=1)),
        ("conv_transpose2d", (2, 4, 3, 2), (4, 3, 3, 2), dict(stride=3, padding=1, output_padding=2, dilation=2, groups=2)),
        ("conv_transpose1d", (2, 3, 5), (3, 2, 4), dict(stride=2, padding=1, output_padding=0, dilation=1, groups=1)),
        ("conv_transpose1d", (2, 4, 4), (4, 3, 3), dict(stride=3, padding=2, output_padding=1, dilation=2, groups=2)),
    ]:
        bias = torch.randn(weight[1] * options["groups"])
        inputs = {"x": torch.randn(x), "weight": torch.randn(weight), "bias": bias}
        add(op, lambda x, weight, bias: getattr(f, op)(x, weight, bias, **options), inputs, options)


def pools():
    torch.manual_seed(4)
    for op in ["max_pool2d", "avg_pool2d"]:
        for shape, kernel, stride, padding in [((2, 3, 4, 6), 2, 2, 0), ((2, 2, 5, 7), 3, 2, 1), ((1, 2, 6, 5), 3, 1, 0)]:
            options = {"kernel": kernel, "stride": stride, "padding": padding}
            add(op, lambda x: getattr(f, op)(x, kernel, stride, padding), {"x": torch.randn(shape)}, options)
    for shape, height, width in [((2, 3, 5, 7), 3, 2), ((1, 2, 4, 5), 3, 3)]:
        options = {"height": height, "width": width}
        add("adaptive_avg_pool2d", lambda x: f.adaptive_avg_pool2d(x, (height, width)), {"x": torch.randn(shape)}, options)


def norms():
    torch.manual_seed(5)
    eps = 1e-5

    def inputs(shape, channels):
        return {"x": torch.randn(shape) * 2 + 0.5, "weight": torch.rand(channels) + 0.5, "bias": torch.randn(channels)}

    for shape in [(3, 4), (2, 3, 5)]:
        add("layer_norm", lambda x, weight, bias: f.layer_norm(x, x.shape[-1:], weight, bias, eps), inputs(shape, shape[-1]), {"eps": eps})
    for shape in [(3, 4), (2, 3, 5)]:
        x = inputs(shape, shape[-1])
        del x["bias"]
        add("rms_norm", lambda x, weight: f.rms_norm(x, x.shape[-1:], weight, eps), x, {"eps": eps})
    for shape, groups in [((2, 4, 3, 2), 2), ((2, 6, 5), 3), ((3, 4), 2)]:
        add(
            "group_norm", lambda x, weight, bias: f.group_norm(x, groups, weight, bias, eps), inputs(shape, shape[1]),
            {"groups": groups, "eps": eps},
        )
    shapes = [(4, 3), (3, 2, 5), (2, 3, 4, 3)]
    for shape in shapes:
        add(
            "batch_norm_train", lambda x, weight, bias: f.batch_norm(x, None, None, weight, bias, training=True, eps=eps),
            inputs(shape, shape[1]), {"eps": eps},
        )
    for shape in shapes:
        add(
            "batch_norm_eval", lambda x, weight, bias, mean, variance: f.batch_norm(x, mean, variance, weight, bias, eps=eps),
            inputs(shape, shape[1]), {"eps": eps},
            buffers={"mean": torch.randn(shape[1]), "variance": torch.rand(shape[1]) + 0.5},
        )
    for shape in shapes:
        add(
            "batch_norm_relu_train",
            lambda x, weight, bias, residual: f.relu(f.batch_norm(x, None, None, weight, bias, training=True, eps=eps) + residual),
            inputs(shape, shape[1]) | {"residual": torch.randn(shape)}, {"eps": eps},
        )


def activations():
    torch.manual_seed(6)
    x = torch.randn(2, 3, 4)
    for op in ["softmax", "log_softmax"]:
        for dim in range(3):
            add(op, lambda x: getattr(f, op)(x, dim), {"x": x}, {"dim": dim})
    x = torch.cat([torch.linspace(-6, 6, 12), torch.zeros(1)])
    for op, function in {
        "gelu": f.gelu,
        "gelu_tanh": lambda x: f.gelu(x, approximate="tanh"),
        "silu": f.silu,
        "softplus": f.softplus,
        "exp": torch.exp,
        "sigmoid": torch.sigmoid,
        "tanh": torch.tanh,
        "elu": f.elu,
    }.items():
        add(op, lambda x: function(x), {"x": x}, {"alpha": 1.0} if op == "elu" else None)
    two = lambda a, b: {a: torch.randn(3, 5), b: torch.randn(3, 5)}
    add("swiglu", lambda gate, x: f.silu(gate) * x, two("gate", "x"))
    add("add_relu", lambda a, b: f.relu(a + b), two("a", "b"))
    add("bias_gelu", lambda x, bias: f.gelu(x + bias), {"x": torch.randn(3, 5), "bias": torch.randn(5)})


def indexing():
    torch.manual_seed(7)
    ids = torch.tensor([[4, 1, 4], [0, 4, 1]])
    add("embedding", lambda weight, ids: f.embedding(ids, weight), {"weight": torch.randn(6, 3)}, integers={"ids": ids})
    index = torch.tensor([3, 0, 3, 1, 0])
    add(
        "scatter_add", lambda x, index: torch.zeros(4, 2).index_add(0, index, x), {"x": torch.randn(5, 2)}, {"size": 4},
        {"index": index},
    )


def attention():
    torch.manual_seed(8)

    def inputs(queries, keys):
        return {"q": torch.randn(2, 2, queries, 4), "k": torch.randn(2, 2, keys, 4), "v": torch.randn(2, 2, keys, 6)}

    add("attention", lambda q, k, v: f.scaled_dot_product_attention(q, k, v), inputs(3, 5), {"is_causal": False})
    add("attention", lambda q, k, v: f.scaled_dot_product_attention(q, k, v, is_causal=True), inputs(5, 5), {"is_causal": True})
    mask = torch.randn(3, 5)
    mask[0, 1] = mask[0, 4] = mask[1, 0] = mask[2, :4] = -torch.inf
    add(
        "attention", lambda q, k, v, mask: f.scaled_dot_product_attention(q, k, v, attn_mask=mask), inputs(3, 5),
        {"is_causal": False}, buffers={"mask": mask},
    )


def recurrent():
    torch.manual_seed(9)
    for op, gates in [("lstm", 4), ("gru", 3)]:
        module = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[op](3, 4)
        states = {name: torch.randn(2, 4) for name in ["h0", "c0"][: 2 if op == "lstm" else 1]}

        def function(x, weight_ih, weight_hh, bias_ih, bias_hh, h0, c0=None):
            weights = dict(weight_ih_l0=weight_ih, weight_hh_l0=weight_hh, bias_ih_l0=bias_ih, bias_hh_l0=bias_hh)
            state = h0[None] if c0 is None else (h0[None], c0[None])
            output, final = torch.func.functional_call(module, weights, (x, state))
            return output if c0 is None else torch.cat([output.flatten(), final[1].flatten()])

        add(op, function, {
            "x": torch.randn(5, 2, 3),
            "weight_ih": torch.randn(gates * 4, 3) * 0.5, "weight_hh": torch.randn(gates * 4, 4) * 0.5,
            "bias_ih": torch.randn(gates * 4) * 0.5, "bias_hh": torch.randn(gates * 4) * 0.5,
        } | states)


def losses():
    torch.manual_seed(10)
    logits, targets = torch.randn(5, 4), torch.tensor([0, 3, 1, 1, 2])
    add(
        "cross_entropy", lambda logits, targets: f.cross_entropy(logits, targets, label_smoothing=0.1), {"logits": logits},
        {"label_smoothing": 0.1}, {"targets": targets},
    )
    add(
        "cross_entropy", lambda logits, targets, weight: f.cross_entropy(logits, targets, weight), {"logits": logits},
        {"label_smoothing": 0.0}, {"targets": targets}, {"weight": torch.rand(4) + 0.5},
    )
    probabilities = lambda: torch.randn(5, 4).softmax(-1)
    add(
        "soft_cross_entropy", lambda logits, targets: f.cross_entropy(logits, targets),
        {"logits": torch.randn(5, 4), "targets": probabilities()},
    )
    add(
        "bce_with_logits", lambda logits, targets: f.binary_cross_entropy_with_logits(logits, targets),
        {"logits": torch.randn(5, 4) * 3, "targets": torch.rand(5, 4)},
    )
    add(
        "kl_div",
        lambda log_probabilities, probabilities: f.kl_div(log_probabilities, probabilities, reduction="batchmean"),
        {"log_probabilities": probabilities().log(), "probabilities": probabilities()},
    )
    two = lambda: {"x": torch.randn(5, 4), "targets": torch.randn(5, 4)}
    add("huber", lambda x, targets: f.huber_loss(x, targets, delta=0.7), two(), {"delta": 0.7})
    add("l1", lambda x, targets: f.l1_loss(x, targets), two())


def state_dict():
    """A float32 model, and of each of its modules an input and the output in evaluation."""
    torch.manual_seed(11)
    torch.set_default_dtype(torch.float32)
    model = torch.nn.ModuleDict({
        "conv": torch.nn.Conv2d(3, 4, 3, padding=1),
        "bn": torch.nn.BatchNorm2d(4),
        "ln": torch.nn.LayerNorm(4),
        "emb": torch.nn.Embedding(6, 4),
        "lin": torch.nn.Linear(4, 3),
        "attn": torch.nn.MultiheadAttention(4, 2, batch_first=True),
        "lstm": torch.nn.LSTM(4, 3),
        "gru": torch.nn.GRU(4, 3),
        "gn": torch.nn.GroupNorm(2, 4),
        "ct": torch.nn.ConvTranspose2d(4, 2, 2, stride=2),
    }).eval()
    with torch.no_grad():
        for parameter in model.parameters():  # so that no bias is 0 and no scale is 1
            parameter.add_(torch.randn_like(parameter) * 0.3)
        model["bn"].running_mean.copy_(torch.randn(4))
        model["bn"].running_var.copy_(torch.rand(4) + 0.5)
        model["bn"].num_batches_tracked.fill_(7)
    inputs = {
        "conv": torch.randn(2, 3, 5, 4),
        "bn": torch.randn(2, 4, 3, 2),
        "ln": torch.randn(2, 3, 4),
        "emb": torch.tensor([[4, 1, 4], [0, 5, 1]]),
        "lin": torch.randn(5, 4),
        "attn": torch.randn(2, 5, 4),
        "lstm": torch.randn(5, 2, 4),
        "gru": torch.randn(5, 2, 4),
        "gn": torch.randn(2, 4, 3, 2),
        "ct": torch.randn(2, 4, 3, 2),
    }
    out = {}
    for name, x in inputs.items():
        with torch.no_grad():
            y = model[name](x, x, x) if name == "attn" else model[name](x)
        out[name] = {"input": x.tolist(), "output": (y[0] if isinstance(y, tuple) else y).tolist()}
    save_file(model.state_dict(), FOLDER / "state_dict.safetensors")
    write("state_dict.json", [f"{json.dumps(name)}: {json.dumps(value)}" for name, value in out.items()], "{}")


def write(name, lines, brackets):
    """One case a line."""
    (FOLDER / name).write_text(brackets[0] + "\n" + ",\n".join(lines) + "\n" + brackets[1] + "\n")


convolutions()
pools()
norms()
activations()
indexing()
attention()
recurrent()
losses()
write("layers.json", [json.dumps(case, allow_nan=False) for case in cases], "[]")
state_dict()
