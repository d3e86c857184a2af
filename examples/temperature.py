"""The temperature of this hour tomorrow, from the last two days: an LSTM on a series.

    python examples/temperature.py --data FOLDER [--backend ray --workers 2]

The data: a year of Seattle, hour by hour: data/seattle-temps.csv of github.com/vega/vega-datasets.
"""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
from arguments import make_parser
from data_files import find_file

from distnn.layers import LSTM, Dense, Input
from distnn.models import Sequential
from distnn.optimizers import Adam
from distnn.utils import timeseries_dataset_from_array

BETTER_TO_REACH = 0.15
"""How much smaller the mean absolute error must be than that of foretelling yesterday's value."""
GET_DATA = "Get data/seattle-temps.csv of github.com/vega/vega-datasets"
DAY, WINDOW = 24, 48
EPOCHS, BATCH_SIZE = 10, 64


def load(folder: str) -> Any:
    """(x_train, y_train), (x_test, y_test): the first 80 % of the year to train with, the rest to test.

    A sample is how much each of 48 hours differed from the same hour a day before, its target how much
    the hour that comes a day after them does: a forecast of yesterday's value is 0.
    """
    path = find_file(folder, "seattle*temp*.npz", "seattle-temps.csv", get=GET_DATA)
    if path.suffix == ".npz":
        with np.load(path) as arrays:
            degrees = arrays["temp_F"]
    else:
        degrees = np.loadtxt(path, delimiter=",", skiprows=1, usecols=1, dtype=np.float32)
    change = degrees[DAY:] - degrees[:-DAY]
    end = len(change) * 4 // 5
    return windows(change[:end]), windows(change[end:])


def windows(change: Any) -> Any:
    after = WINDOW - 1 + DAY
    found = timeseries_dataset_from_array(change[:-DAY, None], change[after:], WINDOW, batch_size=None)
    return found.x, found.y


def build_model() -> Sequential:
    return Sequential([Input((WINDOW, 1)), LSTM(32), Dense(1)])


def main() -> None:
    options = make_parser(__doc__).parse_args()
    (x_train, y_train), (x_test, y_test) = load(options.data)

    model = build_model()
    model.summary()
    model.compile(optimizer=Adam(0.003), loss="mae")
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

    error, of_yesterday = model.evaluate(x_test, y_test, verbose=0), np.abs(y_test).mean()
    better = 1 - error / of_yesterday
    print(f"mean absolute error in {len(x_test):,} hours held out: {error:.4f} degrees F")
    print(f"of yesterday's value: {of_yesterday:.4f}; {better:.1%} better (to reach: {BETTER_TO_REACH:.0%})")
    for foretold, came in zip(model.predict(x_test[:120:24]).ravel(), y_test[:120:24], strict=True):
        print(f"  foretold {foretold:+.2f} degrees from yesterday's, came {came:+.2f}")
    if options.save:
        model.save(options.save)
    if better < BETTER_TO_REACH:
        sys.exit("this is less than the example must reach")


if __name__ == "__main__":
    main()
