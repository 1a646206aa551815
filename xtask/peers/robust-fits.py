"""Random tables of losses with outliers and the best fits that SciPy finds: makes `robust_fits.json` for moe-scaling's golden tests.

    python xtask/peers/robust-fits.py > crates/moe-scaling/tests/golden/routed-scaling-laws/robust_fits.json

Each table is searched from many starts in all six coefficients by `least_squares` (trust region, reflective), with squared or Huber's loss; the best
results are searched on and polished by SLSQP and Nelder-Mead. Half of the starts take a, b, c and d from least squares at a random shape, half a disturbed truth. The
cost is `sum rho(r)` with r the error of ln L, rho(r) = r^2 / 2 up to delta and delta (|r| - delta / 2) beyond. About ten minutes on one core.
"""

import json
import math
import sys

import numpy as np
from scipy.optimize import least_squares, minimize

TABLES, STARTS, SEED = 50, 200, 15
LIMIT = 20.0  # the upper bound of both exponents
LEAST_GAP = 1e-3  # log2 E_max - log2 E_start
COARSE = {"ftol": 1e-10, "xtol": 1e-10, "gtol": 1e-10, "max_nfev": 200}
FINE = {"ftol": 1e-14, "xtol": 1e-14, "gtol": 1e-14, "max_nfev": 2000}
LN10 = math.log(10.0)


def transform(experts, start, gap):
    """log10 of the bounded number of experts, and its derivatives by start and gap (exponents of 2)."""
    per_start, per_max = 2.0**-start, 2.0 ** -(start + gap)
    reach = 1.0 / (per_start - per_max)
    shifted = experts - 1.0 + reach
    effective = 1.0 / (1.0 / shifted + per_max)
    share = (reach / shifted) ** 2
    by_start = effective * share * per_start * math.log10(2.0)
    by_max = effective * (1.0 - share) * per_max * math.log10(2.0)
    return np.log10(effective), by_start + by_max, by_max


class Table:
    def __init__(self, sizes, experts, losses, delta):
        self.x, self.experts, self.y = np.log10(sizes), np.array(experts), np.log10(losses)
        self.delta = delta
        self.last = None

    def model(self, theta):
        key = theta.tobytes()
        if self.last is None or self.last[0] != key:
            a, b, c, d, start, gap = theta
            z, by_start, by_gap = transform(self.experts, start, gap)
            slope = b + c * self.x
            error = LN10 * (a * self.x + b * z + c * self.x * z + d - self.y)
            ones = np.ones_like(self.x)
            columns = [self.x, z, self.x * z, ones, slope * by_start, slope * by_gap]
            self.last = key, error, LN10 * np.stack(columns, axis=1)
        return self.last[1:]

    def cost(self, theta):
        if not (0.0 <= theta[4] and LEAST_GAP <= theta[5] and theta[4] + theta[5] <= LIMIT):
            return math.inf
        return self.rho(self.model(np.asarray(theta, dtype=float))[0])

    def rho(self, error):
        if self.delta is None:
            return float(np.sum(error**2) / 2)
        size = np.abs(error)
        return float(np.sum(np.where(size <= self.delta, size**2 / 2, self.delta * (size - self.delta / 2))))

    def gradient(self, theta):
        error, columns = self.model(np.asarray(theta, dtype=float))
        pull = error if self.delta is None else np.clip(error, -self.delta, self.delta)
        return pull @ columns

    def linear(self, start, gap):
        z, _, _ = transform(self.experts, start, gap)
        columns = np.stack([self.x, z, self.x * z, np.ones_like(self.x)], axis=1)
        return np.linalg.lstsq(columns, self.y, rcond=None)[0]

    def search(self, start, options):
        loss = {"loss": "linear"} if self.delta is None else {"loss": "huber", "f_scale": self.delta}
        low, high = [-np.inf] * 4 + [0.0, LEAST_GAP], [np.inf] * 4 + [LIMIT, LIMIT]
        found = least_squares(
            lambda t: self.model(t)[0], start, lambda t: self.model(t)[1], (low, high), x_scale="jac", **loss, **options
        )
        return found.x, self.cost(found.x)

    def polish(self, theta):
        """In scaled coordinates, SLSQP and Nelder-Mead in turn while they gain."""
        best, cost = theta, self.cost(theta)
        bounds = [(None, None)] * 4 + [(0.0, LIMIT), (LEAST_GAP, LIMIT)]
        for _ in range(10):
            before = cost
            scale = 1.0 / np.maximum(np.linalg.norm(self.model(best)[1], axis=0), 1e-9)
            centre = best.copy()
            scaled_bounds = [
                tuple(None if edge is None else (edge - p) / s for edge in pair)
                for pair, p, s in zip(bounds, centre, scale)
            ]
            for method, options in (("SLSQP", {"ftol": 1e-16, "maxiter": 500}), ("Nelder-Mead", NELDER)):
                gradient = {"jac": lambda t: 1e6 * self.gradient(centre + t * scale) * scale} if method == "SLSQP" else {}
                found = minimize(
                    lambda t: 1e6 * min(self.cost(centre + t * scale), 1e3),
                    (best - centre) / scale,
                    method=method,
                    bounds=scaled_bounds,
                    options=options,
                    **gradient,
                )
                value = self.cost(centre + found.x * scale)
                if value < cost:
                    best, cost = centre + found.x * scale, value
            if before - cost <= 1e-10 * before:
                break
        return best, cost


