"""Reference values of losses, transition matrices, neighbours, annotators, label issues and robust classifiers in float64: makes `methods.json` for noisy-labels' golden tests.

    python xtask/peers/noisy-labels-reference.py crates/noisy-labels/tests/golden/methods/methods.json

Needs numpy, scipy, scikit-learn, crowd-kit and cleanlab. Each object holds its inputs, drawn from a fixed seed, so that every output can be computed from the file alone. Gradients are by logits and checked by
central differences; what a library computed is computed a second time here. Matrices are lists of rows. A few seconds on one core; what the checks found goes to standard error.
"""

import json
import math
import sys
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd
from cleanlab import count, rank
from cleanlab import filter as issues
from crowdkit.aggregation import DawidSkene
from scipy.stats import multivariate_normal
from sklearn.covariance import MinCovDet
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.neighbors import KNeighborsClassifier

SEED = 20220500690
KEYS = {}


def reference(build):
    """Registers what computes the object named like the function, with a generator of its own."""
    KEYS[build.__name__] = lambda: build(np.random.default_rng([SEED, *build.__name__.encode()]))
    return build


def note(text):
    print(text, file=sys.stderr, flush=True)


def log_softmax(logits):
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def softmax(logits):
    return np.exp(log_softmax(logits))


def one_hot(labels, classes):
    return np.eye(classes)[labels]


def check_gradient(loss, logits, gradient, step=1e-5):
    """Central differences of fourth order."""
    for at in np.ndindex(logits.shape):
        move = np.zeros_like(logits)
        move[at] = step
        first = (loss(logits + move) - loss(logits - move)) / (2 * step)
        second = (loss(logits + 2 * move) - loss(logits - 2 * move)) / (4 * step)
        found = (4 * first - second) / 3
        assert abs(found - gradient[at]) < 1e-9, (at, found, gradient[at])


def noisy_classes(rng, rows, transition):
    truth = rng.integers(len(transition), size=rows)
    return truth, np.array([rng.choice(len(transition), p=transition[k]) for k in truth])


def predictions(rng, truth, classes, lead, spread):
    """Softmax of normal logits with a lead of the true class."""
    return softmax(rng.normal(0.0, spread, (len(truth), classes)) + lead * one_hot(truth, classes))


@reference
def gce(rng):
    """mean (1 - p_y^q) / q."""
    logits, labels = rng.normal(0.0, 2.0, (12, 5)), rng.integers(5, size=12)
    rows, cases = np.arange(12), []
    for q in (0.7, 0.3, 1.0):

        def loss(logits):
            return float(np.mean((1.0 - softmax(logits)[rows, labels] ** q) / q))

        p = softmax(logits)
        gradient = p[rows, labels, None] ** q * (p - one_hot(labels, 5)) / 12
        check_gradient(loss, logits, gradient)
        cases.append({"q": q, "loss": loss(logits), "gradient": gradient})
    return {"logits": logits, "labels": labels, "cases": cases}


