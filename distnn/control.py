"""The control words of a step: int64 values that whoever runs a program writes and kernels read.

What differs from step to step and from shard to shard stands here, so that a bound call needs no argument.
"""

from __future__ import annotations

SEED_WORD, STEP_WORD, SHARD_WORD, SAMPLES_WORD = 0, 1, 2, 3
"""Key of the noise streams; step; shard; samples of the shard."""
ORDER_WORD, START_WORD, POSITION_WORD, FIRST_WORD = 4, 5, 6, 7
"""Key of the order of samples; where the batch begins in it, and the shard; 1 at an epoch's first step."""
CONTROL_WORDS = 8
