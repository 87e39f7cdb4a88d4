"""Complex numbers between real ones."""

import jax.numpy as jnp

from tests.catalogue.entry import Entry, rule
from tests.catalogue.right import normal, uniform


def low_pass(x, response):
    """Multiply the spectrum of each row by a real response."""
    return jnp.fft.irfft(jnp.fft.rfft(x) * response, x.shape[-1])


def low_pass_bwd(residuals, dy):
    x, response = residuals
    n = x.shape[-1]
    weight = jnp.where(jnp.arange(n // 2 + 1) % (n // 2) == 0, 1, 2) / n
    product = jnp.fft.rfft(x).conj() * jnp.fft.rfft(dy)
    return low_pass(dy, response), (weight.astype(x.dtype) * product.real).sum(0)


low_pass_rule = rule(low_pass, low_pass_bwd)


def low_pass_reference(x, response):
    """A circulant matrix."""
    n = x.shape[-1]
    k, weight = jnp.arange(n // 2 + 1), jnp.array([1.0, 2.0, 2.0, 2.0, 1.0], x.dtype)
    angle = 2 * jnp.pi * (k[:, None] * jnp.arange(n) % n).astype(x.dtype) / n
    kernel = (weight[:, None] * response[:, None] * jnp.cos(angle)).sum(0) / n
    shift = (jnp.arange(n)[:, None] - jnp.arange(n)) % n
    return x @ jnp.take(kernel, shift)


def spectrum(x):
    return abs(jnp.fft.fft(x)) ** 2


def spectrum_bwd(residuals, dy):
    (x,) = residuals
    return (2 * x.shape[-1] * jnp.fft.ifft(dy * jnp.fft.fft(x)).real,)


spectrum_rule = rule(spectrum, spectrum_bwd)


def spectrum_reference(x):
    n = x.shape[-1]
    angle = 2 * jnp.pi * (jnp.arange(n)[:, None] * jnp.arange(n) % n).astype(x.dtype) / n
    return (x @ jnp.cos(angle)) ** 2 + (x @ jnp.sin(angle)) ** 2


ENTRIES = [
    Entry(
        "low_pass_filter",
        "Complex spectra between real arguments and outputs; the reference is a matrix.",
        low_pass_rule,
        lambda rng: (normal(rng, 3, 8), uniform(rng, 0, 1, 5)),
        low_pass_reference,
    ),
    Entry(
        "power_spectrum",
        "The square of complex numbers.",
        spectrum_rule,
        lambda rng: (normal(rng, 2, 8),),
        spectrum_reference,
    ),
]
