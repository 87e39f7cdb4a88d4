"""Byte-pair encoding of a text (Sennrich et al., 2015, arXiv:1508.07909), by `tokenizers`.

As in GPT-2, texts are cut into words first, and pairs are merged within them.
"""

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers


def learn(text: str, characters: list[str], size: int) -> Tokenizer:
    """Return an encoding of at most `size` tokens, made for a text.

    Args:
        text: what pairs are counted in.
        characters: those that texts may hold; each is a token, or several if it is not of
            ASCII, whatever the size.
        size: how many tokens there are to be; fewer if no pair comes twice.
    """
    words = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = {c for word, _ in words.pre_tokenize_str("".join(characters)) for c in word}
    codec = Tokenizer(models.BPE())
    codec.pre_tokenizer = words
    codec.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        min_frequency=2,
        initial_alphabet=sorted(alphabet),
        show_progress=False,
    )
    codec.train_from_iterator([text], trainer)
    return codec


def encode(codec: Tokenizer, text: str) -> np.ndarray:
    """The tokens of a text."""
    return np.array(codec.encode(text).ids, np.int32)


def decode(codec: Tokenizer, ids: np.ndarray) -> str:
    """The text of tokens."""
    return codec.decode(np.asarray(ids).tolist(), skip_special_tokens=False)
