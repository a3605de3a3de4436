"""How does one try a new rule? Growth that prefers channels which already carry much weight, at random among them.

Run this file to compare it with SET, which grows anywhere:

    python own_method.py

or name it in a configuration, as the command line and sweeps do:

    mezzotint train digits.toml --set sparsity.method=own_method:BusyChannels -o runs/busy
    mezzotint sweep digits.toml --method set own_method:BusyChannels --density 0.05 --seeds 3
"""

import torch

from mezzotint.sparse import DynamicTopology, Rules, Schedule, swap_in_place
from mezzotint.sparse.grow import grown_pattern
from mezzotint.sparse.prune import fraction_counts, kept_by_magnitude


def rewire(view, lost, gained, scores):
    """One layer's new pattern: the smallest weights go; among missing ones, chance times the channel's magnitude."""
    kept = kept_by_magnitude(view, lost)
    channels = view.pattern.shape[0]
    row = view.pattern.indices.long() // (view.pattern.numel // channels)
    busy = torch.zeros(channels).index_add_(0, row[kept], view.values.detach()[kept].abs())
    chance = scores().reshape(channels, -1) * busy[:, None]  # scores: uniform, as no evidence is asked for
    return grown_pattern(view.pattern, kept, chance, gained)


class BusyChannels(DynamicTopology):
    """Each layer keeps its number of weights; the smallest fifth moves, less and less of it towards the end."""

    def __init__(self, model, optimizer, *, interval, total_steps, prune_rate=0.2, seed=0):
        schedule = Schedule(interval=interval, total_steps=total_steps, prune_rate=prune_rate, decay="cosine")
        rules = Rules(
            name="busy_channels",
            decide=lambda views, occasion: swap_in_place(views, fraction_counts(views, occasion.rate)),
            rewire=rewire,
        )
        super().__init__(model, optimizer, schedule, rules, seed)


if __name__ == "__main__":
    from mezzotint.train import load_config, train

    for method in ("set", "own_method:BusyChannels"):
        settings = [f"sparsity.method={method}", "sparsity.density=0.05"]
        result = train(load_config("digits.toml", settings), folder=f"runs/{method.replace(':', '.')}")
        print(f"{method}: test accuracy {100 * result.summary['test_accuracy']:.1f} %")
