"""How is a network trained sparse? Patterns, sparse layers, sparsify and densify, methods that move the topology."""

from __future__ import annotations

from mezzotint.sparse.averaging import WeightAverage
from mezzotint.sparse.conversion import CHOICES, INITS, densify, sparsify
from mezzotint.sparse.distribution import DISTRIBUTIONS, layer_nnz
from mezzotint.sparse.goal import goal_of
from mezzotint.sparse.layer import SparseLayer, sparse_layers, topology_digest
from mezzotint.sparse.layers import SparseConv2d, SparseLinear
from mezzotint.sparse.methods import METHODS, build, first_density, method, options_of
from mezzotint.sparse.methods.gmp import GMP
from mezzotint.sparse.methods.sparse_momentum import SparseMomentum
from mezzotint.sparse.methods.static import Static
from mezzotint.sparse.pattern import Pattern
from mezzotint.sparse.record import LayerChange, TopologyReport
from mezzotint.sparse.rules import Decision, Occasion, Rules, swap_in_place
from mezzotint.sparse.schedule import DECAYS, Schedule
from mezzotint.sparse.selection import Selection, select
from mezzotint.sparse.topology import DynamicTopology, Topology
from mezzotint.sparse.view import LayerView

__all__ = [
    "CHOICES",
    "DECAYS",
    "DISTRIBUTIONS",
    "GMP",
    "INITS",
    "METHODS",
    "Decision",
    "DynamicTopology",
    "LayerChange",
    "LayerView",
    "Occasion",
    "Pattern",
    "Rules",
    "Schedule",
    "Selection",
    "SparseConv2d",
    "SparseLayer",
    "SparseLinear",
    "SparseMomentum",
    "Static",
    "Topology",
    "TopologyReport",
    "WeightAverage",
    "build",
    "densify",
    "first_density",
    "goal_of",
    "layer_nnz",
    "method",
    "options_of",
    "select",
    "sparse_layers",
    "sparsify",
    "swap_in_place",
    "topology_digest",
]
