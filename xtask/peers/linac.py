"""Fits of coordinate networks, one for each image, in PyTorch and JAX, for `cargo xtask bench linac --peers`.

Name a part of a row to run only those that contain it: `python linac.py "H = 32"`. The rows of JAX stand under `/JAX` and are skipped where it is not installed; ours is printed under both names.
A row is the seconds for one image, time over number of images (images per second and core are 1 / seconds / threads): 2 images at H = 256, 8 at 64, 16 at 16x16 and H = 32, fitted in lock-step.

PyTorch: `vmap` of `grad` over the images, all parameters and Adam's state with the images as first dimension, Adam fused. JAX: `vmap` over the images of one fit, a `scan` over the steps, compiled before the clock starts.
Threads of JAX's CPU client: their number in NPROC, which it reads, and the process bound to as many processors while JAX is at work.

**The work.** Five hidden layers of H units with ReLU, an output layer of 3; F = 5 frequencies, so 20 inputs; 10 epochs of batches of M = 32 pixels; loss: mean over the pixels of the sum of squared errors; Adam 0.9, 0.99, 1e-8; learning rate at step t of T:
1e-3 ((1 - 1e-4) (1 + cos(pi t / T)) / 2 + 1e-4). Only the fit is measured, neither the representation afterwards nor the drawing of the numbers below. Printed with each row: the mean over the images of the mean loss of the last 32 steps.

**Numbers.** SplitMix64 (Steele, Lea, Flood 2014), in f64, rounded to f32 where they are used; a Rust program can draw the same:

    next():       state += 0x9E3779B97F4A7C15; z = state
                  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9; z = (z ^ z >> 27) * 0x94D049BB133111EB; return z ^ z >> 31        (modulo 2^64)
    uniform():    (next() >> 11) * 2^-53
    normal():     z = next(); ((z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48) - 131070) * (sqrt(3) / 65536)
    truncated():  normal() until its size is at most 2
    below(n):     next() * n >> 64        (of the 128-bit product)
    order(n):     0, ..., n - 1, then for at = n - 1, ..., 1: exchange at and below(at + 1)

Arrays are filled row by row, the last index fastest.

- *Initial weights* (state 1): truncated() / sqrt(inputs) for the layers' weights [inputs, outputs] in their order; biases are 0 and draw nothing.
- *Pixels* (state 2): gp = order(P); then for each epoch ep = order(P); it visits gp[ep[0]], gp[ep[1]], ... P = height * width, pixel (row i, column j) is i * width + j.
- *Images* (state 3): for each image three gratings, each of them u = uniform [6]: angle pi u0, frequency 1 + 3 u1 (waves from one edge to the other), phase 2 pi u2, colour 2 (u3, u4, u5) - 1. With x = (j + 1/2) / width and y = (i + 1/2) / height, the value of
  a channel is 1/2 + (sum over the gratings of colour * sin(2 pi frequency (x cos angle + y sin angle) + phase)) / 6, and the network sees (value - mean) / deviation, mean (0.4914, 0.4822, 0.4465), deviation (0.2471, 0.2435, 0.2616).
"""

import json
import math
import os
import sys
import time

import numpy as np
import torch
from torch.func import grad_and_value, vmap

from measure import LEAST_REPETITIONS, threads

FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")
LAYERS, FREQUENCIES, CHANNELS = 5, 5, 3
EPOCHS, BATCH = 10, 32
BETA1, BETA2, EPSILON = 0.9, 0.99, 1e-8
MEAN, DEVIATION = np.array([0.4914, 0.4822, 0.4465]), np.array([0.2471, 0.2435, 0.2616])


