"""A function in, the same out as XLA's program: compiled fast, or to run fast."""

import contextlib
import functools

import jax

# Small programs run once: compile them fast rather than well.
OPTIONS: dict[str, str | bool] = {
    "xla_backend_optimization_level": "0",
    "xla_llvm_disable_expensive_passes": True,
    "xla_cpu_parallel_codegen_split_count": "1",
    "xla_cpu_use_fusion_emitters": False,
}


@functools.cache
def supported_options():
    """Those of the compiler's options that this version of it has."""
    trivial = jax.jit(lambda: 0).lower()
    supported: dict[str, str | bool] = {}
    for name, value in OPTIONS.items():
        with contextlib.suppress(jax.errors.JaxRuntimeError):
            trivial.compile(compiler_options={name: value})
            supported[name] = value
    return supported


def jit(f, large=False):
    """Compile `f` in little time, or, for `large` arrays, to run in little time."""
    return jax.jit(f, compiler_options={} if large else supported_options())
