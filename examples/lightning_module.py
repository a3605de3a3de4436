"""How is a sparse network trained by Lightning? One callback; the module and the trainer know nothing of sparsity.

It needs `pip install lightning`.
"""

import argparse

import lightning
import torch
from torch.nn.functional import cross_entropy

import mezzotint as mz


class Sparse(lightning.pytorch.Callback):
    """Moves the topology after each step of the optimiser. For FP16, use mz.Precision and manual optimisation."""

    def on_train_start(self, trainer, module):
        steps = int(trainer.estimated_stepping_batches)
        interval = max(1, steps // trainer.max_epochs)
        optimizer = module.optimizers(use_pl_optimizer=False)
        self.topology = mz.SparseMomentum(module, optimizer, interval=interval, total_steps=steps, window=11)

    def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
        if trainer.global_step == self.topology.steps:
            return  # gradients are being accumulated
        report = self.topology.step()  # they are still there: Lightning clears them before the next backward pass
        if report is not None:
            module.log("pruned", float(sum(change.pruned for change in report.layers.values())))

    def state_dict(self):
        return self.topology.state_dict()


class Digits(lightning.LightningModule):
    """An ordinary module, with a network that has been made sparse."""

    def __init__(self):
        super().__init__()
        network = mz.models.build("digits_cnn", num_classes=10, in_channels=1, image_size=(8, 8))
        self.network = mz.sparsify(network, density=0.1)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return cross_entropy(self.network(images), labels)

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("accuracy", (self.network(images).argmax(1) == labels).float().mean(), prog_bar=True)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.05, momentum=0.9, nesterov=True, weight_decay=5e-4)


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=8)
epochs = parser.parse_args().epochs

if __name__ == "__main__":
    lightning.seed_everything(0)
    dataset = {split: mz.data.as_dataset(mz.data.open_source("digits", split)) for split in ("train", "test")}
    trainer = lightning.Trainer(
        max_epochs=epochs, accelerator="cpu", precision="bf16-mixed", callbacks=[Sparse()], logger=False,
        enable_checkpointing=False, enable_model_summary=False, enable_progress_bar=False,
    )  # fmt: skip
    trainer.fit(
        Digits(),
        torch.utils.data.DataLoader(dataset["train"], batch_size=64, shuffle=True, drop_last=True),
        torch.utils.data.DataLoader(dataset["test"], batch_size=256),
    )
    print(f"test accuracy {100 * float(trainer.callback_metrics['accuracy']):.1f} %")