@reference
def elr(rng):
    """CE + weight * mean ln(1 - <p, t>), with t <- momentum t + (1 - momentum) p first and then held fixed; p is softmax, at least 1e-4, of sum 1 again."""
    weight, momentum, examples, classes, least = 3.0, 0.7, 9, 3, 1e-4
    memory, steps, clipped = np.zeros((examples, classes)), [], 0
    order = np.concatenate([rng.permutation(examples), rng.permutation(examples)])[:16]
    batches = order.reshape(4, 4)
    assert all(len(set(batch)) == 4 for batch in batches), "an example twice in a batch: take another seed"
    assert len(set(order)) == examples

    def bounded(logits):
        raw = softmax(logits)
        kept = np.maximum(raw, least)
        total = kept.sum(axis=1, keepdims=True)
        return raw, kept / total, total

    for indices in batches:
        logits, labels = rng.normal(0.0, 3.0, (4, classes)), rng.integers(classes, size=4)
        logits[0, labels[0]] = logits[0].max() + 11.0  # the others fall below the bound
        raw, p, total = bounded(logits)
        is_free = raw >= least
        assert np.abs(raw / least - 1).min() > 0.01
        clipped += int((~is_free).sum())
        memory[indices] = momentum * memory[indices] + (1 - momentum) * p
        target = memory[indices]

        def loss(logits):
            exact = -log_softmax(logits)[np.arange(4), labels].mean()
            return float(exact + weight * np.log(1.0 - (bounded(logits)[1] * target).sum(axis=1)).mean())

        overlap = (p * target).sum(axis=1, keepdims=True)
        by_p = -weight * target / (1.0 - overlap) / 4
        by_kept = (by_p - (by_p * p).sum(axis=1, keepdims=True)) / total
        by_raw = by_kept * is_free
        gradient = (raw - one_hot(labels, classes)) / 4 + raw * (by_raw - (by_raw * raw).sum(axis=1, keepdims=True))
        check_gradient(loss, logits, gradient)
        steps.append(
            {"logits": logits, "labels": labels, "indices": indices, "loss": loss(logits), "gradient": gradient}
        )
    note(f"elr: {clipped} probabilities below 1e-4")
    assert clipped > 0
    return {
        "weight": weight,
        "momentum": momentum,
        "examples": examples,
        "steps": steps,
        "final_memory": memory.copy(),
    }


def transition_of(rng, classes):
    transition = rng.dirichlet(np.ones(classes), classes) * 0.4 + 0.6 * np.eye(classes)
    return transition / transition.sum(axis=1, keepdims=True)


@reference
def backward(rng):
    """mean (T^-1 l)_y with l_k = -ln p_k."""
    logits, labels, transition = rng.normal(0.0, 2.0, (12, 5)), rng.integers(5, size=12), transition_of(rng, 5)
    weights = np.linalg.inv(transition)[labels]

    def loss(logits):
        each = np.linalg.solve(transition, -log_softmax(logits).T).T
        return float(each[np.arange(12), labels].mean())

    gradient = (weights.sum(axis=1, keepdims=True) * softmax(logits) - weights) / 12
    check_gradient(loss, logits, gradient)
    # Over labels drawn by T the expectation is cross-entropy with the true class.
    every = np.linalg.solve(transition, -log_softmax(logits).T)
    assert np.allclose(transition @ every, -log_softmax(logits).T, atol=1e-12)
    return {"logits": logits, "labels": labels, "T": transition, "loss": loss(logits), "gradient": gradient}


@reference
def forward(rng):
    """mean -ln (T^T p)_y."""
    logits, labels, transition = rng.normal(0.0, 2.0, (12, 5)), rng.integers(5, size=12), transition_of(rng, 5)

    def loss(logits):
        return float(np.mean([-math.log(transition[:, y] @ p) for p, y in zip(softmax(logits), labels)]))

    p = softmax(logits)
    shares = p * transition.T[labels]  # p_k T_ky: how much of the label each class explains
    gradient = (p - shares / shares.sum(axis=1, keepdims=True)) / 12
    check_gradient(loss, logits, gradient)
    return {"logits": logits, "labels": labels, "T": transition, "loss": loss(logits), "gradient": gradient}


def anchors_at(p, quantile):
    """For each class the example at rank ceil(quantile n), from 1, by its probability; the greater number earlier among equal ones."""
    place = max(math.ceil(quantile * len(p)), 1) - 1
    return np.array([np.lexsort((-np.arange(len(p)), column))[place] for column in p.T])


def anchors_below(p, quantile):
    """As in the published programs: the largest probability below the percentile ("higher") of each class, in the untouched table."""
    found = []
    for column in p.T:
        bound = np.percentile(column, 100 * quantile, method="higher")
        found.append(int(np.argmax(np.where(column >= bound, 0.0, column))))
    return np.array(found)


