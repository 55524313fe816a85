"""Conjugate gradients (Hestenes and Stiefel 1952): linear equations whose matrix is known by its products alone."""

from collections.abc import Callable

from torch import Tensor


def solve(
    times: Callable[[Tensor], Tensor], right: Tensor, start: Tensor, diagonal: Tensor, tolerance: float, most: int
) -> Tensor:
    """x with ``times(x) = right``, where ``times`` is symmetric and positive definite.

    ``start``: the first guess. ``diagonal``: of the matrix, the preconditioner (Jacobi's). Ends when the residual,
    divided by the diagonal, is ``tolerance`` times as long as ``right`` likewise, or after ``most`` steps.
    """
    x, residual = start.clone(), right - times(start)
    scaled = residual / diagonal
    direction, square = scaled.clone(), (residual * scaled).sum()
    enough = tolerance**2 * (right * right / diagonal).sum()
    for _ in range(most):
        if square <= enough:
            break
        product = times(direction)
        step = square / (direction * product).sum()
        x += step * direction
        residual -= step * product
        scaled = residual / diagonal
        before, square = square, (residual * scaled).sum()
        direction = scaled + square / before * direction
    return x
