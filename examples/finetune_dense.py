"""How does a dense network become a sparse one? Its smallest weights go at once; what stays is trained on.

In a configuration file the same is `[model] weights = "runs/dense"` with `[sparsity] method = "static"`, and with
`method = "gmp"` the weights go little by little.
"""

import argparse

import torch
from torch.nn.functional import cross_entropy

import mezzotint as mz
from mezzotint.sparse import Static

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=6, help="dense, and as many sparse ones")
epochs = parser.parse_args().epochs
torch.manual_seed(0)

train = mz.data.Loader(mz.data.open_source("digits", "train"), batch_size=64, seed=0, drop_last=True)
test = mz.data.Loader(mz.data.open_source("digits", "test"), batch_size=256, seed=0)


def fit(model, lr):
    """Train for some epochs; the topology of sparse layers stays as it is."""
    optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=5e-4)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs * len(train))
    topology = Static(model, optimizer)
    for _ in range(epochs):
        for batch in train:
            loss = cross_entropy(model(batch.images), batch.labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            topology.step()
            schedule.step()


def accuracy(model):
    """On the test images, in percent."""
    model.eval()
    with torch.no_grad():
        right = sum(int((model(batch.images).argmax(1) == batch.labels).sum()) for batch in test)
    model.train()
    return 100 * right / len(test.source)


dense = mz.models.build("digits_cnn", num_classes=10, in_channels=1, image_size=(8, 8))
fit(dense, lr=0.02)
print(f"dense: {accuracy(dense):.1f} %")

sparse = mz.sparsify(dense, density=0.1, distribution="erk", choose="magnitude", init="keep")
print(f"a tenth of its weights, the largest: {accuracy(sparse):.1f} %")

fit(sparse, lr=0.02)
print(f"trained on: {accuracy(sparse):.1f} %")
