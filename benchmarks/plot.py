"""The ratios as bars: groups of ops on the left, training steps on the right."""

from collections.abc import Sequence
from pathlib import Path

from matplotlib import rc_context, ticker
from matplotlib.figure import Figure

from benchmarks.ops.cases import KINDS
from benchmarks.ops.summary import GOALS, summarise
from benchmarks.results import Row
from benchmarks.steps.race import PEERS

INK, FAINT = "#22223b", "#8d8da3"
# Told apart by most eyes (Okabe & Ito, 2008), and in grey by their lightness.
COLOURS = {
    "forward": "#b8c4d6",
    "vjp": "#0072b2",
    "filter": "#e69f00",
    "input": "#56b4e9",
    "flax": "#0072b2",
    "equinox": "#56b4e9",
    "haiku": "#e69f00",
    "pytorch": "#d55e00",
}
STYLE = {
    "font.size": 9,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": FAINT,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "xtick.color": FAINT,
    "ytick.color": FAINT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "legend.frameon": False,
}
CLOSE = 1.6  # a goal this much beyond a bar would cross the number beside it
HEIGHT = 0.8  # of a group's bars together, of what it has room for


def draw(path, ops: Sequence[Row], steps: Sequence[Row]) -> None:
    """Write a PNG of the means of groups of ops, and of each model's ratios."""
    lines = summarise(ops)
    groups: dict[str, dict[str, float]] = {}
    for line in lines:
        groups.setdefault(line.group, {})[line.kind] = line.mean
    models: dict[str, dict[str, float]] = {}
    for row in steps:
        models.setdefault(row.case, {})[row.kind] = row.ratio
    panels = [
        ("Ops, against autodiff of the plain formulation", groups, KINDS),
        ("Training steps, against other libraries", models, tuple(PEERS)),
    ]
    panels = [panel for panel in panels if panel[1]]
    tallest = max(sum(map(len, bars.values())) + len(bars) for _, bars, _ in panels)
    with rc_context(STYLE):
        size = (5.5 * len(panels), 1.2 + 0.16 * tallest)
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(1, len(panels), squeeze=False)[0]
        for ax, (title, bars, kinds) in zip(axes, panels, strict=True):
            draw_panel(ax, bars, kinds)
            ax.set_title(title)
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=130)


def draw_panel(ax, bars, kinds):
    """A cluster of bars for each name, one below the other, from 1 to the ratio."""
    labelled = set()
    top, ticks = 0.0, []
    for name, ratios in bars.items():
        found = [kind for kind in kinds if kind in ratios]
        for i, kind in enumerate(found):
            y, ratio = top + i, ratios[kind]
            label = None if kind in labelled else kind
            labelled.add(kind)
            ax.barh(y, ratio - 1, HEIGHT, 1, color=COLOURS[kind], label=label)
            goal = GOALS.get((name, kind), 0)
            beside = goal if ratio <= goal < CLOSE * ratio else ratio
            ax.annotate(
                f"{ratio:.2f}",
                (beside, y),
                (3 if ratio >= 1 else -3, 0),
                textcoords="offset points",
                ha="left" if ratio >= 1 else "right",
                va="center",
                fontsize=6.5,
            )
            if goal:
                label = None if "goal" in labelled else "goal"
                labelled.add("goal")
                ends = y - HEIGHT / 2, y + HEIGHT / 2
                ax.vlines(goal, *ends, color=INK, linewidth=1.6, label=label)
        ticks.append(top + (len(found) - 1) / 2)
        top += len(found) + 1
    ax.axvline(1, color=INK, linewidth=0.8)
    ax.set_yticks(ticks, list(bars))
    ax.set_ylim(top - 1, -1)
    ax.tick_params(axis="y", length=0)
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(ticker.LogLocator(subs=[1, 2, 5]))
    ax.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:g}"))
    ax.xaxis.set_minor_formatter(ticker.NullFormatter())
    ax.grid(axis="x", color="#ececf2")
    ax.margins(x=0.12)
    ax.set_xlabel("times as fast as the other (log scale)")
    order = [kind for kind in (*kinds, "goal") if kind in labelled]
    handles = dict(zip(*ax.get_legend_handles_labels()[::-1], strict=True))
    ax.legend([handles[kind] for kind in order], order, loc="best")
