"""Attacks in PyTorch, rounds of the active set by CVXPY, the group elastic net by celer and skglm, for `cargo xtask bench reverse-engineering-attacks --peers`.

Name a part of a row to run only those that contain it: `python reverse-engineering-attacks.py "group elastic"`. Rows of packages that are not installed are skipped.
Where two peers do the same, the second stands under the row's name with `/` and what it is; ours is printed under each.

**Numbers.** All come from SplitMix64 (Steele, Lea, Flood 2014), a stream for each purpose, in f64; the Rust side draws the same:

    next():    state += 0x9E3779B97F4A7C15; z = state
               z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9; z = (z ^ z >> 27) * 0x94D049BB133111EB; return z ^ z >> 31        (modulo 2^64)
    uniform(): (next() >> 11) * 2^-53
    normal():  z = next(); ((z & 0xFFFF) + (z >> 16 & 0xFFFF) + (z >> 32 & 0xFFFF) + (z >> 48) - 131070) * (sqrt(3) / 65536)

The last is a sum of four uniform numbers, exact before it is scaled, with mean 0 and variance 1. One call, one `next()`. Arrays are filled row by row, the last index fastest.

- *Network* (state 1): the convolutions' weights [out, in, 3, 3] and the linear layers' [out, in], in the order in which they are applied, each number (2 uniform() - 1) * sqrt(6 / inputs of one output), rounded to f32.
  Biases are 0 and draw nothing.
- *Images* (state 2): uniform() in f32, [n, 1, 28, 28]. Labels: the network's own predictions, so that all are right at first.
- *Dictionaries* (state 3), d = 1400, 38 classes, 3 attacks, b = 20: for each class A = normal [d, 9], then B = normal [9, b]; the block is A B with its columns scaled to length 1. Then, for each attack and within it for each
  class, the same with A [d, 5] and B [5, b].
- *Signals*, going on in that stream, t = 0, 1, ...: class i = (7 t + 3) mod 38, attack j = t mod 3; c = normal [b], e = normal [b], n = normal [d]; x = D_s[i] c + D_a[i][j] (0.4 e) + 0.01 n.

**Rows.**

- PGD: 20 steps of 0.01 in l_inf 0.3, a random start included. Second row: the same with the images' channels last, which PyTorch prefers on some processors.
- Robust accuracy: epsilon is 0.02, chosen for the course of the attacks on such a network and not for its meaning. 32 of the 1,000 images withstand APGD and 41 PGD (steps of epsilon / 30, as 0.01 is of 0.3); half of those that fall do so in the first
  step of APGD (2 epsilon) and in about 15 steps of PGD, and an attack that lets broken rows go needs 5 % of APGD's evaluations and 20 % of PGD's. A larger epsilon breaks every row at once, which flatters the comparison. Any misclassified iterate
  breaks a row. 250 images at a time, of which nothing leaves before the end. The accuracy and that share are printed; starts are PyTorch's, so that counts may differ by a few.
- 12 rounds: lambda 0.99, no early stop, seconds for one signal (mean over SIGNALS). The problem as one writes it, with the active columns, at Clarabel's own accuracy, or with SCS stopped after 50 iterations. `Gram form` gives the solvers what ours keeps:
  D'D, made before the clock starts, whose active part with the ridge is R'R (Cholesky), and y = R'^-1 D'x, so that ||y - R c||^2 stands for the first and the last term; an order of magnitude faster. For t = 0, Clarabel ends within 5e-9 of the
  least objective of each round in either form, SCS within 2e-3. As every gamma depends on the coefficients before, the last objectives differ in the sixth digit; with every round solved exactly (t = 0) it is 0.28078952, classes 3, 10, 28, 25, 37,
  16, 32, 5, 18 in this order, attacks 0, 1, decided class 3, attack 0.
- Group elastic net: the signal of t = 0, blocks of the classes 0 to 14 and of all attacks on them, signal blocks first and then attack by attack as in the dictionaries; gamma_s and gamma_a are 0.02 times those of the first round (the mean of the two largest norms
  over *all* blocks), lambda 0.99. Neither package has a group penalty in Gram form or with a ridge; R and y as above, made before the clock starts, turn it into a group lasso of 1200 rows with the same minimiser and an objective that is less by
  x'x - y'y. Each starts from 0, with the loosest tolerance (in halves of decades) that leaves a duality gap of at most 1e-9 of the objective (x'x - y'y included). The least objective is 0.268080197539.
"""

