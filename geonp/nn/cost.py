"""What a block costs: operations and activations, as a function of the image's size."""

from __future__ import annotations

from dataclasses import dataclass

FLOAT = 4


@dataclass(frozen=True)
class Cost:
    """The cost of one forward pass of one image in single precision.

    Only convolutions and matrix products are counted; what is done pixel by pixel between them (activation,
    softmax, sum) is not.

    Parameters
    ----------
    flops : floating-point operations; a multiplication and an addition are two.
    bytes : size of all that the convolutions and products write. Training keeps it until the backward pass,
        beside about as much from the steps between them.
    maps : the part of `bytes` that is attention weights before the softmax. Where a fused kernel does the
        attention (`multihead`), it is never written.
    """

    flops: int = 0
    bytes: int = 0
    maps: int = 0

    def __add__(self, other: Cost) -> Cost:
        """Return the cost of both."""
        return Cost(self.flops + other.flops, self.bytes + other.bytes, self.maps + other.maps)

    def __mul__(self, times: int) -> Cost:
        """Return the cost of doing it `times` times."""
        return Cost(self.flops * times, self.bytes * times, self.maps * times)


def convolution(inputs: int, outputs: int, kernel: int, height: int, width: int, groups: int = 1) -> Cost:
    """Return the cost of a convolution with square kernels: 2 k^2 C_in C_out / groups operations a pixel.

    Parameters
    ----------
    inputs, outputs : channels.
    kernel : side of the kernel in pixels.
    height, width : of the output.
    groups : groups of channels that do not see each other.
    """
    pixels = height * width
    return Cost(2 * pixels * kernel * kernel * inputs * outputs // groups, FLOAT * pixels * outputs)


def doubling(inputs: int, outputs: int, kernel: int, height: int, width: int) -> Cost:
    """Return the cost of a transposed convolution of stride 2: `height` x `width` pixels become 4 times as many.

    The kernel is applied once a pixel of the input, from `inputs` channels to `outputs`.
    """
    once = convolution(inputs, outputs, kernel, height, width)
    return Cost(once.flops, 4 * once.bytes)


def product(rows: int, inner: int, columns: int, batch: int = 1) -> Cost:
    """Return the cost of `batch` products of matrices (rows, inner) and (inner, columns)."""
    return Cost(2 * batch * rows * inner * columns, FLOAT * batch * rows * columns)


def attention(queries: int, keys: int, depth: int, values: int, batch: int = 1) -> Cost:
    """Return the cost of `batch` maps of weights (queries, keys) and the sums that they weight.

    Parameters
    ----------
    queries, keys : how many there are.
    depth, values : channels of a query or key, and of a value.
    """
    scores = product(queries, depth, keys, batch)
    sums = product(queries, keys, values, batch)
    return Cost(scores.flops + sums.flops, scores.bytes + sums.bytes, scores.bytes)
