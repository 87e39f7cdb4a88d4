"""Shapes of arguments that must fit each other, or an error that names them and the op."""


def same_shape(op, **arrays):
    """Check that two arrays have the same shape.

    Raises:
        ValueError: naming both, if they have not.
    """
    (one, a), (other, b) = arrays.items()
    if a.shape != b.shape:
        raise ValueError(
            f"{op} needs {one} and {other} of the same shape; got {a.shape} and {b.shape}."
        )


def affine(op, x, weight, bias, m="m", n="n"):
    """Check that `x: (..., m)`, `weight: (m, n)` and `bias: (n,)` or None fit.

    Raises:
        ValueError: if they do not.
    """
    if x.ndim < 1 or weight.ndim != 2 or x.shape[-1] != weight.shape[0]:
        needed = f"({x.shape[-1]}, {n})" if x.ndim else f"({m}, {n})"
        raise ValueError(
            f"{op} needs x of shape (..., {m}) and weight of shape ({m}, {n}), here "
            f"{needed}; got x {x.shape} and weight {weight.shape}."
        )
    fitting_bias(op, weight, bias)


def fitting_bias(op, weight, bias):
    """Check that `bias`, or None, has a number for each of the last axis of `weight`.

    Raises:
        ValueError: if it has not.
    """
    if bias is not None and bias.shape != weight.shape[-1:]:
        raise ValueError(
            f"{op} needs bias of shape {weight.shape[-1:]} for weight of shape "
            f"{weight.shape}; got {bias.shape}."
        )


def scale_and_offset(op, x, scale, offset, d="d"):
    """Check that `scale` and `offset` have a number for each of the last axis of `x`.

    Raises:
        ValueError: if they have not.
    """
    if not x.ndim or not x.shape[-1:] == scale.shape == offset.shape:
        raise ValueError(
            f"{op} needs scale and offset of shape {x.shape[-1:] or f'({d},)'} for x "
            f"of shape {x.shape}; got scale {scale.shape} and offset {offset.shape}."
        )
