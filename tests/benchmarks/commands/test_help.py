"""`python -m benchmarks NAME --help`."""

import pytest

from benchmarks import __main__ as command


@pytest.mark.parametrize("name", ["ops", "steps", "optim", "attention", "page"])
def test_help_fits_80_columns(name, monkeypatch, capsys):
    if name == "page":
        pytest.importorskip("matplotlib", reason="the picture is drawn by matplotlib")
    monkeypatch.setenv("COLUMNS", "80")
    with pytest.raises(SystemExit):
        command.main([name, "--help"])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 80
