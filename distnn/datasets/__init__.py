"""Data sets, with the functions of `keras.datasets`: `mnist.load_data()`.

`digits` ships with distnn; the others are taken from where Keras keeps them, `~/.keras/datasets`, and
downloaded from where Keras does if they are not there.
"""

from distnn.datasets import boston_housing as boston_housing
from distnn.datasets import california_housing as california_housing
from distnn.datasets import cifar10 as cifar10
from distnn.datasets import cifar100 as cifar100
from distnn.datasets import digits as digits
from distnn.datasets import fashion_mnist as fashion_mnist
from distnn.datasets import imdb as imdb
from distnn.datasets import mnist as mnist
from distnn.datasets import reuters as reuters