import json
import os
import sys
import time
import warnings

import numpy as np
import torch
import torch.nn.functional as F
from scipy.linalg import solve_triangular
from threadpoolctl import threadpool_limits
from torch import nn

from measure import measure, threads

FILTER = next((argument for argument in sys.argv[1:] if not argument.startswith("-")), "")


def wanted(name: str) -> bool:
    return FILTER in name


def skip(what: str, why: Exception) -> None:
    print(f"skipped: {what}: {why}", flush=True)


class Draws:
    """SplitMix64; many numbers at a time."""

    def __init__(self, state: int) -> None:
        self.state = state

    def bits(self, *shape: int) -> np.ndarray:
        step, count = 0x9E3779B97F4A7C15, int(np.prod(shape))
        z = np.arange(1, count + 1, dtype=np.uint64) * np.uint64(step) + np.uint64(self.state)
        self.state = (self.state + count * step) % 2**64
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return (z ^ (z >> np.uint64(31))).reshape(shape)

    def uniform(self, *shape: int) -> np.ndarray:
        return (self.bits(*shape) >> np.uint64(11)) * 2.0**-53

    def normal(self, *shape: int) -> np.ndarray:
        z = self.bits(*shape)
        parts = sum((z >> np.uint64(shift)) & np.uint64(0xFFFF) for shift in (0, 16, 32, 48))
        return (parts.astype(np.float64) - 131070) * (np.sqrt(3) / 65536)


def carlini_cnn(first: int, second: int) -> nn.Sequential:
    """For images of 28x28x1 and 10 classes; frozen."""
    convolutions = []
    for before, after in ((1, first), (first, second)):
        convolutions += [nn.Conv2d(before, after, 3), nn.ReLU(), nn.Conv2d(after, after, 3), nn.ReLU(), nn.MaxPool2d(2)]
    head = [nn.Flatten(), nn.Linear(16 * second, 200), nn.ReLU(), nn.Linear(200, 200), nn.ReLU(), nn.Linear(200, 10)]
    net = nn.Sequential(*convolutions, *head).eval().requires_grad_(False)
    draws = Draws(1)
    for layer in net:
        if isinstance(layer, (nn.Conv2d, nn.Linear)):
            bound = np.sqrt(6 / layer.weight[0].numel())
            layer.weight.copy_(torch.from_numpy((2 * draws.uniform(*layer.weight.shape) - 1) * bound))
            layer.bias.zero_()
    return net


def images(count: int) -> torch.Tensor:
    return torch.from_numpy(Draws(2).uniform(count, 1, 28, 28).astype(np.float32))


@torch.no_grad()
def predictions(net, x):
    return net(x).argmax(1)


def evaluate(net, x, y):
    """The losses, the gradient with respect to x, and which rows are misclassified."""
    x = x.detach().requires_grad_()
    logits = net(x)
    losses = F.cross_entropy(logits, y, reduction="none")
    (gradient,) = torch.autograd.grad(losses.sum(), x)
    return losses.detach(), gradient, logits.detach().argmax(1) != y


def limits(x, epsilon):
    return (x - epsilon).clamp_(min=0), (x + epsilon).clamp_(max=1)


def random_start(x, epsilon, low, high):
    return torch.clamp(x + (2 * torch.rand_like(x) - 1) * epsilon, low, high)


