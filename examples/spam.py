"""Spam told from other mail by the frequencies of words: a dense network on a table.

    python examples/spam.py --data FOLDER [--backend ray --workers 2]

The data: spambase.data from archive.ics.uci.edu/dataset/94/spambase.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from arguments import make_parser
from data_files import find_file

from distnn.layers import Dense, Dropout, Input, Normalization
from distnn.metrics import Precision, Recall
from distnn.models import Sequential

ACCURACY_TO_REACH = 0.93
GET_DATA = "Get spambase.data from archive.ics.uci.edu/dataset/94/spambase"
EPOCHS, BATCH_SIZE = 20, 64


def load(folder: str) -> Any:
    """(x_train, y_train), (x_test, y_test): one mail in five, drawn by lot, is held out."""
    path = find_file(folder, "spambase*.npz", "spambase.data", get=GET_DATA)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            x, y = arrays["x"], arrays["y"]
    else:
        table = np.loadtxt(path, delimiter=",", dtype=np.float32)
        x, y = table[:, :-1], table[:, -1]
    x = np.log1p(x)  # most words are rare, some mails are long
    order = np.random.default_rng(1).permutation(len(x))
    train, test = np.split(order, [len(x) * 4 // 5])
    return (x[train], y[train]), (x[test], y[test])


def build_model(x_train: Any) -> Sequential:
    normalization = Normalization()
    normalization.adapt(x_train)
    return Sequential(
        [
            Input((57,)),
            normalization,
            Dense(64, activation="relu"),
            Dropout(0.3),
            Dense(32, activation="relu"),
            Dropout(0.3),
            Dense(1, activation="sigmoid"),
        ]
    )


def main() -> None:
    options = make_parser(__doc__).parse_args()
    (x_train, y_train), (x_test, y_test) = load(options.data)

    model = build_model(x_train)
    model.summary()
    model.compile(optimizer="adam", loss="binary_crossentropy", metrics=["accuracy", Precision(), Recall()])
    model.fit(
        x_train,
        y_train,
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        validation_data=(x_test, y_test),
        backend=options.backend,
        workers=options.workers,
        shards=2,
        seed=1,
        verbose=2,
    )

    _, accuracy, precision, recall = model.evaluate(x_test, y_test, verbose=0)
    print(f"accuracy on {len(x_test):,} mails held out: {accuracy:.4f} (to reach: {ACCURACY_TO_REACH})")
    print(f"of what it calls spam {precision:.1%} is, and of all spam it finds {recall:.1%}")
    for probability, is_spam in zip(model.predict(x_test[:5]).ravel(), y_test[:5], strict=True):
        print(f"  {probability:4.0%} spam, and it is {'spam' if is_spam else 'none'}")
    if options.save:
        model.save(options.save)
    if accuracy < ACCURACY_TO_REACH:
        sys.exit("this is less than the example must reach")


if __name__ == "__main__":
    main()