NELDER = {"xatol": 1e-10, "fatol": 1e-10, "maxiter": 3000, "maxfev": 3000}


def make(index, rng):
    truth = [
        rng.uniform(-0.1, -0.06),
        rng.uniform(-0.15, -0.06),
        rng.uniform(0.005, 0.014),
        rng.uniform(1.0, 1.2),
        rng.uniform(0.2, 2.5),
        rng.uniform(5.5, 8.5),
    ]
    sizes = np.array([1.5e7, 5.5e7, 1.3e8, 3.7e8, 1.3e9])
    experts = np.array([[1.0, 4.0, 16.0, 64.0, 256.0], [1.0, 2.0, 8.0, 32.0, 128.0, 512.0]][index % 2])
    size, expert = (grid.ravel() for grid in np.meshgrid(sizes, experts, indexing="ij"))
    z, _, _ = transform(expert, truth[4], truth[5] - truth[4])
    x = np.log10(size)
    noise = rng.normal(0.0, [0.0, 0.001, 0.003, 0.006][index // 4 % 4], len(size))
    loss = 10.0 ** (truth[0] * x + truth[1] * z + truth[2] * x * z + truth[3]) * np.exp(noise)
    outliers = sorted(int(at) for at in rng.choice(len(size), index % 4, replace=False))
    for at in outliers:
        loss[at] *= rng.choice([0.7, 1.2, 1.5, 2.0])
    delta = [1e-3, 3e-3, 1e-2, None, 1e-3][index // 2 % 5]
    if not outliers and index // 4 % 4 == 0:
        delta = delta or 1e-3
        loss[-1] *= 1.01  # an exact table has cost 0
        outliers = [len(loss) - 1]
    return truth, size, expert, loss, outliers, delta


def solve(index):
    rng = np.random.default_rng([SEED, index])
    truth, size, expert, loss, outliers, delta = make(index, rng)
    table = Table(size, expert, loss, delta)
    found = []
    for start in range(STARTS):
        low = rng.uniform(0.0, 6.0)
        gap = rng.uniform(0.3, 14.0 - low)
        if start % 2 == 0:
            position = [*table.linear(low, gap), low, gap]
        else:
            disturbed = np.array(truth[:4]) * rng.normal(1.0, 0.3, 4)
            position = [*disturbed, low, gap]
        theta, cost = table.search(np.array(position), COARSE)
        if math.isfinite(cost):
            found.append((cost, theta))
    found.sort(key=lambda pair: pair[0])
    refined = [table.search(theta, FINE)[0] for _, theta in found[:5]]
    polished = [table.polish(theta) for theta in refined + [found[0][1]]]
    theta, cost = min(polished, key=lambda pair: pair[1])
    near = sum(value <= cost * (1 + 1e-6) for value, _ in found)
    print(f"{index}: {cost:.9e}, {near} of {STARTS} starts, outliers {outliers}, {theta}", file=sys.stderr, flush=True)
    truth_theta = [*truth[:5], truth[5] - truth[4]]
    return {
        "size": [float(v) for v in size],
        "experts": [float(v) for v in expert],
        "loss": [float(v) for v in loss],
        "outliers": outliers,
        "huber_delta": delta,
        "truth": truth,
        "cost_of_truth": table.cost(np.array(truth_theta)),
        "best": [*(float(v) for v in theta[:5]), float(theta[4] + theta[5])],
        "best_cost": cost,
        "starts_within_1e-6": near,
    }


def main():
    tables = [solve(index) for index in range(TABLES)]
    header = {"starts": STARTS, "log2_bounds": [0.0, LIMIT], "least_gap": LEAST_GAP, "tables": tables}
    json.dump(header, sys.stdout)
    print()


main()