def compare_anchors(name, p, quantile):
    ours, theirs = anchors_at(p, quantile), anchors_below(p, quantile)
    rank_of = [int((p[:, k] > p[at, k]).sum()) for k, at in enumerate(ours)]
    other = [int((p[:, k] > p[at, k]).sum()) for k, at in enumerate(theirs)]
    change = np.abs(p[ours] - p[theirs]).max()
    note(
        f"{name} at {quantile}: anchors have {rank_of} larger ones, those of the programs {other}; T differs by at most {change:.3f}"
    )


@reference
def anchor(rng):
    """The probabilities of each class's anchor; two examples are equally certain at rank ceil(0.97 * 60) of class 0, of which the first is the anchor."""
    truth, _ = noisy_classes(rng, 60, np.eye(4))
    p = predictions(rng, truth, 4, 2.0, 1.0)
    first, second = np.argsort(p[:, 0])[[-2, -3]]
    value = p[first, 0]
    p[second, 1:] *= (1.0 - value) / p[second, 1:].sum()
    p[second, 0] = value
    at = anchors_at(p, 0.97)
    assert at[0] == min(first, second) and np.sum(p[:, 0] == value) == 2
    assert np.abs(p.sum(axis=1) - 1).max() < 1e-12
    cases = []
    for quantile in (0.97, 1.0):
        # A second way: the value by its order, then the first example with it.
        value = np.sort(p, axis=0)[math.ceil(quantile * 60) - 1]
        assert all(np.flatnonzero(p[:, k] == value[k])[0] == row for k, row in enumerate(anchors_at(p, quantile)))
        cases.append({"quantile": quantile, "T": p[anchors_at(p, quantile)]})
    assert np.array_equal(anchors_at(p, 1.0), p.argmax(axis=0))
    compare_anchors("anchor", p, 0.97)
    return {"probabilities": p, "cases": cases}


@reference
def dual_t(rng):
    """T = T_club T_spade: the anchors' probabilities times the counted shares of given labels among the examples of each predicted class."""
    truth, given = noisy_classes(rng, 60, transition_of(rng, 4))
    p = predictions(rng, truth, 4, 2.0, 1.0)
    predicted = p.argmax(axis=1)
    counts = one_hot(predicted, 4).T @ one_hot(given, 4)
    assert counts.sum(axis=1).min() > 0
    club, spade = p[anchors_at(p, 0.97)], counts / counts.sum(axis=1, keepdims=True)
    product = club @ spade
    second = np.zeros((4, 4))
    for i, row in enumerate(club):
        for j, share in enumerate(row):
            second[i] += share * np.bincount(given[predicted == j], minlength=4) / np.sum(predicted == j)
    assert np.allclose(product, second, atol=1e-15) and np.allclose(product.sum(axis=1), 1)
    compare_anchors("dual_t", p, 0.97)
    return {"probabilities": p, "given": given, "quantile": 0.97, "T": product}


@reference
def lrt(rng):
    """argmax where p_max / p_label > ratio. Rows 0 and 1 have two equal largest logits; the label of row 1 is the second of them and stays."""
    ratio, logits, labels = 3.0, rng.normal(0.0, 1.5, (12, 5)), rng.integers(5, size=12)
    logits[0, [1, 3]], labels[0] = logits[0].max() + 2.0, 2
    logits[1, [0, 4]], labels[1] = logits[1].max() + 1.0, 4
    p = softmax(logits)
    quotient = p.max(axis=1) / p[np.arange(12), labels]
    assert np.abs(quotient - ratio).min() > 1e-6
    new = np.where(quotient > ratio, logits.argmax(axis=1), labels)
    assert new[0] == 1 and new[1] == 4 and 2 < np.sum(new != labels) < 10
    return {"logits": logits, "labels": labels, "ratio": ratio, "new_labels": new}


