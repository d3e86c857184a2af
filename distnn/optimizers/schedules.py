"""`keras.optimizers.schedules`: the learning-rate schedules under the name that Keras programs use."""

from distnn.schedules import CosineDecay as CosineDecay
from distnn.schedules import CosineDecayRestarts as CosineDecayRestarts
from distnn.schedules import ExponentialDecay as ExponentialDecay
from distnn.schedules import InverseTimeDecay as InverseTimeDecay
from distnn.schedules import LearningRateSchedule as LearningRateSchedule
from distnn.schedules import PiecewiseConstantDecay as PiecewiseConstantDecay
from distnn.schedules import PolynomialDecay as PolynomialDecay
from distnn.schedules import deserialize as deserialize
from distnn.schedules import serialize as serialize
