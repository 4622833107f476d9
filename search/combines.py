"""How several embedding files are combined: part of the search only where there are several."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from search.ranges import Choices
from search.space import Space, field_names
from textclf.errors import ConfigError

if TYPE_CHECKING:
    from textclf.embeddings import WordVectors

COMBINE = "combine"


def offer_combines(space: Space, vectors: "Sequence[WordVectors]") -> Space:
    """Let every network of the space choose how the embedding files become one table.

    Side by side or their mean, and their weighted mean where weights differ. A range that the user named stands. There
    is nothing to choose with one file, nor where dimensions differ: a mean needs vectors of one dimension.
    Raises ConfigError where the user named a mean of files whose dimensions differ.
    """
    of_one_size = len({source.dim for source in vectors}) < 2
    named = space.values_of(COMBINE)
    if not of_one_size and (means := [str(value) for value in named if value != "concat"]):
        each = ", ".join(f"{source.name}: {source.dim}" for source in vectors)
        raise ConfigError(f"space: combine = {means[0]} needs vectors of one dimension ({each}); use concat")
    if len(vectors) < 2 or not of_one_size:
        return space
    weighted = len({source.weight for source in vectors}) > 1
    offered = Choices(choices=("concat", "mean", "weighted") if weighted else ("concat", "mean"))
    return Space(
        {
            family: {COMBINE: offered, **ranges} if COMBINE in field_names(family) else ranges
            for family, ranges in space.ranges.items()
        }
    )
