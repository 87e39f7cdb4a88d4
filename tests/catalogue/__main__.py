"""`python -m tests.catalogue`: the wrong rules caught, the right functions accused."""

import argparse
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import jax

from tests.catalogue.entry import families
from tests.catalogue.trial import JUDGES, verifier

INTRODUCTION = """\
# The verifier on trial

A verifier is worth what it catches, and what it lets pass. This catalogue holds
derivative rules with a known fault, some rebuilt after bugs that libraries shipped, and
correct functions that are hard on a judge: badly scaled, cancelling, at kinks and poles,
in low precision, third-party. The table is made by

```text
python -m tests.catalogue --seeds 20 --markdown
```

with `verify.check_vjp(f, *args, reference=...)` and, beside it, with
`jax.test_util.check_grads(f, args, order=2)`: asked for reverse mode alone, and left to its
defaults, which take forward mode as well and so raise on every `custom_vjp`.
`check_grads` gets no reference, as it takes none. The verifier has to be right about an
entry for each of 20 seeds of its arguments; `check_grads` is asked once. The entries are in
`tests/catalogue`, each with a note on its fault or its difficulty, and all are part of the
test suite."""


def main(argv=None) -> int:
    """Print the tables; return 1 if a wrong rule passes or a right one does not."""
    parser = argparse.ArgumentParser(prog="python -m tests.catalogue", description=__doc__)
    parser.add_argument("family", nargs="*", help="default: all")
    parser.add_argument("--seeds", type=int, default=1, help="how many, for the verifier")
    parser.add_argument("--alone", action="store_true", help="leave check_grads out")
    parser.add_argument("--markdown", action="store_true", help="the page of the docs")
    options = parser.parse_args(argv)
    judges = {"check_vjp": verifier} if options.alone else JUDGES
    start = time.perf_counter()
    mistakes: list[str] = []
    tables = []
    for kind in ("wrong", "right"):
        rows = [
            (family, *try_family(kind, family, entries, judges, options.seeds, mistakes))
            for family, entries in families(kind).items()
            if not options.family or family in options.family
        ]
        tables.append((kind, rows))
    if options.markdown:
        print(INTRODUCTION)
    for kind, rows in tables:
        print_table(kind, rows, list(judges), options.markdown)
    seeds = f"{options.seeds} seed{'s' * (options.seeds != 1)}"
    print(f"\nWith JAX {jax.__version__}, over {seeds} of arguments.")
    print(f"Took {time.perf_counter() - start:.0f} s.", file=sys.stderr)
    for mistake in mistakes:
        print(mistake, file=sys.stderr)
    return 1 if mistakes else 0


def try_family(kind, family, entries, judges, seeds, mistakes):
    """How many entries there are, and how many each judge raises the alarm at."""

    def alarms(entry):
        counts = []
        for judge in judges.values():
            found = judge(entry, seeds, kind == "wrong")
            counts.append(any(found) if kind == "right" else all(found))
            if judge is verifier:
                for seed, alarm in enumerate(found):
                    if alarm != (kind == "wrong"):
                        mistakes.append(f"{kind}: {family}.{entry.name}, seed {seed}")
        return counts

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        table = list(pool.map(alarms, entries))
    print(f"{kind} {family}: {len(entries)}", file=sys.stderr)
    return [len(entries), *map(sum, zip(*table, strict=True))]


def print_table(kind, rows, judges, markdown):
    """A line a family and the sums, in plain text or Markdown."""
    title = {"wrong": "Wrong rules, caught", "right": "Right functions, false alarms"}[kind]
    rows = [(family.replace("_", " "), *counts) for family, *counts in rows]
    sums = ("all", *(sum(row[i] for row in rows) for i in range(1, len(judges) + 2)))
    head = ("", "entries", *judges)
    if markdown:
        print(f"\n## {title}\n\n| {' | '.join(head)} |\n|---|{'--:|' * (len(judges) + 1)}")
        for row in rows:
            print(f"| {' | '.join(map(str, row))} |")
        print("| " + " | ".join(f"**{cell}**" for cell in sums) + " |")
        return
    first = max(len(row[0]) for row in [*rows, sums])
    print(f"\n{title}:\n{'':{first}} " + "  ".join(head[1:]))
    for row in [*rows, sums]:
        cells = (str(c).rjust(len(h)) for c, h in zip(row[1:], head[1:], strict=True))
        print(f"{row[0]:{first}} " + "  ".join(cells))


if __name__ == "__main__":
    sys.exit(main())
