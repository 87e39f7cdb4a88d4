"""Checks on eight devices, which are a matter of the whole process: all in one of them.

`python -m tests.support.on_devices FOLDER` makes each check, of which every module with a
`main` is one, and prints a line of JSON for each: its name, and what went wrong, or null.
With `--thorough`, all there is to check is.
"""

from pathlib import Path


def checks():
    """The names of the modules that are checks."""
    files = Path(__file__).parent.glob("[!_]*.py")
    return sorted(p.stem for p in files if "\ndef main(" in p.read_text())
