"""NPC and its neighbours in Python, for `cargo xtask bench npc --peers`.

scikit-learn for the kNN prior, PyTorch for the classifier and NPC, crowd-kit for Dawid-Skene, cleanlab for confident learning. Data are random: they do not change the amount of work.
"""

import numpy as np
import pandas as pd
import torch
import torch.nn.functional as F
from cleanlab.filter import find_label_issues
from crowdkit.aggregation import DawidSkene
from measure import measure, threads
from sklearn.neighbors import KNeighborsClassifier
from threadpoolctl import threadpool_limits
from torch import nn

torch.set_num_threads(threads())
threadpool_limits(threads())
torch.manual_seed(0)
rng = np.random.default_rng(0)
CLASSES, BATCH, EMBEDDING = 10, 128, 256
BASE, STRENGTH = 1 + 1 / CLASSES, 5  # of the Dirichlet prior


def knn_prior():
    references = rng.standard_normal((4690, EMBEDDING), dtype=np.float32)
    classes = rng.integers(0, CLASSES, 4690)
    queries = rng.standard_normal((60_000, EMBEDDING), dtype=np.float32)
    knn = KNeighborsClassifier(n_neighbors=10, weights="distance", algorithm="brute", n_jobs=threads())
    knn.fit(references, classes)
    measure("knn prior 60000x256 4690 references k=10", lambda: knn.predict_proba(queries), repetitions=2)


def mnist_net():
    return nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1),
        nn.ReLU(),
        nn.BatchNorm2d(8),
        nn.Conv2d(8, 16, 3, padding=1),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16 * 28 * 28, 784),
        nn.Dropout(0.3),
        nn.Linear(784, EMBEDDING),
        nn.Linear(EMBEDDING, CLASSES),
    )


def descend(adam, loss):
    adam.zero_grad()
    loss.backward()
    adam.step()


def cross_entropy(images, labels):
    net = mnist_net()
    adam = torch.optim.Adam(net.parameters(), lr=1e-3)

    def epoch():
        for x, y in zip(images.split(BATCH), labels.split(BATCH)):
            descend(adam, F.cross_entropy(net(x), y))

    measure("cross-entropy epoch mnist net 1280", epoch, repetitions=3)


class Calibrator(nn.Module):
    """Encoder, sampler and decoder over features of `width`."""

    def __init__(self, width):
        super().__init__()
        self.encoder = nn.Linear(width + CLASSES, CLASSES)
        self.decoder = nn.Linear(width + CLASSES, CLASSES)

    def loss(self, encoded, decoded, predicted, prior):
        """`encoded` and `decoded`: the features on each side; `predicted`: one-hot predictions; `prior`: Dirichlet parameters. Summed over the batch."""
        alpha = F.softplus(self.encoder(torch.cat([encoded, predicted], 1))) + BASE
        u = torch.rand_like(alpha).clamp_min(1e-12)
        z = (((u * alpha).log() + alpha.lgamma()) / alpha).exp()
        logits = self.decoder(torch.cat([decoded, z], 1))
        divergence = prior.lgamma() - alpha.lgamma() + (alpha - prior) * alpha.digamma()
        return F.binary_cross_entropy_with_logits(logits, predicted, reduction="sum") + divergence.sum()


def one_hot(rows):
    return F.one_hot(torch.randint(0, CLASSES, (rows,)), CLASSES).float()


def npc_full_copy(images):
    predicted, prior = one_hot(len(images)), BASE + STRENGTH * one_hot(len(images))
    extractor, calibrator = mnist_net(), Calibrator(CLASSES)
    adam = torch.optim.Adam([*extractor.parameters(), *calibrator.parameters()], lr=1e-3)

    def epoch():
        for x, p, a in zip(images.split(BATCH), predicted.split(BATCH), prior.split(BATCH)):
            # Evaluated twice, as published: another dropout mask, and batch norm's statistics move twice.
            descend(adam, calibrator.loss(extractor(x), extractor(x), p, a))

    measure("npc epoch mnist net full copy 1280", epoch, repetitions=3)


def npc_frozen(rows=60_000):
    features, predicted, prior = torch.randn(rows, EMBEDDING), one_hot(rows), BASE + STRENGTH * one_hot(rows)
    calibrator = Calibrator(EMBEDDING)
    adam = torch.optim.Adam(calibrator.parameters(), lr=1e-3)

    def train():
        for _ in range(10):
            for index in torch.randperm(rows).split(BATCH):
                x = features[index]
                descend(adam, calibrator.loss(x, x, predicted[index], prior[index]))

    measure("npc frozen features 60000x256 10 epochs", train, repetitions=1)


def annotations(tasks, workers=1000, per_task=5, right=0.7):
    """Every task labelled by `per_task` distinct workers, of whom a share `right` on average is right."""
    truth = rng.integers(0, CLASSES, (tasks, 1))
    # Gaps that sum to less than `workers` keep those of a task distinct.
    gaps = rng.integers(1, workers // per_task, (tasks, per_task))
    worker = (rng.integers(0, workers, (tasks, 1)) + gaps.cumsum(1)) % workers
    wrong = (truth + rng.integers(1, CLASSES, worker.shape)) % CLASSES
    label = np.where(rng.random(worker.shape) < right, truth, wrong)
    task = np.repeat(np.arange(tasks), per_task)
    return pd.DataFrame({"task": task, "worker": worker.ravel(), "label": label.ravel()})


def crowd():
    data = annotations(200_000)

    def fit():
        model = DawidSkene(n_iter=20, tol=0).fit(data)
        assert len(model.loss_history_) == 20, "stopped early"

    measure("dawid-skene 1M 10 classes 20 iterations", fit, repetitions=1, warm_ups=0)
    # No row `glad 1M 10 classes 20 iterations`: it would take hours. Measured instead, on annotations(20_000), a tenth of
    # the rows: GLAD(n_iter=1, tol=0).fit, one E-step to begin with and one iteration, took more than a minute on a thread,
    # and its time grows with the number of tasks. Nor does tol=0 give twenty iterations: on annotations(2_000) the mean
    # objective falls in the second, which ends the fit; tol=-inf would be needed.


def label_issues(rows=1_000_000, right=0.7):
    truth = rng.integers(0, CLASSES, rows)
    logits = rng.standard_normal((rows, CLASSES))
    logits[np.arange(rows), truth] += 3
    probabilities = np.exp(logits)
    probabilities /= probabilities.sum(1, keepdims=True)
    wrong = (truth + rng.integers(1, CLASSES, rows)) % CLASSES
    labels = np.where(rng.random(rows) < right, truth, wrong)
    measure(
        "confident joint issues ranking 1M x 10",
        lambda: find_label_issues(labels, probabilities, return_indices_ranked_by="self_confidence", n_jobs=1),
        repetitions=2,
    )


knn_prior()
mnist = torch.rand(1280, 1, 28, 28)
cross_entropy(mnist, torch.randint(0, CLASSES, (1280,)))
npc_full_copy(mnist)
npc_frozen()
crowd()
label_issues()