@reference
def knn(rng):
    """scikit-learn's vote by inverse distances. Query 0 equals one reference, query 1 two references of different classes."""
    references, queries, classes = rng.normal(size=(40, 3)), rng.normal(size=(25, 3)), rng.integers(4, size=40)
    references[31] = references[8]
    classes[8], classes[31] = 1, 3
    queries[0], queries[1] = references[20], references[8]
    fit = KNeighborsClassifier(n_neighbors=7, weights="distance", algorithm="kd_tree").fit(references, classes)
    assert list(fit.classes_) == [0, 1, 2, 3]
    probabilities = fit.predict_proba(queries)
    for query, row in zip(queries, probabilities):
        distances = np.sqrt(((references - query) ** 2).sum(axis=1))
        near = np.argsort(distances, kind="stable")[:7]
        with np.errstate(divide="ignore"):
            weights = 1.0 / distances[near]
        if np.isinf(weights).any():
            weights = np.isinf(weights).astype(float)
        votes = np.bincount(classes[near], weights, 4)
        assert np.allclose(votes / votes.sum(), row, atol=1e-13)
    assert probabilities[0].max() == 1.0 and probabilities[1, 1] == probabilities[1, 3] == 0.5
    return {
        "references": references,
        "classes": classes,
        "queries": queries,
        "k": 7,
        "num_classes": 4,
        "probabilities": probabilities,
    }


ITEMS, ANNOTATORS, CLASSES, ITERATIONS, SMOOTHING = 30, 8, 3, 10, 0.01


def annotations():
    """Four of eight annotators for each item, less seven annotations."""
    rng = np.random.default_rng([SEED, 8])
    truth = rng.integers(CLASSES, size=ITEMS)
    skills = [0.85, 0.75, 0.7, 0.65, 0.6, 0.55, 0.45, 0.3]
    confusions = []
    for skill in skills:
        wrong = rng.dirichlet(np.ones(CLASSES - 1), CLASSES) * (1 - skill)
        confusions.append(np.array([np.insert(row, k, skill) for k, row in enumerate(wrong)]))
    triples = []
    for item in range(ITEMS):
        for annotator in sorted(rng.choice(ANNOTATORS, 4, replace=False)):
            triples.append((item, int(annotator), int(rng.choice(CLASSES, p=confusions[annotator][truth[item]]))))
    missing = {int(at) for at in rng.choice(len(triples), 5, replace=False)}
    lone = [at for at, (item, _, _) in enumerate(triples) if item == 17]
    missing |= set(lone[1:3])
    triples = [triple for at, triple in enumerate(triples) if at not in missing]
    assert {item for item, _, _ in triples} == set(range(ITEMS))
    assert {annotator for _, annotator, _ in triples} == set(range(ANNOTATORS))
    return triples


def expectation_maximisation(triples, maximise, iterations):
    """Parameters from the shares of votes; then `iterations` times posteriors and parameters; then posteriors once more. `maximise` gives (prior, confusions, log-penalty) for posteriors; the objective, log-likelihood and
    penalty, is that of each posteriors' parameters."""
    item, annotator, label = np.array(triples).T
    posteriors = np.zeros((ITEMS, CLASSES))
    np.add.at(posteriors, (item, label), 1.0)
    posteriors /= posteriors.sum(axis=1, keepdims=True)
    objective = []
    for _ in range(iterations + 1):
        prior, confusions, penalty = maximise(posteriors)
        joint = np.tile(np.log(prior), (ITEMS, 1))
        np.add.at(joint, item, np.log(confusions[annotator, :, label]))
        top = joint.max(axis=1, keepdims=True)
        evidence = top[:, 0] + np.log(np.exp(joint - top).sum(axis=1))
        posteriors = np.exp(joint - evidence[:, None])
        objective.append(evidence.sum() + penalty)
    assert np.diff(objective).min() > -1e-10
    return posteriors, confusions, prior, objective


