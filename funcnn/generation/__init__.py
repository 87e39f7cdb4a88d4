"""Text from a language model, a token at a time.

    model = layers.Transformer(1000, 64, heads=4, depth=2)
    prompt = jnp.array([[1, 2, 3]])
    params = model.init(key, prompt)
    ids = generation.generate(model, params, prompt, key, steps=5, top_p=0.9)

Any layer will do that takes ids of shape `(B, T)`, and `cache=` as `layers.Transformer`
does.
"""

from funcnn.generation._generate import generate as generate
from funcnn.generation._sample import sample as sample
