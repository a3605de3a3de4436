"""How many cells should a convolution sum at once? Measured, step by step."""

from __future__ import annotations

from mezzotint.deploy.engine.compile import Compiled

#: Tiles that are tried; those that the registers of this CPU do not hold are left out.
TILES = (1, 2, 3, 4, 6, 8, 12, 24)
_REPEATS = 4


def tune(compiled: Compiled, threads: int) -> None:
    """Give every convolution the tile that was fastest."""
    program = compiled.program
    for step in range(len(program)):
        if program.tile(step) == 0:
            continue
        times = {}
        for cells in [tile for tile in TILES if tile <= program.most_tile]:
            program.set_tile(step, cells)
            times[cells] = program.time(step, compiled.images, threads, _REPEATS)
        program.set_tile(step, min(times, key=lambda cells: times[cells]))
