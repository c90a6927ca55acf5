"""Factors of many small matrices, and systems solved with them: by LAPACK on the processor, by torch elsewhere.

NumPy factorises stacks of matrices but has no triangular solve. SciPy's BLAS has one, a matrix at a time; it is called
as the C function that it is, since SciPy's own wrapper keeps all other threads of Python waiting meanwhile.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import lru_cache

import numpy as np
from scipy import LowLevelCallable
from scipy.linalg import blas, cython_blas

from geonp.errors import InputError
from geonp.kriging.arrays import Array, namespace

_MOST_JITTER = 1e-2


def forward(lower: Array, right: Array) -> Array:
    """Return L^-1 R (B, n, m) of lower triangles L (B, n, n) and right-hand sides R (B, n, m) or (1, n, m)."""
    return _substituted(lower, right, transposed=False)


def back(lower: Array, right: Array) -> Array:
    """Return L'^-1 R (B, n, m) of lower triangles L (B, n, n) and right-hand sides R (B, n, m)."""
    return _substituted(lower, right, transposed=True)


def solve(lower: Array, right: Array) -> Array:
    """Return (L L')^-1 R (B, n, m)."""
    return back(lower, forward(lower, right))


def inverse_diagonal(lower: Array) -> Array:
    """Return the diagonals (B, n) of (L L')^-1."""
    xp = namespace(lower)
    n = lower.shape[-1]
    unit = xp.eye(n, dtype=lower.dtype, device=lower.device)[None]
    white = forward(lower, xp.broadcast_to(unit, lower.shape))
    white *= white
    return white.sum(-2)


def try_cholesky(k: Array) -> tuple[Array, Array]:
    """Return lower Cholesky factors of `k` (B, n, n), and which (B,) could not be made."""
    if not isinstance(k, np.ndarray):
        import torch

        lower, info = torch.linalg.cholesky_ex(k)
        return lower, info != 0
    try:
        lower = np.linalg.cholesky(k)
    except np.linalg.LinAlgError:
        lower = np.stack([_cholesky_or_nan(one) for one in k])
    # What is not a number anywhere is in the last element too.
    return lower, ~np.isfinite(lower[:, -1:, -1]).all(1)


def _cholesky_or_nan(k: Array) -> Array:
    try:
        return np.linalg.cholesky(k)
    except np.linalg.LinAlgError:
        return np.full_like(k, np.nan)


def cholesky(k: Array) -> Array:
    """Return lower Cholesky factors of `k` (B, n, n); only those that fail are tried again with jitter.

    Raises
    ------
    InputError
        If a matrix fails with a jitter of 1 % of its largest diagonal element too.
    """
    xp = namespace(k)
    lower, bad = try_cholesky(k)
    jitter = xp.finfo(k.dtype).eps * 64
    while bool(bad.any()):
        (which,) = xp.nonzero(bad)
        if jitter > _MOST_JITTER or not bool(xp.isfinite(k[which]).all()):
            raise InputError(
                f"the covariance of {len(which)} neighbourhood(s) of {k.shape[-1]} points is not positive "
                "definite: check that coordinates and errors are finite, or give the covariance a nugget"
            )
        part = k[which]
        own = diagonals(part)
        own += jitter * xp.max(own, axis=-1, keepdims=True)
        lower[which], bad[which] = try_cholesky(part)
        jitter *= 10
    return lower


def diagonals(k: Array) -> Array:
    """Return a view (..., n) of the diagonals of matrices `k` (..., n, n), to be written to."""
    if isinstance(k, np.ndarray):
        return np.einsum("...ii->...i", k)
    return k.diagonal(dim1=-2, dim2=-1)


def _substituted(lower: Array, right: Array, *, transposed: bool) -> Array:
    if not isinstance(lower, np.ndarray):
        import torch

        matrix = lower.mT if transposed else lower
        return torch.linalg.solve_triangular(matrix, right, upper=transposed)
    out = np.array(np.broadcast_to(right, (len(lower), *right.shape[-2:])), lower.dtype, order="C")
    if out.size:
        _substitute(np.ascontiguousarray(lower), out, transposed)
    return out


def _substitute(lower: Array, out: Array, transposed: bool) -> None:
    """Write L^-1 or L'^-1 times `out` (B, n, m) over it; both arrays in C's order, of one type."""
    name = "dtrsm" if lower.dtype == np.float64 else "strsm"
    function = _of_blas(name)
    if function is None:
        for one, columns in zip(lower, out, strict=True):
            getattr(blas, name)(1.0, one.T, columns.T, side=1, trans_a=transposed, overwrite_b=1)
        return
    # BLAS wants columns: L X = R is X' L' = R', both as they lie in memory, and L' is an upper triangle.
    words = [ctypes.c_char(word) for word in (b"R", b"U", b"T" if transposed else b"N", b"N")]
    columns, rows = ctypes.c_int(out.shape[2]), ctypes.c_int(out.shape[1])
    unit = ctypes.c_double(1.0) if lower.dtype == np.float64 else ctypes.c_float(1.0)
    head = [ctypes.addressof(c) for c in (*words, columns, rows, unit)]
    size, width = ctypes.addressof(rows), ctypes.addressof(columns)
    matrices, solutions = lower.ctypes.data, out.ctypes.data
    for i in range(len(lower)):
        function(*head, matrices + i * lower.strides[0], size, solutions + i * out.strides[0], width)


@lru_cache(maxsize=2)
def _of_blas(name: str) -> Callable[..., None] | None:
    """Return a triangular solve of SciPy's BLAS as a C function; None where its integers are not C's plain ones."""
    callable_ = LowLevelCallable.from_cython(cython_blas, name)
    if callable_.signature.count("int *") != 4:
        return None
    pointer = ctypes.PYFUNCTYPE(ctypes.c_void_p, ctypes.py_object, ctypes.c_char_p)(
        ("PyCapsule_GetPointer", ctypes.pythonapi)
    )
    address = pointer(callable_.function, callable_.signature.encode())
    return ctypes.CFUNCTYPE(None, *[ctypes.c_void_p] * 11)(address)
