"""Where the time of a training step goes, by the kind of layer that spends it."""

import re
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import jax

from benchmarks.steps.models import Model
from benchmarks.steps.race import Runner, compiled, trainer
from benchmarks.steps.trainer import Trainer

# A kernel is of the first kind of which a part is in the name of the file that it stems
# from, or in that of PyTorch's operator.
PARTS = {
    "optimizer": ("optim", "Optimizer"),
    "convolution": ("conv",),
    "norm": ("norm",),
    "pool": ("pool",),
    "attention": ("attention",),
    "embedding": ("embed",),
    "activation": ("relu", "gelu", "_common", "clamp_min", "threshold"),
    "loss": ("loss", "entropy", "softmax"),
    "dense": ("dense", "mm", "linear"),
}
KINDS = (*PARTS, "other")
STEPS = 10
DEPTH = 100


def profile(library: str, model: Model, params: list[dict]) -> dict[str, float]:
    """Milliseconds of a step by kind, and of the whole under `"step"`.

    What no kernel accounts for, such as allocation and waiting, is under `"other"`.

    Args:
        library: `"funcnn"` or `"pytorch"`.
        model: what is trained.
        params: what it begins with, from `with_funcnn.initial`.
    """
    made = trainer(library, model, params)
    on_jax = library != "pytorch"
    step = told_in_full(made) if on_jax else made.step
    run = Runner(step, made, on_jax)

    def steps():
        start = time.perf_counter()
        for _ in range(STEPS):
            jax.block_until_ready(run())
        return 1e3 * (time.perf_counter() - start) / STEPS

    steps()
    whole, spent = kernels(step.as_text(), steps) if on_jax else operators(steps)
    spent["other"] += whole - sum(spent.values())
    return {"step": whole, **spent}


def told_in_full(made: Trainer) -> Callable:
    """The compiled step, which tells each kernel's source however deep it lies."""
    wanted = {
        "jax_traceback_in_locations_limit": DEPTH,
        # else a program that was compiled before, elsewhere, may stand in for it
        "jax_compilation_cache_include_metadata_in_key": True,
    }
    before = {name: getattr(jax.config, name) for name in wanted}
    for name, value in wanted.items():
        jax.config.update(name, value)
    try:
        return compiled(made)[0]
    finally:
        for name, value in before.items():
            jax.config.update(name, value)


def kind_of(name: str) -> str:
    """The kind of a file or an operator."""
    for kind, parts in PARTS.items():
        if any(part in name for part in parts):
            return kind
    return "other"


def operators(steps) -> tuple[float, Counter]:
    """Milliseconds of a step, and what PyTorch's operators spend of them, by kind."""
    from torch.profiler import ProfilerActivity
    from torch.profiler import profile as traced

    with traced(activities=[ProfilerActivity.CPU]) as trace:
        whole = steps()
    spent: Counter = Counter()
    for event in trace.key_averages():
        spent[kind_of(event.key)] += event.self_cpu_time_total / 1e3 / STEPS
    return whole, spent


def kernels(program: str, steps) -> tuple[float, Counter]:
    """Milliseconds of a step, and what a compiled program's kernels spend, by kind."""
    options = jax.profiler.ProfileOptions()
    options.python_tracer_level = 0
    options.host_tracer_level = 3
    with tempfile.TemporaryDirectory() as folder:
        with jax.profiler.trace(folder, profiler_options=options):
            whole = steps()
        (path,) = Path(folder).rglob("*.xplane.pb")
        data = jax.profiler.ProfileData.from_file(str(path))
    kinds = kernel_kinds(program)
    spent: Counter = Counter()
    for plane in data.planes:
        for line in plane.lines:
            for event in line.events:
                if event.name in kinds:
                    spent[kinds[event.name]] += event.duration_ns / 1e6 / STEPS
    return whole, spent


def kernel_kinds(program: str) -> dict[str, str]:
    """The kind of each kernel of a compiled program, as its text tells them."""
    sources = source_files(program)
    computations = dict(re.findall(r"^%([\w.\-]+) \(.*?\{\n(.*?)^\}", program, re.M | re.S))
    found = {}
    for line in program.splitlines():
        match = re.match(r"\s*(?:ROOT )?%([\w.\-]+) = .*? (fusion|dot|convolution)\(", line)
        if not match:
            continue
        name, opcode = match.groups()
        called = re.findall(r"calls=%([\w.\-]+)", line) if opcode == "fusion" else []
        body = "".join(computations[computation] for computation in called)
        frames = re.findall(r"stack_frame_id=(\d+)", line + body)
        files = (file for frame in frames for file in sources[int(frame)])
        kind = next((k for k in map(kind_of, files) if k != "other"), "other")
        if " convolution(" in line + body:  # the compiler leaves out where some stem from
            kind = "convolution"
        found[name] = kind
    return found


def source_files(program: str) -> dict[int, list[str]]:
    """The files of funcnn that each stack frame goes through, innermost first."""
    parts = ("FileNames", "FileLocations", "StackFrames")
    tables: dict[str, dict[int, str]] = {}
    for part in parts:
        (text,) = re.findall(rf"^{part}\n((?:\d+ .*\n)*)", program, re.M)
        tables[part] = {
            int(number): rest
            for number, rest in (row.split(" ", 1) for row in text.splitlines())
        }
    names, locations, frames = (tables[part] for part in parts)

    def fields(text):
        return {key: int(n) for key, n in re.findall(r"(\w+)=(\d+)", text)}

    found: dict[int, list[str]] = {0: []}
    for number in sorted(frames):  # callers come before what they call
        frame = fields(frames[number])
        name = names[fields(locations[frame["file_location_id"]])["file_name_id"]]
        _, ours, file = name.strip('"').rpartition("/funcnn/")
        caller = found[frame["parent_frame_id"] - 1]  # it is told as one more, 0 is none
        found[number] = [file, *caller] if ours else caller
    return found
