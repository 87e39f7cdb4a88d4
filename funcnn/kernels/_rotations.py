"""Comes in: the options of rotary embeddings. Goes out: the same checked."""

from funcnn.foundation._checks import boolean, integer, number

FORMS = {"ntk": 1, "llama3": 4}  # numbers after the name


def checked(op, width, base, features, interleaved, scaling):
    """Base, features that are turned of so many (None if not known), pairing and scaling.

    Raises:
        TypeError: if one has the wrong type.
        ValueError: if a number is out of range or odd, or there is no such scaling.
    """
    base = number(op, "base", base, low=1.0)
    boolean(op, "interleaved", interleaved)
    if features is not None:
        features = integer(op, "features", features, minimum=0)
        if features % 2 or (width is not None and features > width):
            most = "" if width is None else f" of at most {width}"
            raise ValueError(
                f"{op} needs an even number of features{most} to turn; got {features}."
            )
    return base, width if features is None else features, interleaved, scaled(op, scaling)


def scaled(op, scaling):
    """The scaling, its numbers Python's."""
    if scaling is None:
        return None
    if not isinstance(scaling, tuple | list):
        return number(op, "scaling", scaling, low=1.0)
    kind, *numbers = scaling or ("none",)
    if FORMS.get(kind) != len(numbers):
        raise ValueError(
            f'{op} needs a scaling of a factor, ("ntk", factor) or ("llama3", factor, low, '
            f"high, length); got {scaling!r}."
        )
    factor = number(op, "scaling", numbers[0], low=1.0)
    low, high, length = (
        number(op, "scaling", n, low=0.0) for n in numbers[1:] or (0, 1, 1)
    )
    if low >= high:
        raise ValueError(
            f"{op} needs a scaling whose low is below its high; got {scaling!r}."
        )
    return (kind, factor, low, high, length) if kind == "llama3" else (kind, factor)
