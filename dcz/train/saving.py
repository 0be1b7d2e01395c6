"""A network of training as a `.dcz` file, every value exactly.

save_network(network, "net.dcz", {"settings": "bits=3"})    ->   Path("net.dcz")
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..compression.compress import compress_known
from ..plan import LOSSLESS, Plan, Rule, Settings

if TYPE_CHECKING:
    from .network import Network


def save_network(
    network: "Network",
    output: str | os.PathLike[str],
    metadata: Mapping[str, str] | None = None,
    settings: Mapping[str, Settings] | None = None,
    **options: Any,
) -> Path:
    """Write a network as it is (pruned, shared or neither) into a .dcz file, every value exactly.

    Its metadata is that of the model that the network was made from, updated by `metadata`. Of `settings`, by tensor
    name, only the index bits are used. `options` are those of compress. Raises DczError.
    """
    source = network.source
    origin = {"source-sha256": source.source_sha256, "source-bytes": str(source.source_bytes)}
    index_bits = {name: each.index_bits for name, each in (settings or {}).items()}
    grids = {weight.name: grid for weight in network if (grid := weight.grid()) is not None}
    compressed = [weight.name for weight in network if weight.shared or weight.mask is not None]
    rules = tuple(Rule((name,), Settings(index_bits=index_bits.get(name))) for name in compressed)
    plan = Plan(LOSSLESS, rules, fold=False)
    made = compress_known(network.to_proto(), output, plan, grids, metadata=origin | dict(metadata or {}), **options)
    return made.path
