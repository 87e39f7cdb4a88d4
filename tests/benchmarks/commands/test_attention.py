"""`python -m benchmarks attention`: against JAX's and PyTorch's own."""

import pytest

from benchmarks import __main__ as command
from benchmarks.commands import attention
from benchmarks.ops.shapes import parse_shape
from benchmarks.steps import race


@pytest.mark.parametrize(
    "shape",
    ["2,5,4,3 2,5,2,3", "2,5,4,3 2,7,4,3"],
)
@pytest.mark.exhaustive
def test_attention_is_that_of_jax_and_pytorch(shape, plain_jax, monkeypatch, capsys):
    """The numbers are compared by the command itself."""
    causal = "causal=True" if shape.endswith("5,2,3") else ""
    shrink(monkeypatch, shape, causal)
    assert command.main(["attention", "--seconds", "0"]) == 0
    words = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    peers = race.installed(["pytorch"])
    assert words[: 3 + len(peers)] == ["small", "funcnn", "jax", *peers]
    assert command.main(["attention", "--shape", "large"]) == 2
    assert "no shape 'large'; there are small" in capsys.readouterr().err


def test_attention_that_differs_is_seen(plain_jax, monkeypatch, capsys):
    shrink(monkeypatch, "2,5,4,3 2,5,2,3", "causal=True")
    monkeypatch.setattr(attention, "installed", lambda _: [])  # JAX's is enough
    monkeypatch.setattr(attention, "causal", lambda _: False)
    assert command.main(["attention", "--seconds", "0"]) == 1
    out, err = capsys.readouterr()
    assert "wrong: small: 0 differs by" in err
    assert max(map(len, (out + attention.LEGEND).splitlines())) <= 80


def shrink(monkeypatch, shape, options):
    """Let the command have one shape."""
    small = {"small": parse_shape("attention", "small", shape, options)}
    monkeypatch.setattr(attention, "SHAPES", small)