def pgd(net, x, y, epsilon, step, steps):
    """The last iterate."""
    low, high = limits(x, epsilon)
    at = random_start(x, epsilon, low, high)
    for _ in range(steps):
        leaf = at.requires_grad_()
        (gradient,) = torch.autograd.grad(F.cross_entropy(net(leaf), y, reduction="sum"), leaf)
        at = torch.clamp(leaf.detach() + step * gradient.sign(), low, high)
    return at


def broken_by_pgd(net, x, y, epsilon, steps=100):
    """Which rows some iterate broke, and when (steps + 1 for none)."""
    low, high = limits(x, epsilon)
    at = random_start(x, epsilon, low, high)
    when = torch.full((len(x),), steps + 1)
    for step in range(steps):
        _, gradient, wrong = evaluate(net, at, y)
        when[wrong & (when > steps)] = step
        at = torch.clamp(at + epsilon / 30 * gradient.sign(), low, high)
    when[(predictions(net, at) != y) & (when > steps)] = steps
    return when


def broken_by_apgd(net, x, y, epsilon, steps=100):
    """The same for APGD (Croce & Hein 2020) in l_inf with cross-entropy."""
    low, high = limits(x, epsilon)
    window, shorter, shortest = max(int(0.22 * steps), 1), max(int(0.03 * steps), 1), max(int(0.06 * steps), 1)
    at = random_start(x, epsilon, low, high)
    losses, gradient, wrong = evaluate(net, at, y)
    when = torch.full((len(x),), steps + 1)
    when[wrong] = 0
    best, best_losses, best_gradient = at.clone(), losses.clone(), gradient.clone()
    checked_losses, halved = losses.clone(), torch.ones(len(x), dtype=torch.bool)
    rises, last_losses = torch.zeros(len(x), dtype=torch.long), torch.zeros(len(x))
    size = torch.full((len(x), 1, 1, 1), 2 * epsilon)
    before, since_check = at, 0
    for step in range(steps):
        momentum = 0.75 if step > 0 else 1.0
        moved = torch.clamp(at + size * gradient.sign(), low, high)
        moved = torch.clamp(at + momentum * (moved - at) + (1 - momentum) * (at - before), low, high)
        before, at = at, moved
        losses, gradient, wrong = evaluate(net, at, y)
        when[wrong & (when > steps)] = step + 1
        rises += losses > last_losses
        last_losses = losses
        better = losses > best_losses
        best[better], best_losses[better], best_gradient[better] = at[better], losses[better], gradient[better]
        since_check += 1
        if since_check == window:
            halved = (rises <= 0.75 * window) | (~halved & (checked_losses >= best_losses))
            checked_losses = best_losses.clone()
            size[halved] /= 2
            at, gradient = at.clone(), gradient.clone()
            at[halved], gradient[halved] = best[halved], best_gradient[halved]
            window = max(window - shorter, shortest)
            since_check = 0
            rises.zero_()
    return when


def robust_accuracy(net, x, y, attack, batch=250):
    """And the share of steps that rows take until they are broken."""
    right = torch.cat([predictions(net, part) for part in x.split(batch)]) == y
    x, y = x[right], y[right]
    when = torch.cat([attack(net, *pair) for pair in zip(x.split(batch), y.split(batch))])
    return (when > 100).sum().item() / len(right), when.clamp(max=100).double().mean().item() / 100


