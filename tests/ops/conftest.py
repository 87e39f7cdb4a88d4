"""How tests of ops are run."""

from tests.support.compiling import quickly as quickly