class Draws:
    """SplitMix64."""

    def __init__(self, state: int) -> None:
        self.state = state

    def bits(self, count: int) -> np.ndarray:
        step = 0x9E3779B97F4A7C15
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step) + np.uint64(self.state)
        self.state = (self.state + count * step) % 2**64
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def uniform(self, count: int) -> np.ndarray:
        return (self.bits(count) >> np.uint64(11)) * 2.0**-53

    def normal(self, count: int) -> np.ndarray:
        z = self.bits(count)
        parts = sum((z >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
        return (parts.astype(np.float64) - 131070) * (math.sqrt(3) / 65536)

    def truncated(self, *shape: int) -> np.ndarray:
        """As if drawn one by one: as many again as were rejected, until none is."""
        kept, missing = [], math.prod(shape)
        while missing:
            numbers = self.normal(missing)
            kept.append(numbers[abs(numbers) <= 2])
            missing -= len(kept[-1])
        return np.concatenate(kept).reshape(shape)

    def order(self, count: int) -> np.ndarray:
        order = np.arange(count)
        for at, bits in zip(range(count - 1, 0, -1), self.bits(count - 1).tolist()):
            other = bits * (at + 1) >> 64
            order[[at, other]] = order[[other, at]]
        return order


def weights(units: int) -> list[np.ndarray]:
    draws = Draws(1)
    widths = [4 * FREQUENCIES] + [units] * LAYERS + [CHANNELS]
    shapes = zip(widths, widths[1:])
    return [(draws.truncated(*shape) / math.sqrt(shape[0])).astype(np.float32) for shape in shapes]


def encoding(side: int) -> np.ndarray:
    """[pixels, 4 F]: sines by frequency, x before y, then cosines."""
    places = np.linspace(-1, 1, side + 2)[1:-1]
    y, x = np.meshgrid(-places, places, indexing="ij")
    position = np.stack([x.ravel(), y.ravel()], axis=1)
    angles = np.hstack([2**frequency * math.pi * position for frequency in range(FREQUENCIES)])
    return np.hstack([np.sin(angles), np.cos(angles)]).astype(np.float32)


def visits(side: int) -> np.ndarray:
    """The pixels of each step, [steps, batch]."""
    draws = Draws(2)
    first = draws.order(side * side)
    return np.stack([first[draws.order(side * side)] for _ in range(EPOCHS)]).reshape(-1, BATCH)


def images(count: int, side: int) -> np.ndarray:
    """[count, pixels, channels], normalised."""
    u = Draws(3).uniform(count * 18).reshape(count, 3, 6)
    place = (np.arange(side) + 0.5) / side
    y, x = (axis.ravel() for axis in np.meshgrid(place, place, indexing="ij"))
    angle, frequency, phase = math.pi * u[..., 0], 1 + 3 * u[..., 1], 2 * math.pi * u[..., 2]
    along = np.cos(angle)[..., None] * x + np.sin(angle)[..., None] * y
    waves = np.sin(2 * math.pi * frequency[..., None] * along + phase[..., None])
    values = 0.5 + np.einsum("ngp,ngc->npc", waves, 2 * u[..., 3:] - 1) / 6
    return ((values - MEAN) / DEVIATION).astype(np.float32)


def learning_rates(steps: int) -> np.ndarray:
    return 1e-3 * ((1 - 1e-4) * (1 + np.cos(math.pi * np.arange(steps) / steps)) / 2 + 1e-4)


def with_torch(units, inputs, steps, targets):
    """The fit of all images at once, which returns the losses [steps, images]."""
    inputs, targets = torch.from_numpy(inputs)[steps], torch.from_numpy(targets)[:, steps].transpose(0, 1).contiguous()
    initial, count = [torch.from_numpy(weight) for weight in weights(units)], targets.shape[1]
    rates = learning_rates(len(steps)).tolist()

    def loss(weights, biases, x, wanted):
        for weight, bias in zip(weights[:-1], biases[:-1]):
            x = torch.addmm(bias, x, weight).relu()
        return (torch.addmm(biases[-1], x, weights[-1]) - wanted).square().sum(1).mean()

    gradients = vmap(grad_and_value(loss, argnums=(0, 1)), in_dims=(0, 0, None, 0))

    def fit():
        weights = [weight.expand(count, *weight.shape).clone() for weight in initial]
        biases = [torch.zeros(count, weight.shape[1]) for weight in initial]
        adam = torch.optim.Adam([*weights, *biases], betas=(BETA1, BETA2), eps=EPSILON, fused=True)
        losses = []
        for x, wanted, rate in zip(inputs, targets, rates):
            (of_weights, of_biases), values = gradients(weights, biases, x, wanted)
            for parameter, gradient in zip([*weights, *biases], [*of_weights, *of_biases]):
                parameter.grad = gradient
            adam.param_groups[0]["lr"] = rate
            adam.step()
            losses.append(values)
        return torch.stack(losses).numpy()

    return fit


def with_jax(units, inputs, steps, targets):
    """The same, compiled."""
    import jax
    import jax.numpy as jnp

    batches = jnp.asarray(inputs[steps]), jnp.asarray(learning_rates(len(steps)), jnp.float32), jnp.arange(1, len(steps) + 1)
    wanted_by_image = jnp.asarray(targets[:, steps])
    weights_of_all = [jnp.asarray(weight) for weight in weights(units)]
    initial = weights_of_all, [jnp.zeros(weight.shape[1]) for weight in weights_of_all]

    def loss(parameters, x, wanted):
        weights, biases = parameters
        for weight, bias in zip(weights[:-1], biases[:-1]):
            x = jax.nn.relu(x @ weight + bias)
        return jnp.square(x @ weights[-1] + biases[-1] - wanted).sum(1).mean()

    def step(state, batch):
        parameters, firsts, seconds = state
        (x, rate, number), wanted = batch
        value, gradients = jax.value_and_grad(loss)(parameters, x, wanted)
        firsts = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, firsts, gradients)
        seconds = jax.tree.map(lambda v, g: BETA2 * v + (1 - BETA2) * g * g, seconds, gradients)
        first_scale, second_scale = 1 / (1 - BETA1**number), 1 / (1 - BETA2**number)

        def moved(parameter, m, v):
            return parameter - rate * (m * first_scale) / (jnp.sqrt(v * second_scale) + EPSILON)

        return (jax.tree.map(moved, parameters, firsts, seconds), firsts, seconds), value

    def fit_one(wanted):
        zeros = jax.tree.map(jnp.zeros_like, initial)
        state, losses = jax.lax.scan(step, (initial, zeros, zeros), (batches, wanted))
        # The parameters are returned, so that nothing of the last steps is left out.
        return state[0], losses

    compiled = jax.jit(jax.vmap(fit_one, out_axes=(0, 1))).lower(wanted_by_image).compile()
    return lambda: np.asarray(jax.block_until_ready(compiled(wanted_by_image))[1])


def row(name, prepare, side, units, count):
    if FILTER not in name:
        return
    try:
        fit = prepare(units, encoding(side), visits(side), images(count, side))
    except ImportError as error:
        return print(f"skipped: {name}: {error}", flush=True)
    # A warm-up, then at least five fits or as many as begin within a minute, two at least.
    losses, times = fit(), []
    while len(times) < LEAST_REPETITIONS and (len(times) < 2 or sum(times) < 60):
        start = time.perf_counter()
        fit()
        times.append(time.perf_counter() - start)
    seconds = min(times) / count
    if "BENCH_JSON" in os.environ:
        print(json.dumps({"name": name, "threads": threads(), "seconds": seconds}), flush=True)
    else:
        print(f"{name:<50} {seconds * 1e3:10.3f} ms", flush=True)
    print(f"  {count} images, loss {losses[0].mean():.5f} at first, {losses[-32:].mean():.5f} at last", flush=True)


def main():
    torch.set_num_threads(threads())
    cases = [(32, 256, 2), (32, 64, 8), (16, 32, 16)]
    for side, units, count in cases:
        row(f"fit, {side}x{side}, H = {units}", with_torch, side, units, count)
    os.environ["NPROC"] = str(threads())
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads() :])
    for side, units, count in cases:
        row(f"fit, {side}x{side}, H = {units}/JAX", with_jax, side, units, count)


if __name__ == "__main__":
    main()
