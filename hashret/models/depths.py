"""How deep each parameter of an encoder lies, for learning rates that fall from its top to its input."""

from __future__ import annotations

from torch import nn

__all__ = ["layer_depths"]


def layer_depths(encoder: nn.Module) -> dict[int, int]:
    """How many layers lie above each parameter: 0 for the last layer and what follows it.

    Layers are the entries of the encoder's longest list of modules (``nn.ModuleList`` or ``nn.Sequential``). What comes
    before the list, such as word embeddings, lies one below its first layer; what comes after it, such as a pooler, at
    0. An encoder without such a list is one layer.

    Returns:
        ``id(parameter)`` -> layers above it.

    Example:
        >>> network = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> [layer_depths(network)[id(parameter)] for parameter in network.parameters()]
        [1, 1, 0, 0]
    """
    lists = {
        name: module for name, module in encoder.named_modules() if isinstance(module, (nn.ModuleList, nn.Sequential))
    }
    if not lists:
        return {id(parameter): 0 for parameter in encoder.parameters()}
    longest = max(lists, key=lambda name: (len(lists[name]), -name.count(".")))
    prefix, count = f"{longest}." if longest else "", len(lists[longest])
    depths, met = {}, False
    for name, parameter in encoder.named_parameters():
        if name.startswith(prefix):
            met = True
            depths[id(parameter)] = count - 1 - int(name.removeprefix(prefix).partition(".")[0])
        else:
            depths[id(parameter)] = 0 if met else count
    return depths
