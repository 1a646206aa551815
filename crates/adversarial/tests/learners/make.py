"""Writes scikit-learn.json: predictions of scikit-learn's classifiers on points that the test makes in the same way. Needs numpy and scikit-learn."""

import json
from pathlib import Path

import numpy as np
import sklearn
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from sklearn.svm import SVC

WIDTH, TRAINING, TEST = 4, 240, 120


def points(classes):
    """Uniform numbers of a linear congruential generator: class centres on a curve, and wide noise."""
    state = 5

    def unit():
        nonlocal state
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        return (state >> 40) / 2**24

    rows, labels = [], []
    for at in range(TRAINING + TEST):
        label = at % classes
        rows.append([np.float32((label * (j + 1)) % 3 + 2.5 * unit()) for j in range(WIDTH)])
        labels.append(label)
    return np.array(rows, dtype=np.float32), np.array(labels)


result = {"scikit-learn": sklearn.__version__}
for classes in (2, 3):
    x, y = points(classes)
    for name, model in [
        ("naive_bayes", GaussianNB()),
        ("svm", SVC(kernel="rbf", C=1.0, gamma="scale")),
        ("logistic", LogisticRegression(C=1.0, max_iter=1000, tol=1e-8)),
    ]:
        model.fit(x[:TRAINING].astype(np.float64), y[:TRAINING])
        result[f"{name} {classes}"] = model.predict(x[TRAINING:].astype(np.float64)).tolist()
Path(__file__).with_name("scikit-learn.json").write_text(json.dumps(result) + "\n")
