"""scikit-learn's classifiers, for `cargo xtask bench classifiers --peers`.

The embeddings are those of the Rust side, from the same generator. A grid search of many seconds is timed once.
"""

import json
import sys
import time

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, StratifiedKFold
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, LinearSVC

from measure import measure, threads

GRID = [1e-3, 1e-2, 0.1, 1.0, 10.0, 100.0, 1e3]
WIDTH = 96


def units(state, count):
    """`count` numbers in [0, 1) of the linear congruential generator of the Rust side, from this state."""
    numbers = np.empty(count)
    for at in range(count):
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        numbers[at] = (state >> 11) / 2**53
    return numbers


def embeddings(count, width):
    """Rows like sum-pooled embeddings of graphs: sizes are skewed, columns have levels of their own, and classes overlap."""
    hidden = 8
    draws = units(7, hidden * width + width + count * (3 + hidden + width))
    mixing = 2 * draws[: hidden * width].reshape(hidden, width) - 1
    level = draws[hidden * width : hidden * width + width]
    rows = draws[hidden * width + width :].reshape(count, 3 + hidden + width)
    size = 4 + 40 * rows[:, 0] * rows[:, 0]
    latent = 2 * rows[:, 3 : 3 + hidden] - 1
    noise = 2 * rows[:, 3 + hidden :] - 1
    signal = np.zeros((count, width))
    for k in range(hidden):
        signal += latent[:, k : k + 1] * mixing[k]
    x = size[:, None] * (level + 0.3 * signal + 0.1 * noise)
    score = latent[:, 0] * latent[:, 1] + 0.5 * latent[:, 2] + 0.02 * (size - 16) + 1.2 * (rows[:, 1] - 0.5)
    return x, (score > 0).astype(int)


def nodes(count, dense, sparse):
    """Rows like embeddings of nodes with their words, in seven classes: dense columns, then sparse ones of 0 and 1."""
    classes = 7
    rows = units(11, count * (1 + dense + sparse)).reshape(count, 1 + dense + sparse)
    y = (rows[:, 0] * classes).astype(int)
    own = np.arange(dense) % classes == y[:, None]
    words = np.arange(sparse) % classes == y[:, None]
    x = np.concatenate(
        [0.3 * own + rows[:, 1 : 1 + dense] - 0.5, rows[:, 1 + dense :] < np.where(words, 0.03, 0.01)], axis=1
    )
    return x.astype(float), y


def search():
    return GridSearchCV(SVC(), {"C": GRID}, cv=StratifiedKFold(5), n_jobs=threads())


def nested(x, y):
    """For each outer fold the test rows, the chosen C, the inner accuracies and the predictions."""
    found = []
    for train, test in StratifiedKFold(10).split(x, y):
        grid = search().fit(x[train], y[train])
        accuracies = grid.cv_results_["mean_test_score"]
        found.append((test, grid.best_params_["C"], accuracies, grid.predict(x[test])))
    return found


def adam(x, y, steps):
    """The classifier of LaGraph's evaluation, in PyTorch and single precision."""
    import torch

    torch.set_num_threads(threads())
    x, y = torch.tensor(x, dtype=torch.float32), torch.tensor(y)

    def train():
        model = torch.nn.Linear(x.shape[1], 7)
        torch.nn.init.xavier_uniform_(model.weight)
        torch.nn.init.zeros_(model.bias)
        optimiser = torch.optim.Adam(model.parameters(), lr=0.01, weight_decay=1e-3)
        for _ in range(steps):
            optimiser.zero_grad()
            torch.nn.functional.cross_entropy(model(x), y).backward()
            optimiser.step()

    return train


def agreement(path, count):
    """Compares with what the Rust side wrote: `AGREEMENT=1113 cargo bench -p classifiers > FILE; python classifiers.py FILE 1113`."""
    with open(path) as file:
        ours = json.load(file)["folds"]
    x, y = embeddings(count, WIDTH)
    start = time.perf_counter()
    theirs = nested(x, y)
    print(f"{time.perf_counter() - start:.2f} s, accuracy {np.mean([np.mean(p == y[t]) for t, _, _, p in theirs]):.4f}")
    for fold, (mine, (test, c, accuracies, predictions)) in enumerate(zip(ours, theirs)):
        assert mine["test"] == test.tolist()
        different = int(np.sum(np.array(mine["predictions"]) != predictions))
        largest = np.abs(np.array(mine["choice"]["mean_accuracies"]) - accuracies).max()
        print(f"fold {fold}: C {mine['choice']['c']} {c}, {different} of {len(test)} predictions differ, means by {largest:.5f}")


def main():
    x, y = embeddings(1113, WIDTH)
    measure("nested svc 1113 x 96, 10 x 5 folds x 7 C", lambda: nested(x, y), repetitions=1, warm_ups=0)
    x, y = embeddings(4110, WIDTH)
    train, _ = next(StratifiedKFold(10).split(x, y))
    measure("svc grid 3699 x 96, 5 folds x 7 C", lambda: search().fit(x[train], y[train]), repetitions=1, warm_ups=0)
    x, y = nodes(272, 512, 1433)
    measure("adam logistic 272 x 1945, 7 classes, 400 steps", adam(x, y, 400))
    logistic = LogisticRegression(C=1.0, max_iter=1000, tol=1e-4)
    measure("l-bfgs logistic 272 x 1945, 7 classes", lambda: logistic.fit(x, y))
    x, y = nodes(2000, 512, 0)
    linear = LinearSVC(C=0.1, dual=False)
    measure("linear svm 2000 x 512, 7 classes", lambda: linear.fit(x, y))
    neighbours = KNeighborsClassifier(5, algorithm="brute", n_jobs=threads())
    measure("knn 2000 x 512 among themselves, k = 5", lambda: neighbours.fit(x, y).predict(x))


if len(sys.argv) == 3:
    agreement(sys.argv[1], int(sys.argv[2]))
else:
    main()
