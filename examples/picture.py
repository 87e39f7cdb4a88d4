"""The picture of a run: its curves, what the first layer looks for, what was misread."""

from pathlib import Path

import digits
import jax
import numpy as np
from matplotlib import rc_context, ticker
from matplotlib.figure import Figure

from funcnn import train
from funcnn.layers import Layer

INK, FAINT, RED = "#22223b", "#8d8da3", "#b3261e"
COLOURS = {"MLP": "#e08e0b", "CNN": "#2a6fbb", "ViT": "#2e8b6f"}
TITLE = {"x": 0.01, "ha": "left", "fontsize": 10.5, "fontweight": "bold"}
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.color": "#ececf2",
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
    "lines.linewidth": 1.6,
}


def draw(
    path: str,
    histories: dict[str, train.History],
    filters: np.ndarray,
    test: digits.Split,
    logits: jax.Array,
):
    """Write a PNG.

    Args:
        path: where to; its folder is made if need be.
        histories: of each model, by its name.
        filters: the last model's first weight, of shape (height, width, 1, features).
        test: the digits held back.
        logits: what the last model made of them.
    """
    with rc_context(STYLE):
        figure = Figure(figsize=(11, 7), layout="constrained")
        top, bottom = figure.subfigures(2, 1, hspace=0.05)
        curves(top.subplots(1, 3), histories)
        left, right = bottom.subfigures(1, 2, width_ratios=[1, 2], wspace=0.04)
        draw_filters(left, [*histories][-1], np.asarray(filters))
        draw_digits(right, test, np.asarray(jax.nn.softmax(logits)))
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)


def tell_and_draw(
    path: str,
    name: str,
    model: Layer,
    params,
    history: train.History,
    filters: np.ndarray,
    test: digits.Split,
):
    """Print how well one model reads the digits held back, and draw its run."""
    print(digits.verdict(history.eval_metrics["test"][-1], len(test.labels)))
    logits = jax.jit(model.apply)(params, test.images)
    draw(path, {name: history}, filters, test, logits)
    print(f"Picture: {path}")


def curves(axes, histories):
    """Loss and gradient norm of each step, and accuracies."""
    titles = ["Loss", "Gradient norm", "Accuracy, %"]
    for ax, title in zip(axes, titles, strict=True):
        ax.set(title=title, xlabel="step")
        ax.margins(x=0.02)
    for name, history in histories.items():
        colour = COLOURS[name]
        for ax, metric in zip(axes, ["loss", "grad_norm"], strict=False):
            values = history.metrics[metric]
            ax.plot(history.step, values, color=colour, alpha=0.2, linewidth=0.7)
            ax.plot(history.step, smooth(values), color=colour, label=name)
        for split, words, line in [
            ("train", "trained on", ":"),
            ("test", "held back", "-"),
        ]:
            percent = 100 * history.eval_metrics[split]
            label = f"{name}, {words}: {percent[-1]:.1f}"
            axes[2].plot(history.eval_step, percent, line, color=colour, label=label)
    least = digits.least_loss()
    axes[0].axhline(least, color=FAINT, linestyle="--", linewidth=1)
    axes[0].annotate(
        f"{least:.2f}, the least that smoothed labels allow",
        (1, least),
        (0, -3),
        xycoords=("axes fraction", "data"),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8,
        color=FAINT,
    )
    for ax in axes[:2]:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(ticker.LogLocator(subs=[1, 2, 5]))
        ax.yaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
        ax.yaxis.set_minor_formatter(ticker.NullFormatter())
        ax.legend(loc="upper right")
    axes[0].set_ylim(bottom=0.8 * least)
    last = min(h.eval_metrics["test"][-1] for h in histories.values())
    axes[2].set_ylim(90 if last > 0.95 else 0, 100.2)
    axes[2].legend(loc="lower right")


def smooth(values, share=0.025):
    """Geometric mean over neighbours: as many before as after, until there are fewer."""
    n = len(values)
    sums = np.cumsum([0.0, *np.log(np.maximum(values, 1e-12))])
    i = np.arange(n)
    reach = np.minimum(i, round(share * n))
    low, high = i - reach, np.minimum(i + reach + 1, n)
    return np.exp((sums[high] - sums[low]) / (high - low))


def draw_filters(figure, name, filters, columns=8):
    """All filters as one mosaic, with gaps between them."""
    height, width, _, count = filters.shape
    rows, gap_y, gap_x = -(-count // columns), 2, 1
    pitch_y, pitch_x = height + gap_y, width + gap_x
    mosaic = np.full((rows * pitch_y - gap_y, columns * pitch_x - gap_x), np.nan)
    for i in range(count):
        y, x = i // columns * pitch_y, i % columns * pitch_x
        mosaic[y : y + height, x : x + width] = filters[:, :, 0, i]
    figure.suptitle(f"The {name}'s first {count} filters", **TITLE)
    ax = figure.subplots()
    limit = np.abs(filters).max()
    image = ax.imshow(mosaic, cmap="BrBG", vmin=-limit, vmax=limit)
    ax.set_axis_off()
    bar = figure.colorbar(
        image, ax=ax, location="bottom", shrink=0.8, aspect=30, panchor=(0.5, 0.9)
    )
    bar.outline.set_visible(False)
    bar.set_label("weight: paper here (brown) or ink (green)")


def draw_digits(figure, test, probabilities, rows=2, columns=6):
    """The digits misread, the surest first; then the others, the least sure first."""
    predicted, sure = probabilities.argmax(-1), probabilities.max(-1)
    wrong = predicted != test.labels
    order = np.lexsort([np.where(wrong, -sure, sure), ~wrong])
    misses, cells = int(wrong.sum()), rows * columns
    words = f"{misses} of {len(wrong)} digits held back were misread (red)"
    if misses > cells:
        words += f": the {cells} surest"
    elif misses < cells:
        words += "; of the others, the least sure"
    figure.suptitle(words, **TITLE)
    for ax, i in zip(figure.subplots(rows, columns).flat, order, strict=False):
        ax.imshow(test.images[i, :, :, 0], cmap="Greys", vmin=0, vmax=1)
        ax.set(xticks=[], yticks=[])
        ax.grid(False)
        colour = RED if wrong[i] else INK
        for spine in ax.spines.values():
            spine.set(visible=True, color=RED if wrong[i] else FAINT, linewidth=1.3)
        weight = "bold" if wrong[i] else "normal"
        verdict = f"{test.labels[i]} read as {predicted[i]}"
        ax.set_title(verdict, loc="center", size=9, color=colour, weight=weight, pad=4)
        ax.set_xlabel(f"{sure[i]:.0%} sure", labelpad=3)
