"""How do several processes train one sparse network? As many as torchrun starts, and the batch is divided among them.

    torchrun --nproc-per-node 2 two_ranks.py

A rank that dies takes the others with it; `torchrun --max-restarts 3` starts all again, and they go on from the last
checkpoint. The command line does the same: `torchrun --nproc-per-node 2 -m mezzotint train digits.toml`.
"""

import argparse
import os

from mezzotint.train import load_config, train

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--epochs", type=int, default=4)
parser.add_argument("--output", default="runs/two-ranks")
options = parser.parse_args()

result = train(load_config("digits.toml", [f"schedule.epochs={options.epochs}"]), folder=options.output)
if result.summary is not None and os.environ.get("RANK", "0") == "0":
    print(f"{os.environ.get('WORLD_SIZE', '1')} processes: test accuracy {100 * result.summary['test_accuracy']:.1f} %")
