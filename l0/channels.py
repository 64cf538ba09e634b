"""Which channels of a traced network are constant, and which are needed.

A node's channels are its dimension 1. Constants are found from inputs to outputs, by one rule for
each kind of layer or function; what is needed is found from outputs to inputs. A node without a
rule keeps all its channels and is taken to vary. Cutting them off is the matter of ``compaction``.
"""

from collections import Counter
from collections.abc import Callable
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import TensorMetadata
from torch.nn import functional

# constants of the input channels to those of the output channels; NaN is a channel that varies
Transfer = Callable[[fx.Node, Tensor], Tensor]
Rules = dict[fx.Node, Transfer]
Channels = dict[fx.Node, Tensor]
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Dense = nn.Linear | nn.Conv2d


def channel_rules(graph_module: fx.GraphModule) -> Rules:
    """The transfer of each node that works on channels; the nodes left out keep all of theirs."""
    nodes = graph_module.graph.nodes
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    owners = {str(node.target).rpartition(".")[0] for node in nodes if node.op == "get_attr"}
    # a layer that is called twice, or whose weight is read directly, must keep its shape
    fixed = owners | {target for target, count in calls.items() if count > 1}
    return {node: rule for node in nodes if (rule := _rule(node, fixed)) is not None}


def constant_channels(
    graph_module: fx.GraphModule, rules: Rules, *, device: torch.device
) -> Channels:
    """For each node the constant of each channel, NaN where it varies; from inputs to outputs."""
    constants: Channels = {}
    for node in graph_module.graph.nodes:
        if node in rules and not _overwritten(node):
            values = rules[node](node, constants[source_of(node)])
            constants[node] = values.where(values.isfinite(), torch.nan)
        elif len(shape := shape_of(node)) > 1:
            varying = torch.full((shape[1],), torch.nan, dtype=torch.double, device=device)
            constants[node] = varying
    return constants


def needed_channels(graph_module: fx.GraphModule, rules: Rules, constants: Channels) -> Channels:
    """For each node which channels some reader needs; from outputs to inputs."""
    needed: Channels = {}
    for node in reversed(graph_module.graph.nodes):
        if node in constants:
            everything = torch.ones_like(constants[node], dtype=torch.bool)
            wanted = [
                wanted_channels(user, rules[user], constants[node], needed[user])
                if user in rules
                else everything
                for user in node.users
            ]
            needed[node] = torch.stack(wanted).any(0) if wanted else everything
    return needed


def wanted_channels(user: fx.Node, rule: Transfer, inputs: Tensor, needed: Tensor) -> Tensor:
    """The channels that a reader takes so that it can make those that are needed of it."""
    if rule is not dense:
        return needed.view(len(inputs), -1).any(1)
    layer = cast(Dense, module_of(user))
    read = (kernels(layer)[needed] != 0).any(2).any(0)
    wanted = read & ~folds(layer, inputs)
    if not wanted.any():
        # no layer is left empty; a constant channel needs least to make it
        wanted[(~inputs.isnan()).int().argmax()] = True
    return wanted


def _rule(node: fx.Node, fixed: set[Any]) -> Transfer | None:
    if len(node.all_input_nodes) != 1 or node.args[:1] != (node.all_input_nodes[0],):
        return None
    before, after = len(shape_of(source_of(node))), len(shape_of(node))
    if before < 2 or after < 2:
        return None
    if node.op != "call_module":
        if node.target is torch.flatten and not is_flattening(node):
            return None
        rule, ranks = _TRANSFERS.get(node.target, _BARRIER)
        random = node.kwargs.get("training", False) is not False
        return rule if before in ranks and not random else None
    module = module_of(node)
    rule, ranks = _TRANSFERS.get(type(module), _BARRIER)
    if rule in RESIZED and (node.target in fixed or _has_hooks(module)):
        return None
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        is_depthwise = module.groups == module.in_channels == module.out_channels
        rule = _depthwise if is_depthwise else None
    if isinstance(module, Norm) and module.running_mean is None:
        return None
    return rule if before in ranks else None


def is_flattening(node: fx.Node) -> bool:
    """Whether the node turns (batch, channels, ...) into (batch, everything), in order."""
    is_flatten = node.op == "call_module" and type(module_of(node)) is nn.Flatten
    reshapes = node.target in {torch.flatten, torch.reshape, "flatten", "reshape", "view"}
    if not (is_flatten or reshapes) or not node.args or not isinstance(node.args[0], fx.Node):
        return False
    before, after = shape_of(node.args[0]), shape_of(node)
    return (
        len(before) > 1
        and len(after) == 2
        and before[0] == after[0]
        and after[1] == torch.Size(before[1:]).numel()
    )


