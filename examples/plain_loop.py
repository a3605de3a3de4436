"""How does sparse training look in a loop of one's own? The lines that a dense loop does not have are marked."""

import argparse

import torch
from torch.nn.functional import cross_entropy

import mezzotint as mz

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=10)
epochs = parser.parse_args().epochs
torch.manual_seed(0)

train = mz.data.Loader(mz.data.open_source("digits", "train"), batch_size=64, seed=0, drop_last=True)
test = mz.data.Loader(mz.data.open_source("digits", "test"), batch_size=256, seed=0)

model = mz.models.build("digits_cnn", num_classes=10, in_channels=1, image_size=(8, 8))
model = mz.sparsify(model, density=0.1, distribution="erk")  # 1: sparse layers take the place of dense ones
optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
precision = mz.Precision("bf16")
topology = mz.SparseMomentum(  # 2: what moves their weights
    model, optimizer, interval=len(train), total_steps=epochs * len(train), window=11
)

for epoch in range(epochs):
    model.train()
    for batch in train:
        with precision.autocast():
            loss = cross_entropy(model(batch.images).float(), batch.labels)
        optimizer.zero_grad(set_to_none=True)
        stepped = precision.step(loss, optimizer)
        topology.step(stepped)  # 3: prunes, redistributes and grows when it is due
    model.eval()
    with torch.no_grad():
        right = sum(int((model(batch.images).argmax(1) == batch.labels).sum()) for batch in test)
    print(f"epoch {epoch + 1}: loss {loss.item():.3f}, test accuracy {100 * right / len(test.source):.1f} %")

for name, layer in mz.sparse.sparse_layers(model).items():
    print(f"{name}: {layer.nnz} of {layer.pattern.numel} weights")