def fit_annotators(triples, maximise):
    found = expectation_maximisation(triples, maximise, ITERATIONS)
    # So far from its end that no program stops early with a tolerance of 0.
    assert np.diff(found[-1]).min() > 1e-6
    return found


def class_shares(posteriors):
    counts = posteriors.sum(axis=0) + SMOOTHING
    return counts / counts.sum()


@reference
def dawid_skene(rng):
    """Counts are smoothed by 0.01. `confusions` are those that the posteriors come from. crowd-kit does not smooth and ends by its own rule: its labels are beside ours."""
    triples = annotations()

    def maximise(posteriors):
        counts = np.full((ANNOTATORS, CLASSES, CLASSES), SMOOTHING)
        for item, annotator, label in triples:
            counts[annotator, :, label] += posteriors[item]
        confusions, prior = counts / counts.sum(axis=2, keepdims=True), class_shares(posteriors)
        return prior, confusions, SMOOTHING * (np.log(prior).sum() + np.log(confusions).sum())

    posteriors, confusions, prior, objective = fit_annotators(triples, maximise)
    # Products of plain probabilities give the same posteriors.
    for item in range(ITEMS):
        plain = prior.copy()
        for at, annotator, label in triples:
            if at == item:
                plain = plain * confusions[annotator][:, label]
        assert np.allclose(plain / plain.sum(), posteriors[item], atol=1e-13)
    fit = DawidSkene(n_iter=100).fit(pd.DataFrame(triples, columns=["task", "worker", "label"]))
    theirs = fit.probas_.sort_index()[list(range(CLASSES))].to_numpy()
    labels = fit.labels_.sort_index().to_numpy()
    assert len(labels) == ITEMS and np.array_equal(theirs.argmax(axis=1), labels)
    note(f"dawid_skene: {len(triples)} annotations; crowd-kit ends after {len(fit.loss_history_)} iterations")
    for iterations in (ITERATIONS, 1000):
        ours = expectation_maximisation(triples, maximise, iterations)[0]
        differ = np.flatnonzero(ours.argmax(axis=1) != labels).tolist()
        lead, change = np.diff(np.sort(ours)[:, -2:]).min(), np.abs(ours - theirs).max()
        note(
            f"  {iterations} iterations: items labelled otherwise {differ}, posteriors by at most {change:.3f}; least lead {lead:.3f}"
        )
    return {
        "triples": triples,
        "iterations": ITERATIONS,
        "smoothing": SMOOTHING,
        "posteriors": posteriors,
        "confusions": confusions,
        "class_prior": prior,
        "objective": objective,
        "crowdkit_labels": labels,
        "crowdkit_posteriors": theirs,
    }


@reference
def one_coin(rng):
    """As dawid_skene with one accuracy for each annotator, (right + 0.01) / (all + 0.02), and equally probable wrong labels."""
    triples = annotations()

    def maximise(posteriors):
        right, total = np.full(ANNOTATORS, SMOOTHING), np.full(ANNOTATORS, 2 * SMOOTHING)
        for item, annotator, label in triples:
            right[annotator] += posteriors[item, label]
            total[annotator] += 1.0
        accuracy = right / total
        wrong = (1.0 - accuracy) / (CLASSES - 1)
        confusions = np.where(np.eye(CLASSES, dtype=bool), accuracy[:, None, None], wrong[:, None, None])
        prior = class_shares(posteriors)
        return prior, confusions, SMOOTHING * (np.log(prior).sum() + np.log(accuracy * (1.0 - accuracy)).sum())

    posteriors, confusions, prior, objective = fit_annotators(triples, maximise)
    return {
        "posteriors": posteriors,
        "accuracies": confusions[:, 0, 0],
        "class_prior": prior,
        "objective": objective,
    }


def rounded(value):
    """Half away from zero."""
    return math.floor(value + 0.5)


