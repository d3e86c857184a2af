"""Layers by Keras's names, and how a configuration names them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from distnn import identifiers
from distnn.custom_objects import CustomObjectScope
from distnn.errors import UnknownNameError
from distnn.layers.activation_layers import ELU as ELU
from distnn.layers.activation_layers import LeakyReLU as LeakyReLU
from distnn.layers.activation_layers import PReLU as PReLU
from distnn.layers.activation_layers import ReLU as ReLU
from distnn.layers.activation_layers import Softmax as Softmax
from distnn.layers.adaptive_pooling import AdaptiveAveragePooling1D as AdaptiveAveragePooling1D
from distnn.layers.adaptive_pooling import AdaptiveAveragePooling2D as AdaptiveAveragePooling2D
from distnn.layers.adaptive_pooling import AdaptiveAveragePooling3D as AdaptiveAveragePooling3D
from distnn.layers.adaptive_pooling import AdaptiveMaxPooling1D as AdaptiveMaxPooling1D
from distnn.layers.adaptive_pooling import AdaptiveMaxPooling2D as AdaptiveMaxPooling2D
from distnn.layers.adaptive_pooling import AdaptiveMaxPooling3D as AdaptiveMaxPooling3D
from distnn.layers.attention import AdditiveAttention as AdditiveAttention
from distnn.layers.attention import Attention as Attention
from distnn.layers.augmentation import RandomBrightness as RandomBrightness
from distnn.layers.augmentation import RandomContrast as RandomContrast
from distnn.layers.augmentation import RandomFlip as RandomFlip
from distnn.layers.augmentation import RandomRotation as RandomRotation
from distnn.layers.augmentation import RandomShear as RandomShear
from distnn.layers.augmentation import RandomTranslation as RandomTranslation
from distnn.layers.augmentation import RandomZoom as RandomZoom
from distnn.layers.bidirectional import Bidirectional as Bidirectional
from distnn.layers.color_augmentation import AutoContrast as AutoContrast
from distnn.layers.color_augmentation import RandomColorJitter as RandomColorJitter
from distnn.layers.color_augmentation import RandomErasing as RandomErasing
from distnn.layers.color_augmentation import RandomGaussianBlur as RandomGaussianBlur
from distnn.layers.color_augmentation import RandomGrayscale as RandomGrayscale
from distnn.layers.color_augmentation import RandomHue as RandomHue
from distnn.layers.color_augmentation import RandomInvert as RandomInvert
from distnn.layers.color_augmentation import RandomSaturation as RandomSaturation
from distnn.layers.color_augmentation import Solarization as Solarization
from distnn.layers.convolution import Conv1D as Conv1D
from distnn.layers.convolution import Conv2D as Conv2D
from distnn.layers.convolution import Conv3D as Conv3D
from distnn.layers.convolutional_recurrent import ConvLSTM1D as ConvLSTM1D
from distnn.layers.convolutional_recurrent import ConvLSTM2D as ConvLSTM2D
from distnn.layers.convolutional_recurrent import ConvLSTM3D as ConvLSTM3D
from distnn.layers.core import Activation as Activation
from distnn.layers.core import ActivityRegularization as ActivityRegularization
from distnn.layers.core import Dense as Dense
from distnn.layers.core import Identity as Identity
from distnn.layers.core import Input as Input
from distnn.layers.core import InputLayer as InputLayer
from distnn.layers.depthwise import DepthwiseConv1D as DepthwiseConv1D
from distnn.layers.depthwise import DepthwiseConv2D as DepthwiseConv2D
from distnn.layers.depthwise import SeparableConv1D as SeparableConv1D
from distnn.layers.depthwise import SeparableConv2D as SeparableConv2D
from distnn.layers.einsum_dense import EinsumDense as EinsumDense
from distnn.layers.embedding import Embedding as Embedding
from distnn.layers.global_pooling import GlobalAveragePooling1D as GlobalAveragePooling1D
from distnn.layers.global_pooling import GlobalAveragePooling2D as GlobalAveragePooling2D
from distnn.layers.global_pooling import GlobalAveragePooling3D as GlobalAveragePooling3D
from distnn.layers.global_pooling import GlobalMaxPooling1D as GlobalMaxPooling1D
from distnn.layers.global_pooling import GlobalMaxPooling2D as GlobalMaxPooling2D
from distnn.layers.global_pooling import GlobalMaxPooling3D as GlobalMaxPooling3D
from distnn.layers.group_normalization import GroupNormalization as GroupNormalization
from distnn.layers.group_normalization import RMSNormalization as RMSNormalization
from distnn.layers.group_normalization import UnitNormalization as UnitNormalization
from distnn.layers.hashing import HashedCrossing as HashedCrossing
from distnn.layers.hashing import Hashing as Hashing
from distnn.layers.image_sizes import CenterCrop as CenterCrop
from distnn.layers.image_sizes import RandomCrop as RandomCrop
from distnn.layers.image_sizes import Resizing as Resizing
from distnn.layers.input_spec import InputSpec as InputSpec
from distnn.layers.lambda_layer import Lambda as Lambda
from distnn.layers.layer import Layer as Layer
from distnn.layers.lookup import IntegerLookup as IntegerLookup
from distnn.layers.lookup import StringLookup as StringLookup
from distnn.layers.lookup import TextVectorization as TextVectorization
from distnn.layers.merging import Add as Add
from distnn.layers.merging import Average as Average
from distnn.layers.merging import Concatenate as Concatenate
from distnn.layers.merging import Dot as Dot
from distnn.layers.merging import Maximum as Maximum
from distnn.layers.merging import Minimum as Minimum
from distnn.layers.merging import Multiply as Multiply
from distnn.layers.merging import Subtract as Subtract
from distnn.layers.merging import add as add
from distnn.layers.merging import average as average
from distnn.layers.merging import concatenate as concatenate
from distnn.layers.merging import dot as dot
from distnn.layers.merging import maximum as maximum
from distnn.layers.merging import minimum as minimum
from distnn.layers.merging import multiply as multiply
from distnn.layers.merging import subtract as subtract
from distnn.layers.multi_head_attention import MultiHeadAttention as MultiHeadAttention
from distnn.layers.normalization import BatchNormalization as BatchNormalization
from distnn.layers.normalization import LayerNormalization as LayerNormalization
from distnn.layers.pooling import AveragePooling1D as AveragePooling1D
from distnn.layers.pooling import AveragePooling2D as AveragePooling2D
from distnn.layers.pooling import AveragePooling3D as AveragePooling3D
from distnn.layers.pooling import MaxPooling1D as MaxPooling1D
from distnn.layers.pooling import MaxPooling2D as MaxPooling2D
from distnn.layers.pooling import MaxPooling3D as MaxPooling3D
from distnn.layers.preprocessing import CategoryEncoding as CategoryEncoding
from distnn.layers.preprocessing import Discretization as Discretization
from distnn.layers.preprocessing import Normalization as Normalization
from distnn.layers.preprocessing import Rescaling as Rescaling
from distnn.layers.recurrent import RNN as RNN
from distnn.layers.recurrent_cells import GRUCell as GRUCell
from distnn.layers.recurrent_cells import LSTMCell as LSTMCell
from distnn.layers.recurrent_cells import SimpleRNNCell as SimpleRNNCell
from distnn.layers.recurrent_cells import StackedRNNCells as StackedRNNCells
from distnn.layers.recurrent_layers import GRU as GRU
from distnn.layers.recurrent_layers import LSTM as LSTM
from distnn.layers.recurrent_layers import SimpleRNN as SimpleRNN
from distnn.layers.regularization import AlphaDropout as AlphaDropout
from distnn.layers.regularization import Dropout as Dropout
from distnn.layers.regularization import GaussianDropout as GaussianDropout
from distnn.layers.regularization import GaussianNoise as GaussianNoise
from distnn.layers.regularization import SpatialDropout1D as SpatialDropout1D
from distnn.layers.regularization import SpatialDropout2D as SpatialDropout2D
from distnn.layers.regularization import SpatialDropout3D as SpatialDropout3D
from distnn.layers.reshaping import Flatten as Flatten
from distnn.layers.reshaping import Permute as Permute
from distnn.layers.reshaping import Reshape as Reshape
from distnn.layers.resizing import Cropping1D as Cropping1D
from distnn.layers.resizing import Cropping2D as Cropping2D
from distnn.layers.resizing import Cropping3D as Cropping3D
from distnn.layers.resizing import UpSampling1D as UpSampling1D
from distnn.layers.resizing import UpSampling2D as UpSampling2D
from distnn.layers.resizing import UpSampling3D as UpSampling3D
from distnn.layers.resizing import ZeroPadding1D as ZeroPadding1D
from distnn.layers.resizing import ZeroPadding2D as ZeroPadding2D
from distnn.layers.resizing import ZeroPadding3D as ZeroPadding3D
from distnn.layers.sequence import Masking as Masking
from distnn.layers.sequence import RepeatVector as RepeatVector
from distnn.layers.sequence import TimeDistributed as TimeDistributed
from distnn.layers.spectral_normalization import SpectralNormalization as SpectralNormalization
from distnn.layers.transposed import Conv1DTranspose as Conv1DTranspose
from distnn.layers.transposed import Conv2DTranspose as Conv2DTranspose
from distnn.layers.transposed import Conv3DTranspose as Conv3DTranspose
from distnn.layers.wrapper import Wrapper as Wrapper
from distnn.naming import did_you_mean_or_known

# Other names that Keras gives to some of them.
AvgPool1D = AveragePooling1D
AvgPool2D = AveragePooling2D
AvgPool3D = AveragePooling3D
Convolution1D = Conv1D
Convolution1DTranspose = Conv1DTranspose
Convolution2D = Conv2D
Convolution2DTranspose = Conv2DTranspose
Convolution3D = Conv3D
Convolution3DTranspose = Conv3DTranspose
GlobalAvgPool1D = GlobalAveragePooling1D
GlobalAvgPool2D = GlobalAveragePooling2D
GlobalAvgPool3D = GlobalAveragePooling3D
GlobalMaxPool1D = GlobalMaxPooling1D
GlobalMaxPool2D = GlobalMaxPooling2D
GlobalMaxPool3D = GlobalMaxPooling3D
MaxPool1D = MaxPooling1D
MaxPool2D = MaxPooling2D
MaxPool3D = MaxPooling3D
SeparableConvolution1D = SeparableConv1D
SeparableConvolution2D = SeparableConv2D

_CLASSES: dict[str, type[Layer]] = {
    name: value
    for name, value in globals().items()
    if isinstance(value, type) and issubclass(value, Layer) and value is not Layer
}
_CLASSES["Input"] = InputLayer
_MODELS: dict[str, type[Layer]] = {}
"""Models that may stand inside a model; no layer of a list of layers, so not among the names."""


def names() -> list[str]:
    """Names that `get_class` knows."""
    return sorted(_CLASSES)


def get_class(name: str, custom_objects: Mapping[str, Any] | None = None) -> type[Layer]:
    """The layer class called `name`; one of the user's own is registered, or among `custom_objects`.

    Raises:
        UnknownNameError: a ValueError, if there is none.
    """
    found = identifiers.lookup(name, {**_MODELS, **_CLASSES}, custom_objects)
    if not isinstance(found, type) or not issubclass(found, Layer):
        hint = did_you_mean_or_known(name, names())
        raise UnknownNameError(f"Unknown layer: {name!r}.{hint}", name, "layer")
    return found


def register_model(model_class: type[Layer]) -> None:
    """Let `deserialize` find a model inside a model."""
    _MODELS[model_class.__name__] = model_class


def serialize(layer: Layer) -> dict[str, Any]:
    """`{"class_name": ..., "config": ...}`.

    Raises:
        ValueError: for a layer of the user's own that cannot be found or made again.
    """
    return identifiers.to_config(layer, {**_MODELS, **_CLASSES}, "layer")


def deserialize(config: Mapping[str, Any], custom_objects: Mapping[str, Any] | None = None) -> Layer:
    """The layer that `serialize` described."""
    with CustomObjectScope(custom_objects):
        found = get_class(config["class_name"])
        return identifiers.made_from(found, config["config"], "layer")