def attacks(at_once=128, count=1000, epsilon=0.02):
    net, x = carlini_cnn(32, 64), images(max(at_once, count))
    name = f"PGD-20, CNN 32-64, {at_once} images"
    for suffix, form in (("", torch.contiguous_format), ("/channels last", torch.channels_last)):
        if wanted(name + suffix):
            net = net.to(memory_format=form)
            some = x[:at_once].to(memory_format=form)
            y = predictions(net, some)
            measure(name + suffix, lambda: pgd(net, some, y, 0.3, 0.01, 20))
    net, x = net.to(memory_format=torch.contiguous_format), x[:count]
    for suffix, attack in (("APGD-CE", broken_by_apgd), ("PGD-100", broken_by_pgd)):
        name = f"robust accuracy, {count} images, {suffix}"
        if wanted(name):
            y = torch.cat([predictions(net, part) for part in x.split(250)])
            found = []
            torch.manual_seed(0)
            measure(
                name,
                lambda: found.append(robust_accuracy(net, x, y, lambda *rows: attack(*rows, epsilon))),
                repetitions=1,
                warm_ups=0,
            )
            print(f"  robust accuracy {found[-1][0]:.4f}, {found[-1][1]:.1%} of the steps before success", flush=True)


LAMBDA, BLOCK = 0.99, 20
SIGNALS = 2


class Dictionary:
    """Unit columns; signal blocks by class, then attack blocks, attack by attack."""

    def __init__(self, dimension, classes, attacks):
        self.draws = Draws(3)
        self.dimension, self.classes, self.attacks = dimension, classes, attacks
        ranks = [9] * classes + [5] * (attacks * classes)
        self.columns = np.asfortranarray(np.hstack([self.block(rank) for rank in ranks]))
        self.gram = self.columns.T @ self.columns

    def block(self, rank):
        columns = self.draws.normal(self.dimension, rank) @ self.draws.normal(rank, BLOCK)
        return columns / np.linalg.norm(columns, axis=0)

    def of(self, blocks):
        """The columns' indices of these blocks."""
        return (np.array(blocks, dtype=int)[:, None] * BLOCK + np.arange(BLOCK)).ravel()

    def attack(self, j, i):
        return self.classes + j * self.classes + i

    def signal(self, t):
        """To be called for t = 0, 1, ... in turn."""
        i, j = (7 * t + 3) % self.classes, t % self.attacks
        c, e, n = (self.draws.normal(size) for size in (BLOCK, BLOCK, self.dimension))
        part = lambda block, coefficients: self.columns[:, self.of([block])] @ coefficients
        return part(i, c) + part(self.attack(j, i), 0.4 * e) + 0.01 * n

    def norms(self, residual):
        """||B' residual|| of the signal blocks, and of the attack blocks."""
        norms = np.linalg.norm((self.columns.T @ residual).reshape(-1, BLOCK), axis=1)
        return norms[: self.classes], norms[self.classes :]


def in_rows(dictionary, x, blocks, gammas):
    """R and y for which ||y - R c||^2 is ||x - D c||^2 + sum over `blocks` of (1 - lambda) gamma / 2 ||c_B||^2, but for a constant."""
    columns = dictionary.of(blocks)
    gram = dictionary.gram[np.ix_(columns, columns)] + np.diag(np.repeat((1 - LAMBDA) / 2 * gammas, BLOCK))
    lower = np.linalg.cholesky(gram)
    y = solve_triangular(lower, dictionary.columns[:, columns].T @ x, lower=True)
    return np.asfortranarray(lower.T), y


def two_largest(norms):
    return np.sort(norms)[-2:].mean()


def problem(cvxpy, dictionary, x, blocks, num_signal, gammas, in_gram_form):
    """The problem over these blocks, of which the first `num_signal` are of signals, and its two variables, a block a column."""
    variables = [cvxpy.Variable((BLOCK, count)) for count in (num_signal, len(blocks) - num_signal)]
    c = cvxpy.hstack([cvxpy.vec(variable, order="F") for variable in variables])
    if in_gram_form:
        penalties = np.repeat(gammas, [num_signal, len(blocks) - num_signal])
        rows, y = in_rows(dictionary, x, blocks, penalties)
        objective = cvxpy.sum_squares(y - rows @ c)
    else:
        objective = cvxpy.sum_squares(x - dictionary.columns[:, dictionary.of(blocks)] @ c)
    for gamma, variable in zip(gammas, variables):
        objective += gamma * LAMBDA * cvxpy.sum(cvxpy.norm(variable, 2, axis=0))
        if not in_gram_form:
            objective += gamma * (1 - LAMBDA) / 2 * cvxpy.sum_squares(variable)
    return cvxpy.Problem(cvxpy.Minimize(objective)), variables


