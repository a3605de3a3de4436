"""How is a sparse network trained by Hugging Face's Trainer? One callback, as in lightning_module.py.

It needs `pip install transformers accelerate`.
"""

import argparse

import torch
from torch.nn.functional import cross_entropy
from transformers import Trainer, TrainerCallback, TrainingArguments

import mezzotint as mz


class Sparse(TrainerCallback):
    """Moves the topology after each step of the optimiser, before the gradients are cleared."""

    def on_train_begin(self, args, state, control, model, optimizer, **rest):
        optimizer = getattr(optimizer, "optimizer", optimizer)  # out of accelerate's wrapper
        interval = max(1, state.max_steps // int(args.num_train_epochs))
        self.topology = mz.SparseMomentum(model, optimizer, interval=interval, total_steps=state.max_steps, window=11)

    def on_optimizer_step(self, args, state, control, **rest):
        self.topology.step()


class Digits(torch.nn.Module):
    """What the Trainer wants of a model: a dictionary with the loss."""

    def __init__(self):
        super().__init__()
        network = mz.models.build("digits_cnn", num_classes=10, in_channels=1, image_size=(8, 8))
        self.network = mz.sparsify(network, density=0.1)

    def forward(self, images, labels):
        logits = self.network(images)
        return {"loss": cross_entropy(logits.float(), labels), "logits": logits}


parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--epochs", type=int, default=8)
parser.add_argument("--output", default="runs/hf")
options = parser.parse_args()

torch.manual_seed(0)
train, test = (mz.data.as_dataset(mz.data.open_source("digits", split)) for split in ("train", "test"))
trainer = Trainer(
    model=Digits(),
    args=TrainingArguments(
        output_dir=options.output, num_train_epochs=options.epochs, per_device_train_batch_size=64, learning_rate=0.05,
        per_device_eval_batch_size=256, use_cpu=True, bf16=True, save_strategy="no", report_to=[], disable_tqdm=True,
        dataloader_drop_last=True, remove_unused_columns=False, optim="sgd",
        optim_args="momentum=0.9,weight_decay=5e-4",
        lr_scheduler_type="cosine", logging_strategy="no",
    ),
    train_dataset=train,
    eval_dataset=test,
    data_collator=lambda samples: {
        "images": torch.stack([image for image, _ in samples]), "labels": torch.tensor([label for _, label in samples])
    },
    compute_metrics=lambda found: {"accuracy": float((found.predictions.argmax(1) == found.label_ids).mean())},
    callbacks=[Sparse()],
)  # fmt: skip
trainer.train()
print(f"test accuracy {100 * trainer.evaluate()['eval_accuracy']:.1f} %")
