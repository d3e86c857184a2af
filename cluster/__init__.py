"""The cluster: workers as Ray actors, the coordinator that drives them, and the exchanges between them.

`distnn` finds `cluster.engine:RayEngine` by name when a training asks for it. Importing this package does not
import ray; only `connect` and `ray_crew` do, when they are called.
"""
