"""How tests of kernels are run."""

from tests.support.compiling import quickly as quickly
