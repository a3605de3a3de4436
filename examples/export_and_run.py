"""How does a trained network leave? As one safetensors file, which a session runs without the training code."""

import argparse
from pathlib import Path

import mezzotint as mz
from mezzotint.train import load_config, train

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=6)
parser.add_argument("--output", type=Path, default=Path("runs/export"))
options = parser.parse_args()

train(load_config("digits.toml", [f"schedule.epochs={options.epochs}"]), folder=options.output)
exported = mz.deploy.export(options.output, "safetensors", options.output / "digits.safetensors")
print(f"{exported.path}: {exported.bytes:,} bytes, {exported.nnz:,} of {exported.numel:,} weights")

session = mz.deploy.Session(exported.path, threads=1)
wanted = session.description  # what the network wants of its images travels with it
test = mz.data.open_source("digits", "test")
images, labels = next(iter(mz.data.Loader(test, batch_size=16, seed=0, mean=wanted.mean, std=wanted.std)))
(logits,) = session.run([images.numpy()])
print("found:", logits.argmax(1).tolist())
print("right:", labels.tolist())
