"""The picture of the language model: how it learned, and what its heads look at."""

from pathlib import Path

import numpy as np
from matplotlib import rc_context
from matplotlib.figure import Figure
from picture import FAINT, INK, RED, STYLE, TITLE, smooth

from funcnn import train

BLUE = "#2a6fbb"


def draw(
    path: str,
    history: train.History,
    baseline: tuple[int, float],
    maps: np.ndarray,
    pieces: list[str],
):
    """Write a PNG.

    Args:
        path: where to; its folder is made if need be.
        history: of the training, with `bits` per character.
        baseline: its order and its bits per character.
        maps: weights of attention, of shape (blocks, heads, T, T).
        pieces: the T tokens, as text.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 8), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=[1, 1.9], wspace=0.03)
        curves(left.subplots(2, 1), history, baseline)
        draw_maps(right, maps, [visible(p) for p in pieces])
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)


def curves(axes, history, baseline):
    """Bits per character of what is held back, and the loss of each step."""
    order, bar = baseline
    bits = history.eval_metrics["bits"]
    top, bottom = axes
    top.set(title="Held back, bits a character", xlabel="step")
    top.plot(
        history.eval_step, bits, ".-", color=BLUE, label=f"transformer: {bits[-1]:.3f}"
    )
    label = f"Kneser-Ney, order {order}: {bar:.3f}"
    top.axhline(bar, color=RED, linestyle="--", linewidth=1, label=label)
    high = max(bits[-1], min(bits.max(), 3.5))
    top.set_ylim(min(bar, bits.min()) - 0.1, high + 0.1)
    top.legend(loc="upper right")
    bottom.set(title="Loss in training, bits a token", xlabel="step")
    values = history.metrics["loss"] / np.log(2)
    bottom.plot(history.step, values, color=BLUE, alpha=0.2, linewidth=0.7)
    bottom.plot(history.step, smooth(values), color=BLUE)


def draw_maps(figure, maps, labels):
    """Of each of four blocks, the head that spreads its attention least."""
    figure.suptitle(
        "Attention: each row is a token, and dark are those that it reads", **TITLE
    )
    spread = -(maps * np.log(np.maximum(maps, 1e-12))).sum(-1).mean(-1)
    firm = spread.argmin(-1)
    ticks = np.arange(len(labels))
    chosen = [0, len(maps) // 3, 2 * len(maps) // 3, len(maps) - 1]
    for ax, block in zip(figure.subplots(2, 2).flat, chosen, strict=True):
        head = firm[block]
        ax.imshow(maps[block, head] ** 0.5, cmap="Blues", vmin=0, vmax=1)
        ax.set_title(f"block {block + 1}, head {head + 1}", fontweight="normal")
        ax.grid(False)
        small = {"fontsize": 5.5, "family": "monospace", "color": INK}
        ax.set_xticks(ticks, labels, rotation=90, **small)
        ax.set_yticks(ticks, labels, **small)
        ax.tick_params(length=0, pad=1)
        for spine in ax.spines.values():
            spine.set(visible=True, color=FAINT)


def visible(piece):
    """A token with its blanks to be seen, and cut if it is long."""
    piece = piece.replace("\f", "§").replace("\n", "↵").replace(" ", "·")
    piece = "".join(c if c <= "\u22ff" else "□" for c in piece)  # what the font has
    return piece if len(piece) <= 9 else piece[:8] + "…"
