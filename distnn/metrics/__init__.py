"""Metrics by Keras's names, from sums that add up over samples.

In a training the sums are computed in the graph, per shard, in float64, and added by the tree: any number of
shards gives the metric of all samples. A metric object can also be fed with arrays (`update_state`,
`result`, `reset_state`). "accuracy" becomes the binary, categorical or sparse one by the shapes of targets
and predictions.
"""

from __future__ import annotations

from distnn.losses import binary_crossentropy as binary_crossentropy
from distnn.losses import binary_focal_crossentropy as binary_focal_crossentropy
from distnn.losses import categorical_crossentropy as categorical_crossentropy
from distnn.losses import categorical_focal_crossentropy as categorical_focal_crossentropy
from distnn.losses import categorical_hinge as categorical_hinge
from distnn.losses import hinge as hinge
from distnn.losses import huber as huber
from distnn.losses import kl_divergence as kl_divergence
from distnn.losses import log_cosh as log_cosh
from distnn.losses import mean_absolute_error as mean_absolute_error
from distnn.losses import mean_absolute_percentage_error as mean_absolute_percentage_error
from distnn.losses import mean_squared_error as mean_squared_error
from distnn.losses import mean_squared_logarithmic_error as mean_squared_logarithmic_error
from distnn.losses import poisson as poisson
from distnn.losses import sparse_categorical_crossentropy as sparse_categorical_crossentropy
from distnn.losses import squared_hinge as squared_hinge
from distnn.metrics.accuracy import Accuracy as Accuracy
from distnn.metrics.accuracy import BinaryAccuracy as BinaryAccuracy
from distnn.metrics.accuracy import CategoricalAccuracy as CategoricalAccuracy
from distnn.metrics.accuracy import SparseCategoricalAccuracy as SparseCategoricalAccuracy
from distnn.metrics.accuracy import SparseTopKCategoricalAccuracy as SparseTopKCategoricalAccuracy
from distnn.metrics.accuracy import TopKCategoricalAccuracy as TopKCategoricalAccuracy
from distnn.metrics.accuracy import binary_accuracy as binary_accuracy
from distnn.metrics.accuracy import categorical_accuracy as categorical_accuracy
from distnn.metrics.accuracy import sparse_categorical_accuracy as sparse_categorical_accuracy
from distnn.metrics.accuracy import sparse_top_k_categorical_accuracy as sparse_top_k_categorical_accuracy
from distnn.metrics.accuracy import top_k_categorical_accuracy as top_k_categorical_accuracy
from distnn.metrics.auc import AUC as AUC
from distnn.metrics.confusion import FalseNegatives as FalseNegatives
from distnn.metrics.confusion import FalsePositives as FalsePositives
from distnn.metrics.confusion import Precision as Precision
from distnn.metrics.confusion import PrecisionAtRecall as PrecisionAtRecall
from distnn.metrics.confusion import Recall as Recall
from distnn.metrics.confusion import RecallAtPrecision as RecallAtPrecision
from distnn.metrics.confusion import SensitivityAtSpecificity as SensitivityAtSpecificity
from distnn.metrics.confusion import SpecificityAtSensitivity as SpecificityAtSensitivity
from distnn.metrics.confusion import TrueNegatives as TrueNegatives
from distnn.metrics.confusion import TruePositives as TruePositives
from distnn.metrics.correlation import ConcordanceCorrelation as ConcordanceCorrelation
from distnn.metrics.correlation import PearsonCorrelation as PearsonCorrelation
from distnn.metrics.correlation import concordance_correlation as concordance_correlation
from distnn.metrics.correlation import pearson_correlation as pearson_correlation
from distnn.metrics.f_score import F1Score as F1Score
from distnn.metrics.f_score import FBetaScore as FBetaScore
from distnn.metrics.iou import BinaryIoU as BinaryIoU
from distnn.metrics.iou import IoU as IoU
from distnn.metrics.iou import MeanIoU as MeanIoU
from distnn.metrics.iou import OneHotIoU as OneHotIoU
from distnn.metrics.iou import OneHotMeanIoU as OneHotMeanIoU
from distnn.metrics.means import BinaryCrossentropy as BinaryCrossentropy
from distnn.metrics.means import CategoricalCrossentropy as CategoricalCrossentropy
from distnn.metrics.means import CategoricalHinge as CategoricalHinge
from distnn.metrics.means import CosineSimilarity as CosineSimilarity
from distnn.metrics.means import Hinge as Hinge
from distnn.metrics.means import KLDivergence as KLDivergence
from distnn.metrics.means import LogCoshError as LogCoshError
from distnn.metrics.means import Mean as Mean
from distnn.metrics.means import MeanAbsoluteError as MeanAbsoluteError
from distnn.metrics.means import MeanAbsolutePercentageError as MeanAbsolutePercentageError
from distnn.metrics.means import MeanSquaredError as MeanSquaredError
from distnn.metrics.means import MeanSquaredLogarithmicError as MeanSquaredLogarithmicError
from distnn.metrics.means import Poisson as Poisson
from distnn.metrics.means import RootMeanSquaredError as RootMeanSquaredError
from distnn.metrics.means import SparseCategoricalCrossentropy as SparseCategoricalCrossentropy
from distnn.metrics.means import SquaredHinge as SquaredHinge
from distnn.metrics.means import Sum as Sum
from distnn.metrics.means import cosine_similarity as cosine_similarity
from distnn.metrics.metric import CountingMetric as CountingMetric
from distnn.metrics.metric import FunctionMetric as FunctionMetric
from distnn.metrics.metric import MeanMetricWrapper as MeanMetricWrapper
from distnn.metrics.metric import Metric as Metric
from distnn.metrics.metric import MetricFunction as MetricFunction
from distnn.metrics.r2 import R2Score as R2Score
from distnn.metrics.registry import ACCURACY_NAMES as ACCURACY_NAMES
from distnn.metrics.registry import check as check
from distnn.metrics.registry import deserialize as deserialize
from distnn.metrics.registry import get as get
from distnn.metrics.registry import names as names
from distnn.metrics.registry import resolve as resolve
from distnn.metrics.registry import serialize as serialize