def confident_learning(p, labels):
    """Counts and lists by the definitions of the paper: the most probable of the classes whose threshold is reached, joint distribution by label, and numbers of wrong labels rounded one by one."""
    examples, classes = p.shape
    given = np.bincount(labels, minlength=classes)
    thresholds = np.array([p[labels == k, k].mean() for k in range(classes)])
    reached = p >= thresholds - 1e-12
    likely = np.where(reached, p, -1.0).argmax(axis=1)
    counts = np.zeros((classes, classes), dtype=int)
    for at in np.flatnonzero(reached.any(axis=1)):
        counts[labels[at], likely[at]] += 1
    joint = counts / counts.sum(axis=1, keepdims=True) * given[:, None] / examples
    by_class, by_rate = set(), set()
    for label in range(classes):
        of_label = np.flatnonzero(labels == label)
        wrong = min(rounded((joint[label].sum() - joint[label, label]) * examples), len(of_label) - 1)
        by_class |= set(of_label[np.argsort(p[of_label, label], kind="stable")[:wrong]].tolist())
        for other in set(range(classes)) - {label}:
            lead = p[of_label, label] - p[of_label, other]
            by_rate |= set(
                of_label[np.argsort(lead, kind="stable")[: rounded(joint[label, other] * examples)]].tolist()
            )
    # Where several are reached cleanlab takes the most probable of all classes.
    odd = np.flatnonzero((reached.sum(axis=1) > 1) & (likely != p.argmax(axis=1)))
    return {
        "counts": counts,
        "joint": joint,
        "odd": odd,
        "prune_by_class": by_class,
        "prune_by_noise_rate": by_rate,
        "both": by_class & by_rate,
        "confident_learning": set(np.flatnonzero(reached.any(axis=1) & (likely != labels)).tolist()),
        "predicted_neq_given": set(np.flatnonzero(p.argmax(axis=1) != labels).tolist()),
    }


@reference
def cleanlab(rng):
    """What cleanlab finds; `confident_joint` is not calibrated, `calibrated_joint` is and is what its lists come from. It drops from every list what is predicted as labelled."""
    transition = np.array([[0.75, 0.2, 0.05, 0.0], [0.05, 0.7, 0.25, 0.0], [0.0, 0.1, 0.8, 0.1], [0.3, 0.0, 0.0, 0.7]])
    truth, labels = noisy_classes(rng, 150, transition)
    p = predictions(rng, truth, 4, 1.6, 1.0)
    own = confident_learning(p, labels)
    joint = count.compute_confident_joint(labels, p, calibrate=False)
    calibrated = count.compute_confident_joint(labels, p, calibrate=True)
    assert len(own["odd"]) == 0 and np.array_equal(own["counts"], joint)
    assert np.array_equal(calibrated.sum(axis=1), np.bincount(labels))
    note(
        f"cleanlab: calibrated joint differs from 150 times ours by at most {np.abs(calibrated - 150 * own['joint']).max():.3f}"
    )
    as_labelled = set(np.flatnonzero(p.argmax(axis=1) == labels).tolist())
    out = {"probabilities": p, "labels": labels, "confident_joint": joint, "calibrated_joint": calibrated}
    names = {
        "issues_prune_by_class": "prune_by_class",
        "issues_prune_by_noise_rate": "prune_by_noise_rate",
        "issues_both": "both",
        "issues_confident": "confident_learning",
        "issues_predicted_neq_given": "predicted_neq_given",
    }
    for key, method in names.items():
        found = np.flatnonzero(issues.find_label_issues(labels, p, filter_by=method, n_jobs=1)).tolist()
        assert found and not set(found) & as_labelled
        dropped = sorted(own[method] & as_labelled)
        more, less = sorted(set(found) - own[method]), sorted(own[method] - as_labelled - set(found))
        note(
            f"  {method}: cleanlab {len(found)}, ours {len(own[method])}, of these predicted as labelled {dropped}; else only cleanlab {more}, only ours {less}"
        )
        out[key] = found
    out["self_confidence"] = rank.get_self_confidence_for_each_label(labels, p)
    out["normalized_margin"] = rank.get_normalized_margin_for_each_label(labels, p)
    out["confidence_weighted_entropy"] = rank.get_confidence_weighted_entropy_for_each_label(labels, p)
    for row, y, a, b, c in zip(
        p, labels, out["self_confidence"], out["normalized_margin"], out["confidence_weighted_entropy"]
    ):
        entropy = -sum(x * math.log(x) for x in row) / math.log(4) / row[y]
        assert a == row[y] and abs(b - (1 + row[y] - np.delete(row, y).max()) / 2) < 1e-15
        assert abs(c - math.log1p(entropy) / entropy) < 1e-12
    return out


