"""Programs of examples are compiled quickly: what they compute is what is tested."""

from tests.support.compiling import quickly as quickly
