"""Functions and exceptions, named in sentences."""


def said(error) -> str:
    """An exception's type and what it says, for a sentence."""
    return f"{type(error).__name__}: {first_line(error)}".rstrip(". ")


def title(f) -> str:
    """What a function is called."""
    while not hasattr(f, "__name__") and hasattr(f, "func"):  # a functools.partial
        f = f.func
    return str(getattr(f, "__name__", type(f).__name__))


def first_line(error) -> str:
    """What an exception says, in brief."""
    return next(iter(str(error).strip().splitlines()), "")
