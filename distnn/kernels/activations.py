"""Activations, their gradients, and bias + activation in one pass.

Arrays are 1-D (any shape flattened) except where a name says `_BO`: B rows (samples), O units. The gradient
of relu, leaky relu, sigmoid, tanh and elu is taken from the output y, that of gelu and silu from the input x.
The fused kernels give the same bytes as `bias_add` followed by the activation. NaN passes through all.
"""

from __future__ import annotations

from typing import Any

from distnn.kernels.jit import Array, helper, kernel
from distnn.kernels.scalar_math import erf, exp, expm1, sigmoid, softplus, tanh

# One value

_SQRT_HALF, _SQRT_2_OVER_PI, _GELU_CUBIC = 0.7071067811865476, 0.7978845608028654, 0.044715
_INVERSE_SQRT_2_PI = 0.3989422804014327


@helper
def relu_of(x: Any, zero: Any) -> Any:
    return zero if x < zero else x


@helper
def leaky_relu_of(x: Any, slope: Any, zero: Any) -> Any:
    return slope * x if x < zero else x


@helper
def elu_of(x: Any, alpha: Any, zero: Any) -> Any:
    negative = alpha * expm1(x if x < zero else zero)
    return negative if x < zero else x


@helper
def gelu_of(x: Any, half: Any, one: Any, sqrt_half: Any) -> Any:
    return (half * x) * (one + erf(x * sqrt_half))


@helper
def gelu_tanh_of(x: Any, scale: Any, cubic: Any) -> Any:
    # (1 + tanh u) / 2 is the sigmoid of 2 u, which is accurate where it is small.
    return x * sigmoid(scale * (x + cubic * (x * x * x)))


# Forward


@kernel
def relu(x: Array, y: Array) -> None:
    """max(x, 0)."""
    zero = x.dtype.type(0)
    for i in range(x.size):
        y[i] = relu_of(x[i], zero)


@kernel
def leaky_relu(x: Array, slope: float, y: Array) -> None:
    """x, or slope * x below 0."""
    zero, slope_ = x.dtype.type(0), x.dtype.type(slope)
    for i in range(x.size):
        y[i] = leaky_relu_of(x[i], slope_, zero)


@kernel
def elu(x: Array, alpha: float, y: Array) -> None:
    """x, or alpha * (e^x - 1) below 0."""
    zero, alpha_ = x.dtype.type(0), x.dtype.type(alpha)
    for i in range(x.size):
        y[i] = elu_of(x[i], alpha_, zero)


@kernel
def sigmoid_forward(x: Array, y: Array) -> None:
    """1 / (1 + e^-x)."""
    for i in range(x.size):
        y[i] = sigmoid(x[i])


@kernel
def tanh_forward(x: Array, y: Array) -> None:
    """Hyperbolic tangent."""
    for i in range(x.size):
        y[i] = tanh(x[i])


@kernel
def silu(x: Array, y: Array) -> None:
    """x * sigmoid(x), also called swish."""
    for i in range(x.size):
        y[i] = x[i] * sigmoid(x[i])


@kernel
def softplus_forward(x: Array, y: Array) -> None:
    """log(1 + e^x)."""
    for i in range(x.size):
        y[i] = softplus(x[i])


@kernel
def gelu(x: Array, y: Array) -> None:
    """x times the normal distribution function of x."""
    half, one, sqrt_half = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(_SQRT_HALF)
    for i in range(x.size):
        y[i] = gelu_of(x[i], half, one, sqrt_half)


@kernel
def gelu_with_slope(x: Array, y: Array, slope: Array) -> None:
    """`gelu`, and its derivative."""
    half, one, sqrt_half = x.dtype.type(0.5), x.dtype.type(1), x.dtype.type(_SQRT_HALF)
    density = x.dtype.type(_INVERSE_SQRT_2_PI)
    for i in range(x.size):
        v = x[i]
        level = one + erf(v * sqrt_half)
        y[i] = (half * v) * level
        slope[i] = half * level + v * (density * exp(-half * (v * v)))


@kernel
def gelu_tanh(x: Array, y: Array) -> None:
    """gelu by its tanh approximation."""
    scale, cubic = x.dtype.type(2 * _SQRT_2_OVER_PI), x.dtype.type(_GELU_CUBIC)
    for i in range(x.size):
        y[i] = gelu_tanh_of(x[i], scale, cubic)


# Gradients


@kernel
def relu_gradient(y: Array, dy: Array, dx: Array) -> None:
    """dy where y > 0, else 0."""
    zero = y.dtype.type(0)
    for i in range(y.size):
        dx[i] = dy[i] if y[i] > zero else zero


@kernel
def leaky_relu_gradient(y: Array, dy: Array, slope: float, dx: Array) -> None:
    """dy where y > 0, else slope * dy; for slope > 0."""
    zero, slope_ = y.dtype.type(0), y.dtype.type(slope)
    for i in range(y.size):
        dx[i] = dy[i] if y[i] > zero else slope_ * dy[i]


@kernel
def elu_gradient(y: Array, dy: Array, alpha: float, dx: Array) -> None:
    """dy where y > 0, else dy * (y + alpha)."""
    zero, alpha_ = y.dtype.type(0), y.dtype.type(alpha)
    for i in range(y.size):
        dx[i] = dy[i] if y[i] > zero else dy[i] * (y[i] + alpha_)