def shape_of(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value, empty for what is no tensor."""
    found = node.meta.get("tensor_meta")
    return tuple(found.shape) if isinstance(found, TensorMetadata) else ()


def module_of(node: fx.Node) -> nn.Module:
    """The module that a node calls."""
    return cast(fx.GraphModule, node.graph.owning_module).get_submodule(str(node.target))


def source_of(node: fx.Node) -> fx.Node:
    """The node whose value a node works on."""
    return cast(fx.Node, node.args[0])


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _overwritten(node: fx.Node) -> bool:
    """Whether a reader changes the value under the eyes of the others."""
    return len(node.users) > 1 and any(_in_place(user) for user in node.users)


def _in_place(node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(module_of(node), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))


def dense(node: fx.Node, inputs: Tensor) -> Tensor:
    """A unit is constant when all that varies, and all that padding breaks, has weight zero."""
    layer = cast(Dense, module_of(node))
    folding, kernel = folds(layer, inputs), kernels(layer)
    varies = ((kernel != 0).any(2) & ~folding).any(1)
    constant = bias_of(layer) + kernel.sum(2) @ inputs.where(folding, 0)
    return constant.masked_fill(varies, torch.nan)


def _depthwise(node: fx.Node, inputs: Tensor) -> Tensor:
    """As ``dense``, each channel by itself."""
    layer = cast(nn.Conv2d, module_of(node))
    folding, kernel = folds(layer, inputs), kernels(layer)[:, 0]
    varies = (kernel != 0).any(1) & ~folding
    constant = bias_of(layer) + kernel.sum(1) * inputs.where(folding, 0)
    return constant.masked_fill(varies, torch.nan)


def folds(layer: Dense, inputs: Tensor) -> Tensor:
    """Which inputs are constants that can go into the bias: none but zero under zero padding."""
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and _pads(layer.padding):
        return inputs == 0
    return ~inputs.isnan()


def _pads(padding: Any) -> bool:
    return padding not in (0, (0,), (0, 0), [0, 0], "valid")


def kernels(layer: Dense) -> Tensor:  # (out, in, positions)
    """A layer's weights by output, input and position."""
    return layer.weight.detach().reshape(*layer.weight.shape[:2], -1)


def bias_of(layer: Dense) -> Tensor:  # (out,)
    """A layer's bias, zeros where it has none."""
    bias: Tensor | None = layer.bias
    return layer.weight.new_zeros(layer.weight.shape[0]) if bias is None else bias.detach()


def _normalise(node: fx.Node, inputs: Tensor) -> Tensor:
    norm = cast(Norm, module_of(node))
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return functional.batch_norm(inputs[None], *statistics, eps=norm.eps)[0]


def _activate(node: fx.Node, inputs: Tensor) -> Tensor:
    """The node itself, run on the constants."""
    arguments = (inputs.clone(), *node.args[1:])
    if node.op == "call_module":
        outputs = module_of(node)(*arguments, **node.kwargs)
    elif isinstance(node.target, str):
        outputs = getattr(torch.Tensor, node.target)(*arguments, **node.kwargs)
    else:
        outputs = node.target(*arguments, **node.kwargs)
    return cast(Tensor, outputs).masked_fill(inputs.isnan(), torch.nan)


def _same(node: fx.Node, inputs: Tensor) -> Tensor:  # noqa: ARG001 - the signature of a Transfer
    return inputs


def _average(node: fx.Node, inputs: Tensor) -> Tensor:
    """Zeros of a padding count as values, so that only zero stays what it is."""
    if node.op == "call_module":
        pool = cast(nn.AvgPool2d, module_of(node))
        plain = not _pads(pool.padding) and getattr(pool, "divisor_override", None) is None
    else:
        plain = len(node.args) <= 3 and node.kwargs.keys() <= {"kernel_size", "stride"}
    return inputs if plain else inputs.masked_fill(inputs != 0, torch.nan)


def _repeat(node: fx.Node, inputs: Tensor) -> Tensor:
    return inputs.repeat_interleave(shape_of(node)[1] // len(inputs))


# each of them maps every number by itself, whatever the rank
_ACTIVATIONS: list[Any] = [
    *(nn.ReLU, nn.ReLU6, nn.LeakyReLU, nn.ELU, nn.GELU, nn.SiLU, nn.Hardswish, nn.Softplus),
    *(nn.Tanh, nn.Sigmoid, nn.Hardtanh, torch.relu, torch.tanh, torch.sigmoid),
    *(functional.relu, functional.relu6, functional.leaky_relu, functional.elu, functional.gelu),
    *(functional.silu, functional.hardswish, functional.softplus, functional.hardtanh),
    *("relu", "tanh", "sigmoid"),
]
_DROPOUTS: list[Any] = [
    *(nn.Identity, nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.AlphaDropout),
    *(functional.dropout, functional.dropout1d, functional.dropout2d),
]
_POOLS_1D: list[Any] = [
    *(nn.MaxPool1d, nn.AdaptiveMaxPool1d, nn.AdaptiveAvgPool1d),
    *(functional.max_pool1d, functional.adaptive_max_pool1d, functional.adaptive_avg_pool1d),
]
_POOLS_2D: list[Any] = [
    *(nn.MaxPool2d, nn.AdaptiveMaxPool2d, nn.AdaptiveAvgPool2d),
    *(functional.max_pool2d, functional.adaptive_max_pool2d, functional.adaptive_avg_pool2d),
]
RESIZED = {dense, _depthwise, _normalise}
_ANY_RANK = range(2, 9)
_BARRIER: tuple[Transfer | None, range] = (None, _ANY_RANK)
# what each module, function or method does to constants, and for inputs of which ranks
_TRANSFERS: dict[Any, tuple[Transfer | None, range]] = {
    nn.Linear: (dense, range(2, 3)),
    nn.Conv2d: (dense, range(4, 5)),
    nn.BatchNorm1d: (_normalise, range(2, 4)),
    nn.BatchNorm2d: (_normalise, range(4, 5)),
    torch.flatten: (_repeat, _ANY_RANK),
    nn.AvgPool1d: (_average, range(3, 4)),
    functional.avg_pool1d: (_average, range(3, 4)),
    nn.AvgPool2d: (_average, range(4, 5)),
    functional.avg_pool2d: (_average, range(4, 5)),
    **dict.fromkeys(_ACTIVATIONS, (_activate, _ANY_RANK)),
    **dict.fromkeys(_DROPOUTS, (_same, _ANY_RANK)),
    **dict.fromkeys(_POOLS_1D, (_same, range(3, 4))),
    **dict.fromkeys(_POOLS_2D, (_same, range(4, 5))),
}
