"""Our side of `startup.py`, as a process of its own: prints, as JSON, when each phase of a Ray run ended.

Times are seconds since the time of the clock given, at which the process was started.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parent.parent)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--began", type=float, required=True, help="when the process was started")
    parser.add_argument("--model", default="mlp_fmnist")
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    ended: dict[str, float] = {}

    def end(phase: str) -> None:
        ended[phase] = time.time() - options.began

    end("interpreter")
    from ours import Setup, prepare_training

    end("import distnn")
    from cluster.connect import connect

    end("import ray")
    connection = connect(None, options.workers)
    end("ray.init")
    training = prepare_training(options.model, Setup("ray", options.workers, options.workers))
    end("workers ready")
    training.engine.load(training.task, training.data, training.model.training_state(0))
    end("task loaded, kernels warm")
    training.engine.run_segment(1)
    end("first step committed")
    training.model.close()
    connection.close()
    end("all ended")
    print(json.dumps(ended))


if __name__ == "__main__":
    main()