@reference
def noise_draws(rng):
    """Shares of wrong labels to expect, and the labels of the examples that a model finds hardest: floor(rate n) of the lowest p_true, the first of equal ones."""
    table = [0, 1, 7, 8, 4, 6, 5, 7, 8, 9]
    labels, p_true = rng.integers(5, size=40), rng.integers(5, 100, size=40) / 100
    candidates = (labels + rng.integers(1, 5, size=40)) % 5
    many = math.floor(0.3 * 40)
    p_true[[3, 9, 22, 36]] = np.sort(p_true)[many - 1]  # equal ones on both sides of the last place
    order = sorted(range(40), key=lambda at: (p_true[at], at))
    assert p_true[order[many - 1]] == p_true[order[many]]
    noisy = labels.copy()
    noisy[order[:many]] = candidates[order[:many]]
    stable = np.argsort(p_true, kind="stable")[:many]
    assert sorted(stable) == sorted(order[:many]) == np.flatnonzero(noisy != labels).tolist()
    moved = sum(a != b for a, b in enumerate(table))
    return {
        "symmetric_change": {"classes": 10, "rate": 0.5, "wrong": 0.5},
        "symmetric_replacement": {"classes": 10, "rate": 0.5, "wrong": 0.5 * 9 / 10},
        "asymmetric": {"table": table, "rate": 0.4, "class_shares": [0.1] * 10, "wrong": 0.4 * moved / 10},
        "srdin": {"p_true": p_true, "candidates": candidates, "labels": labels, "rate": 0.3, "noisy_labels": noisy},
    }


@reference
def rog(rng):
    """A linear discriminant: means by given label, one covariance of the deviations from them divided by all examples, equally probable classes."""
    means = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, -1.0], [-1.0, 2.0, 1.5]])
    mix = np.array([[1.0, 0.0, 0.0], [0.4, 0.8, 0.0], [-0.3, 0.2, 1.2]])
    truth, labels = noisy_classes(rng, 200, np.full((3, 3), 0.1) + 0.7 * np.eye(3))
    features = means[truth] + rng.normal(size=(200, 3)) @ mix.T
    queries = means[rng.integers(3, size=20)] + rng.normal(size=(20, 3)) @ mix.T
    found = np.array([features[labels == k].mean(axis=0) for k in range(3)])
    deviations = features - found[labels]
    covariance = deviations.T @ deviations / 200
    scores = np.stack(
        [-0.5 * ((queries - m) * np.linalg.solve(covariance, (queries - m).T).T).sum(axis=1) for m in found], axis=1
    )
    posteriors = log_softmax(scores)
    dense = np.stack([multivariate_normal(m, covariance).logpdf(queries) for m in found], axis=1)
    assert np.allclose(log_softmax(dense), posteriors, atol=1e-11)
    fit = LinearDiscriminantAnalysis(solver="lsqr", store_covariance=True).fit(features, labels)
    assert np.allclose(fit.covariance_, covariance, atol=1e-13) and np.allclose(fit.means_, found, atol=1e-13)
    return {
        "features": features,
        "labels": labels,
        "queries": queries,
        "class_means": found,
        "covariance": covariance,
        "log_posteriors": posteriors,
    }


