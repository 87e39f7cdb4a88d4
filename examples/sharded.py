"""The convolutional network of cnn.py on eight devices.

python examples/sharded.py --steps 600 --layout fully

The devices are this machine's processor eight times over, which makes nothing faster; but
the program is the one that eight real ones would run.
"""

import cnn
import digits
import jax
import options
from jax.sharding import PartitionSpec as P

from funcnn import train

DEVICES = 8


def layout(name: str, state: train.TrainState) -> train.Layout:
    """Lay a state out on eight devices: by data, fully sharded, or by tensors as well."""
    if name == "data":
        return train.shard(state, jax.make_mesh((8,), ("data",)))
    if name == "fully":
        return train.shard(state, jax.make_mesh((8,), ("data",)), fully="data")
    # the inputs of the last product, half of them on each of two devices
    rules = [("head/2/weight", P("model"))]
    mesh = jax.make_mesh((4, 2), ("data", "model"))
    return train.shard(state, mesh, rules=rules, fully="data")


def held(state: train.TrainState) -> int:
    """The bytes of params and moments that the first device holds."""
    arrays = jax.tree.leaves((state.params, state.opt_state))
    return sum(a.addressable_shards[0].data.nbytes for a in arrays)


def main():
    parser = options.parser("Train a CNN on eight devices.", cnn.STEPS)
    parser.add_argument(
        "--layout", choices=["data", "fully", "tensor"], default="fully",
        help="how the state is laid out (%(default)s)",
    )  # fmt: skip
    args = parser.parse_args()
    jax.config.update("jax_num_cpu_devices", DEVICES)
    data = digits.load(args.seed)
    init_key, order_key = jax.random.split(jax.random.key(args.seed))
    optimizer = cnn.optimizer(args.steps)
    state = train.init(init_key, cnn.model(), optimizer, digits.SHAPE)
    chosen = layout(args.layout, state)
    state, _ = train.fit(
        train.make_step(cnn.loss, optimizer),
        state,
        train.batches(data.train, digits.BATCH, key=order_key),
        steps=args.steps,
        layout=chosen,
        progress=True,
    )
    whole = sum(a.nbytes for a in jax.tree.leaves((state.params, state.opt_state)))
    print(f"Each device holds {held(state):,} of {whole:,} bytes of params and moments.")
    evaluate = digits.evaluator(cnn.model(), data)
    accuracy = evaluate(jax.device_get(state.params))["test"]
    print(digits.verdict(accuracy, len(data.test.labels)))


if __name__ == "__main__":
    main()