def analyse(cvxpy, dictionary, x, options, in_gram_form, rounds=12):
    """Class, attack, the active classes and attacks in their order, the last objective."""
    coefficients, residual = np.zeros(dictionary.columns.shape[1]), x
    active_classes, active_attacks = [], []
    for _ in range(rounds):
        of_signals, of_attacks = dictionary.norms(residual)
        gammas = two_largest(of_signals), two_largest(of_attacks)
        for active, index in (
            (active_classes, int(of_signals.argmax())),
            (active_attacks, int(of_attacks.argmax()) // dictionary.classes),
        ):
            if index not in active:
                active.append(index)
        blocks = active_classes + [dictionary.attack(j, i) for i in active_classes for j in active_attacks]
        programme, variables = problem(cvxpy, dictionary, x, blocks, len(active_classes), gammas, in_gram_form)
        programme.solve(**options)
        found = np.hstack([variable.value for variable in variables])
        coefficients[:] = 0
        coefficients[dictionary.of(blocks)] = found.ravel(order="F")
        residual = x - dictionary.columns @ coefficients
    sizes = np.linalg.norm(found, axis=0)
    penalties = np.repeat(gammas, [len(active_classes), len(blocks) - len(active_classes)])
    objective = residual @ residual + penalties @ (LAMBDA * sizes + (1 - LAMBDA) / 2 * sizes**2)

    def without(kept, among):
        """The residual's length if only `kept` stays of the blocks `among`."""
        gone = dictionary.of([block for block in among if block not in kept])
        return np.linalg.norm(residual + dictionary.columns[:, gone] @ coefficients[gone])

    label = min(active_classes, key=lambda i: without([i], active_classes))
    attack_blocks = blocks[len(active_classes) :]
    attack = min(active_attacks, key=lambda j: without([dictionary.attack(j, label)], attack_blocks))
    return label, attack, active_classes, active_attacks, objective


def show(name: str, seconds: float) -> None:
    if "BENCH_JSON" in os.environ:
        print(json.dumps({"name": name, "threads": threads(), "seconds": seconds}), flush=True)
    else:
        print(f"{name:<50} {seconds * 1e3:10.3f} ms", flush=True)


def rounds(dictionary, signals):
    name = f"12 rounds, {dictionary.classes}x{BLOCK} signal atoms, d = {dictionary.dimension}"
    clarabel = {"solver": "CLARABEL", "max_threads": threads()}
    scs = {"solver": "SCS", "max_iters": 50}
    cases = [("", clarabel, False), ("/SCS 50", scs, False)]
    cases += [("/Clarabel, Gram form", clarabel, True), ("/SCS 50, Gram form", scs, True)]
    if not any(wanted(name + suffix) for suffix, _, _ in cases):
        return
    try:
        import cvxpy
    except ImportError as error:
        return skip(name, error)
    warnings.filterwarnings("ignore", message="Solution may be inaccurate")
    for suffix, options, in_gram_form in cases:
        if not wanted(name + suffix):
            continue
        # What is imported and compiled lazily.
        analyse(cvxpy, dictionary, signals[0], options, in_gram_form, rounds=1)
        start = time.perf_counter()
        results = [analyse(cvxpy, dictionary, x, options, in_gram_form) for x in signals]
        show(name + suffix, (time.perf_counter() - start) / len(signals))
        for label, attack, active_classes, active_attacks, objective in results:
            print(f"  class {label}, attack {attack}, active {active_classes} x {active_attacks}, objective {objective:.9f}", flush=True)


class GroupProblem:
    """min ||x - D c||^2 + sum over blocks of l1 ||c_B|| + l2 / 2 ||c_B||^2, as a group lasso of `rows` and `y`."""

    def __init__(self, dictionary, x, classes, share=0.02):
        blocks = list(range(classes))
        blocks += [dictionary.attack(j, i) for j in range(dictionary.attacks) for i in range(classes)]
        of_signals, of_attacks = dictionary.norms(x)
        gammas = np.repeat([two_largest(of_signals), two_largest(of_attacks)], [classes, len(blocks) - classes]) * share
        self.l1 = LAMBDA * gammas
        self.rows, self.y = in_rows(dictionary, x, blocks, gammas)
        self.constant = x @ x - self.y @ self.y
        self.size = len(self.y)

    def by_block(self, values):
        return np.linalg.norm(values.reshape(-1, BLOCK), axis=1)

    def objective_and_gap(self, c):
        residual = self.y - self.rows @ c
        objective = self.constant + residual @ residual + self.l1 @ self.by_block(c)
        u = 2 * residual
        u *= min(1, (self.l1 / np.maximum(self.by_block(self.rows.T @ u), 1e-300)).min())
        return objective, objective - (self.constant + self.y @ u - u @ u / 4)


def with_celer(group):
    from celer import GroupLasso

    # Its objective is ours over twice the rows; it stops at a gap below tol ||y||^2 / rows there.
    options = dict(groups=BLOCK, alpha=0.5 / group.size, weights=group.l1, fit_intercept=False, max_iter=1000)
    scale = 0.5 / (group.y @ group.y)
    return lambda tolerance: GroupLasso(**options, tol=tolerance * scale).fit(group.rows, group.y).coef_


def with_skglm(group):
    from skglm.datafits import QuadraticGroup
    from skglm.penalties import WeightedGroupL2
    from skglm.solvers import GroupBCD
    from skglm.utils.data import grp_converter

    indices, pointers = grp_converter(BLOCK, group.size)
    data, penalty = QuadraticGroup(pointers, indices), WeightedGroupL2(0.5 / group.size, group.l1, pointers, indices)
    # It stops at the distance of the gradient from the subdifferential.
    solver = lambda tolerance: GroupBCD(tol=tolerance * 0.5 / group.size, max_iter=1000, fit_intercept=False)
    return lambda tolerance: solver(tolerance).solve(group.rows, group.y, data, penalty)[0]


def group_elastic_net(dictionary, x, classes=15):
    name = f"group elastic net, {classes * (1 + dictionary.attacks)} blocks of {BLOCK}, Gram form"
    if not any(wanted(name + suffix) for suffix in ("", "/skglm")):
        return
    group = GroupProblem(dictionary, x, classes)
    for suffix, prepare in (("", with_celer), ("/skglm", with_skglm)):
        if not wanted(name + suffix):
            continue
        try:
            fit = prepare(group)
        except ImportError as error:
            skip(name + suffix, error)
            continue
        for halves in range(4, 32):
            tolerance = 10 ** (-halves / 2)
            objective, gap = group.objective_and_gap(fit(tolerance))
            if gap <= 1e-9 * objective:
                measure(name + suffix, lambda: fit(tolerance))
                print(f"  objective {objective:.12f}, gap {gap:.1e}, tolerance {tolerance:.1e}", flush=True)
                break
        else:
            skip(name + suffix, ArithmeticError(f"a gap of {gap:.1e} of the objective {objective:.9f} is left"))


def main():
    torch.set_num_threads(threads())
    threadpool_limits(threads())
    torch.manual_seed(0)
    attacks()
    dictionary = Dictionary(1400, 38, 3)
    signals = [dictionary.signal(t) for t in range(SIGNALS)]
    rounds(dictionary, signals)
    group_elastic_net(dictionary, signals[0])


if __name__ == "__main__":
    main()
