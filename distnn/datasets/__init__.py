"""Data sets that ship with distnn, with the functions of `keras.datasets`: `digits.load_data()`."""

from distnn.datasets import digits as digits
