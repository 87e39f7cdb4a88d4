"""Scalar losses: means of the ops over all examples, and accuracy.

The mean over an empty batch, or over examples none of which counts, is 0, with gradients of
0, so that a batch which happens to hold nothing leaves no NaN in the params.

A mean of means is not the mean: of a batch in parts, each with another number of examples
that count, it is another number, with another gradient. Where a batch is in parts, let a
loss return `Average(total, count)`, which every loss here gives with `parts=True`:

    def loss(params, batch, key):
        ids, labels = batch
        logits = model.apply(params, ids, key=key)
        return losses.softmax_cross_entropy(logits, labels, ignore=-1, parts=True)

`train.make_step` takes it in place of a number, adds up both over microbatches, and
divides once; `optim.accumulate` does so over steps, and `train.evaluator` over batches.
"""

from funcnn.losses._average import Average as Average
from funcnn.losses._classes import accuracy as accuracy
from funcnn.losses._classes import cross_entropy as cross_entropy
from funcnn.losses._classes import (
    linear_softmax_cross_entropy as linear_softmax_cross_entropy,
)
from funcnn.losses._classes import softmax_cross_entropy as softmax_cross_entropy
from funcnn.losses._elements import binary_cross_entropy as binary_cross_entropy
from funcnn.losses._elements import mse as mse
