"""Losses by Keras's names: functions that give a value per sample, and classes with a reduction.

A training uses `call` (values per sample) and divides once, over the whole batch; calling a loss object on
arrays gives the reduced number, as in Keras. A user's loss is a function of `(y_true, y_pred)` written with
`distnn.ops`, or a subclass of `Loss`.
"""

from __future__ import annotations

from distnn.losses.circle import Circle as Circle
from distnn.losses.circle import circle as circle
from distnn.losses.crossentropy import BinaryCrossentropy as BinaryCrossentropy
from distnn.losses.crossentropy import CategoricalCrossentropy as CategoricalCrossentropy
from distnn.losses.crossentropy import SparseCategoricalCrossentropy as SparseCategoricalCrossentropy
from distnn.losses.crossentropy import binary_crossentropy as binary_crossentropy
from distnn.losses.crossentropy import categorical_crossentropy as categorical_crossentropy
from distnn.losses.crossentropy import labels_that_count as labels_that_count
from distnn.losses.crossentropy import sparse_categorical_crossentropy as sparse_categorical_crossentropy
from distnn.losses.ctc import CTC as CTC
from distnn.losses.ctc import ctc as ctc
from distnn.losses.focal import BinaryFocalCrossentropy as BinaryFocalCrossentropy
from distnn.losses.focal import CategoricalFocalCrossentropy as CategoricalFocalCrossentropy
from distnn.losses.focal import binary_focal_crossentropy as binary_focal_crossentropy
from distnn.losses.focal import categorical_focal_crossentropy as categorical_focal_crossentropy
from distnn.losses.generalized import CategoricalGeneralizedCrossEntropy as CategoricalGeneralizedCrossEntropy
from distnn.losses.generalized import (
    categorical_generalized_cross_entropy as categorical_generalized_cross_entropy,
)
from distnn.losses.hinges import CategoricalHinge as CategoricalHinge
from distnn.losses.hinges import Hinge as Hinge
from distnn.losses.hinges import SquaredHinge as SquaredHinge
from distnn.losses.hinges import categorical_hinge as categorical_hinge
from distnn.losses.hinges import hinge as hinge
from distnn.losses.hinges import squared_hinge as squared_hinge
from distnn.losses.loss import FunctionLoss as FunctionLoss
from distnn.losses.loss import Loss as Loss
from distnn.losses.loss import LossFunction as LossFunction
from distnn.losses.overlap import Dice as Dice
from distnn.losses.overlap import Tversky as Tversky
from distnn.losses.overlap import dice as dice
from distnn.losses.overlap import tversky as tversky
from distnn.losses.probabilistic import KLDivergence as KLDivergence
from distnn.losses.probabilistic import Poisson as Poisson
from distnn.losses.probabilistic import kl_divergence as kl_divergence
from distnn.losses.probabilistic import poisson as poisson
from distnn.losses.registry import deserialize as deserialize
from distnn.losses.registry import get as get
from distnn.losses.registry import is_sparse as is_sparse
from distnn.losses.registry import names as names
from distnn.losses.registry import serialize as serialize
from distnn.losses.regression import CosineSimilarity as CosineSimilarity
from distnn.losses.regression import Huber as Huber
from distnn.losses.regression import LogCosh as LogCosh
from distnn.losses.regression import MeanAbsoluteError as MeanAbsoluteError
from distnn.losses.regression import MeanAbsolutePercentageError as MeanAbsolutePercentageError
from distnn.losses.regression import MeanSquaredError as MeanSquaredError
from distnn.losses.regression import MeanSquaredLogarithmicError as MeanSquaredLogarithmicError
from distnn.losses.regression import cosine_similarity as cosine_similarity
from distnn.losses.regression import huber as huber
from distnn.losses.regression import log_cosh as log_cosh
from distnn.losses.regression import mean_absolute_error as mean_absolute_error
from distnn.losses.regression import mean_absolute_percentage_error as mean_absolute_percentage_error
from distnn.losses.regression import mean_squared_error as mean_squared_error
from distnn.losses.regression import mean_squared_logarithmic_error as mean_squared_logarithmic_error
from distnn.losses.values import aligned_weight as aligned_weight
from distnn.losses.values import as_values as as_values
from distnn.losses.values import rank as rank
from distnn.losses.values import same_rank as same_rank

KLD = kld = kl_divergence
MAE = mae = mean_absolute_error
MAPE = mape = mean_absolute_percentage_error
MSE = mse = mean_squared_error
MSLE = msle = mean_squared_logarithmic_error
logcosh = log_cosh
