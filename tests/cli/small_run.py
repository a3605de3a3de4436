"""What is a run that several tests train? The embedded digits, two epochs, a second."""

from __future__ import annotations

CONFIG = """
name = "small"
threads = 1
[data]
source = "digits"
batch_size = 200
[model]
name = "lenet_300_100"
[sparsity]
density = 0.2
[schedule]
epochs = 2
"""
