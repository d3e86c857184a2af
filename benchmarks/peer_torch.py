"""One round of the peer's side of `step_time.py`: run by the interpreter that has torch; prints JSON."""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from models import LEARNING_RATE, MLPS, MOMENTUM  # noqa: E402


def main() -> None:
    import torch
    from torch import nn

    parser = argparse.ArgumentParser()
    parser.add_argument("--models", nargs="+", default=list(MLPS))
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    found = {}
    for name in options.models:
        mlp = MLPS[name]
        sizes = (mlp.inputs, *mlp.units)
        layers: list[nn.Module] = []
        for inputs, units in zip(sizes, sizes[1:], strict=False):
            layers += [nn.Linear(inputs, units), nn.ReLU()]
        net = nn.Sequential(*layers[:-1])
        x, y = torch.randn(mlp.batch_size, mlp.inputs), torch.randint(0, mlp.units[-1], (mlp.batch_size,))
        optimizer = torch.optim.SGD(net.parameters(), LEARNING_RATE, momentum=MOMENTUM)
        loss_of = nn.CrossEntropyLoss()
        times: list[float] = []
        deadline = time.perf_counter() + options.seconds
        while time.perf_counter() < deadline or len(times) < 10:
            began = time.perf_counter()
            optimizer.zero_grad(set_to_none=True)
            loss_of(net(x), y).backward()
            optimizer.step()
            times.append(time.perf_counter() - began)
        found[name] = statistics.median(times[5:]) * 1e3
    print(json.dumps({"torch": torch.__version__, "ms": found}))


if __name__ == "__main__":
    main()
