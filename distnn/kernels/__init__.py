"""The arithmetic: Numba kernels, and the one place for matrix products.

Arrays in, arrays out into preallocated outputs; nothing here allocates, knows a layer or reads a clock.
`distnn.ops` calls these; so do the update and the reduction of a step. `import numba` happens only here.
Kernels are imported from their modules (`distnn.kernels.softmax`, ...), so that nothing loads unused.
"""