@kernel
def sigmoid_gradient(y: Array, dy: Array, dx: Array) -> None:
    """dy * y * (1 - y)."""
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dy[i] * (y[i] * (one - y[i]))


@kernel
def tanh_gradient(y: Array, dy: Array, dx: Array) -> None:
    """dy * (1 - y^2)."""
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dy[i] * (one - y[i] * y[i])


@kernel
def silu_gradient(x: Array, dy: Array, dx: Array) -> None:
    """dy * s * (1 + x * (1 - s)), s = sigmoid(x)."""
    one = x.dtype.type(1)
    for i in range(x.size):
        s = sigmoid(x[i])
        dx[i] = dy[i] * (s * (one + x[i] * (one - s)))


@kernel
def softplus_gradient(x: Array, dy: Array, dx: Array) -> None:
    """dy * sigmoid(x)."""
    for i in range(x.size):
        dx[i] = dy[i] * sigmoid(x[i])


@kernel
def gelu_gradient(x: Array, dy: Array, dx: Array) -> None:
    """dy * (Phi(x) + x * phi(x)) with the normal distribution function and density."""
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    sqrt_half, density = x.dtype.type(_SQRT_HALF), x.dtype.type(_INVERSE_SQRT_2_PI)
    for i in range(x.size):
        v = x[i]
        dx[i] = dy[i] * (half * (one + erf(v * sqrt_half)) + v * (density * exp(-half * (v * v))))


@kernel
def gelu_tanh_gradient(x: Array, dy: Array, dx: Array) -> None:
    """Gradient of the tanh approximation."""
    zero, one, three = x.dtype.type(0), x.dtype.type(1), x.dtype.type(3)
    scale, cubic = x.dtype.type(2 * _SQRT_2_OVER_PI), x.dtype.type(_GELU_CUBIC)
    for i in range(x.size):
        v = x[i]
        u = scale * (v + cubic * (v * v * v))
        # s = sigmoid(u) and s (1 - s), both accurate where they are small
        e = exp(-abs(u))
        inverse = one / (one + e)
        s = e * inverse if u < zero else inverse
        slope = scale * (one + three * cubic * (v * v))
        dx[i] = dy[i] * (s + v * ((e * inverse) * inverse * slope))


# Bias


@kernel
def bias_add(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """x + bias, the bias along the last axis."""
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = x_BO[b, o] + bias_O[o]


@kernel
def bias_relu(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """relu(x + bias)."""
    zero = x_BO.dtype.type(0)
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = relu_of(x_BO[b, o] + bias_O[o], zero)


@kernel
def bias_leaky_relu(x_BO: Array, bias_O: Array, slope: float, y_BO: Array) -> None:
    """leaky_relu(x + bias)."""
    zero, slope_ = x_BO.dtype.type(0), x_BO.dtype.type(slope)
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = leaky_relu_of(x_BO[b, o] + bias_O[o], slope_, zero)


@kernel
def bias_elu(x_BO: Array, bias_O: Array, alpha: float, y_BO: Array) -> None:
    """elu(x + bias)."""
    zero, alpha_ = x_BO.dtype.type(0), x_BO.dtype.type(alpha)
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = elu_of(x_BO[b, o] + bias_O[o], alpha_, zero)


@kernel
def bias_sigmoid(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """sigmoid(x + bias)."""
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = sigmoid(x_BO[b, o] + bias_O[o])


@kernel
def bias_tanh(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """tanh(x + bias)."""
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = tanh(x_BO[b, o] + bias_O[o])


@kernel
def bias_silu(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """silu(s) with s = x + bias."""
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            s = x_BO[b, o] + bias_O[o]
            y_BO[b, o] = s * sigmoid(s)


@kernel
def bias_gelu(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """gelu(s) with s = x + bias."""
    half, one, sqrt_half = x_BO.dtype.type(0.5), x_BO.dtype.type(1), x_BO.dtype.type(_SQRT_HALF)
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            s = x_BO[b, o] + bias_O[o]
            y_BO[b, o] = gelu_of(s, half, one, sqrt_half)


@kernel
def bias_gelu_with_slope(x_BO: Array, bias_O: Array, y_BO: Array, slope_BO: Array) -> None:
    """`gelu_with_slope` of s = x + bias."""
    half, one, sqrt_half = x_BO.dtype.type(0.5), x_BO.dtype.type(1), x_BO.dtype.type(_SQRT_HALF)
    density = x_BO.dtype.type(_INVERSE_SQRT_2_PI)
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            v = x_BO[b, o] + bias_O[o]
            level = one + erf(v * sqrt_half)
            y_BO[b, o] = (half * v) * level
            slope_BO[b, o] = half * level + v * (density * exp(-half * (v * v)))


@kernel
def bias_gelu_tanh(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """gelu by its tanh approximation, of s = x + bias."""
    scale, cubic = x_BO.dtype.type(2 * _SQRT_2_OVER_PI), x_BO.dtype.type(_GELU_CUBIC)
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            s = x_BO[b, o] + bias_O[o]
            y_BO[b, o] = gelu_tanh_of(s, scale, cubic)


@kernel
def bias_softplus(x_BO: Array, bias_O: Array, y_BO: Array) -> None:
    """softplus(x + bias)."""
    for b in range(x_BO.shape[0]):
        for o in range(x_BO.shape[1]):
            y_BO[b, o] = softplus(x_BO[b, o] + bias_O[o])