def moments(points):
    centred = points - points.mean(axis=0)
    return points.mean(axis=0), centred.T @ centred / len(points)


def concentrate(x, support, subset):
    """The nearest `support` points by the subset's own moments, again and again until they stay."""
    location, covariance = moments(x[subset])
    last = math.inf
    while True:
        away = x - location
        distances = (away * np.linalg.solve(covariance, away.T).T).sum(axis=1)
        subset = np.sort(np.argsort(distances, kind="stable")[:support])
        location, covariance = moments(x[subset])
        determinant = np.linalg.det(covariance)
        if determinant >= last * (1 - 1e-13):
            return determinant, subset
        last = determinant


@reference
def mcd(rng):
    """scikit-learn's covariance of the subset of least determinant, not corrected, and the best subset of 4000 searches from four random points each, which no exchange of one point betters."""
    mix = np.array([[1.0, 0.0, 0.0], [0.5, 0.9, 0.0], [-0.2, 0.3, 1.1]])
    x = rng.normal(size=(120, 3)) @ mix.T + [1.0, -2.0, 0.5]
    outliers = rng.choice(120, 24, replace=False)
    x[outliers] = rng.normal(size=(24, 3)) * 0.8 + [6.0, 3.0, -4.0]
    fraction = 0.7
    support = int(fraction * 120)
    assert support == 84
    fit = MinCovDet(random_state=0, support_fraction=fraction, assume_centered=False).fit(x)
    location, covariance = moments(x[fit.raw_support_])
    assert fit.raw_support_.sum() == support
    assert np.allclose(fit.raw_location_, location, atol=1e-13) and np.allclose(
        fit.raw_covariance_, covariance, atol=1e-13
    )
    found = {}
    starts = 4000
    for _ in range(starts):
        subset = rng.choice(120, 4, replace=False)
        if np.linalg.det(moments(x[subset])[1]) > 1e-12:
            determinant, subset = concentrate(x, support, subset)
            found.setdefault(tuple(subset.tolist()), [determinant, 0])[1] += 1
    best, (least, times) = min(found.items(), key=lambda pair: pair[1][0])
    best = np.array(best)
    assert not set(best) & set(outliers)
    outside = np.setdiff1d(np.arange(120), best)
    for place in range(support):
        for other in outside:
            changed = best.copy()
            changed[place] = other
            assert np.linalg.det(moments(x[changed])[1]) >= least * (1 - 1e-12)
    theirs = np.linalg.det(fit.raw_covariance_)
    note(
        f"mcd: determinant of scikit-learn {theirs:.9e}, best {least:.9e} ({theirs / least - 1:.2e} lower), from {times} of {starts} starts, {len(found)} local minima"
    )
    assert least <= theirs * (1 + 1e-12)
    location, covariance = moments(x[best])
    return {
        "features": x,
        "support_fraction": fraction,
        "support": support,
        "location": fit.raw_location_,
        "covariance": fit.raw_covariance_,
        "determinant": theirs,
        "best_determinant": least,
        "best_support": best,
        "best_location": location,
        "best_covariance": covariance,
    }


def plain(value):
    if isinstance(value, (np.ndarray, np.generic)):
        return value.tolist()
    raise TypeError(type(value))


def main():
    path = Path(sys.argv[1])
    lines = [
        f'"libraries": {json.dumps({name: version(name) for name in ("numpy", "scikit-learn", "crowd-kit", "cleanlab")})}'
    ]
    for name, build in KEYS.items():
        lines.append(f'"{name}": {json.dumps(build(), default=plain, allow_nan=False, separators=(",", ":"))}')
    text = "{\n" + ",\n".join(lines) + "\n}\n"
    json.loads(text)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    note(f"{len(text)} bytes: " + ", ".join(f"{line.split(':')[0]} {len(line)}" for line in lines))


main()
