"""From a gated model to an ordinary one without its dead channels.

A channel (dimension 1) is dead when nothing that is needed reads it, or when it is the same
constant for every input and its readers can take the constant into their biases. Gates never
touch a bias, so a closed neuron or channel is such a constant, seldom zero. Two passes over the
traced graph find the dead channels, a third removes them. Which weights are zero is decided in
``pruning``.
"""

import copy
from collections import Counter
from collections.abc import Callable
from itertools import chain
from operator import getitem
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp, TensorMetadata
from torch.nn import functional
from torch.utils._pytree import tree_leaves

from l0.errors import InputError
from l0.gated_layer import GatedLayer
from l0.hard_concrete import HardConcrete

# float64 keeps 16 digits: a compact model further off than this has lost a channel, not digits
TOLERANCE = 1e-6

# constants of the input channels to those of the output channels; NaN is a channel that varies
Transfer = Callable[[fx.Node, Tensor], Tensor]
Rules = dict[fx.Node, Transfer]
Channels = dict[fx.Node, Tensor]
Norm = nn.BatchNorm1d | nn.BatchNorm2d
Dense = nn.Linear | nn.Conv2d


class Select(nn.Module):
    """Some channels of the input, where what makes them cannot be made smaller."""

    index: Tensor

    def __init__(self, index: Tensor) -> None:
        super().__init__()
        self.register_buffer("index", index)

    def forward(self, x: Tensor) -> Tensor:
        """(batch, channels, ...) to (batch, len(index), ...)."""
        return x.index_select(1, self.index)


@torch.no_grad()
def compact(model: nn.Module, example_input: Tensor) -> nn.Module:
    """A smaller model of ordinary layers with the same outputs at evaluation.

    Linear layers, 2D convolutions (dense and depthwise) and what lies between them channel by
    channel are made smaller: activations, batch norm, dropout, pooling, flattening. Anything
    else, a sum of two branches for instance, keeps all its channels, and so does a layer that is
    called twice. Outputs are compared in float64 before the model is returned.

    Args:
        model: holds gated layers anywhere; it is left as it is.
        example_input: a batch of the model's input, (batch, ...).

    Returns:
        A ``torch.fx.GraphModule`` in evaluation mode, of the model's dtype and device. The
        layers that remain keep their names. Batches may have another size than the example's.

    Raises:
        InputError: the model cannot be run on the example or traced by ``torch.fx``, or it has
            more than one dtype.
        RuntimeError: the outputs differ, which is an error of this function.
    """
    dtype = _dtype(model)
    reference = copy.deepcopy(model).eval().double()
    batch = example_input.double() if example_input.is_floating_point() else example_input
    expected = _evaluate(reference, batch)
    graph_module = _trace(_folded(copy.deepcopy(reference)), batch)
    rules = _rules(graph_module)
    constants = constant_channels(graph_module, rules, device=batch.device)
    needed = needed_channels(graph_module, rules, constants)
    _shrink(graph_module, rules, constants, needed)
    _verify(graph_module(batch.clone()), expected)
    return graph_module.to(dtype)


def constant_channels(
    graph_module: fx.GraphModule, rules: Rules, *, device: torch.device
) -> Channels:
    """For each node the constant of each channel, NaN where it varies; from inputs to outputs."""
    constants: Channels = {}
    for node in graph_module.graph.nodes:
        if node in rules and not _overwritten(node):
            values = rules[node](node, constants[_source(node)])
            constants[node] = values.where(values.isfinite(), torch.nan)
        elif len(shape := _shape(node)) > 1:
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
                _wanted(user, rules[user], constants[node], needed[user])
                if user in rules
                else everything
                for user in node.users
            ]
            needed[node] = torch.stack(wanted).any(0) if wanted else everything
    return needed


def _dtype(model: nn.Module) -> torch.dtype:
    tensors = chain(model.parameters(), model.buffers())
    found = {tensor.dtype for tensor in tensors if tensor.is_floating_point()}
    if len(found) > 1:
        raise InputError(
            f"the model's parameters and buffers have {len(found)} dtypes "
            f"({', '.join(sorted(map(str, found)))}), but a compact model has one. Convert the "
            "model first, with model.float() for instance."
        )
    return found.pop() if found else torch.get_default_dtype()


def _evaluate(reference: nn.Module, batch: Tensor) -> Any:
    try:
        return reference(batch.clone())  # a forward may write into its input
    except Exception as error:
        raise InputError(
            f"the model fails at evaluation on example_input of shape {tuple(batch.shape)} in "
            f"{batch.dtype}: {error}. Give a batch that the model takes; a forward that casts to "
            "a dtype of its own can be pruned without example_input only."
        ) from error


def _folded(model: nn.Module) -> nn.Module:
    """Every gated layer replaced by the ordinary one, in place; the root has to be in something."""
    root = nn.Sequential(model) if isinstance(model, GatedLayer) else model
    ordinary: dict[nn.Module, nn.Module] = {}
    for name, module in list(root.named_modules(remove_duplicate=False)):
        if isinstance(module, GatedLayer):
            # a layer that is in two places stays one layer
            ordinary.setdefault(module, module.folded())
            root.set_submodule(name, ordinary[module])
    return root.eval()


class _Tracer(fx.Tracer):
    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, HardConcrete) or super().is_leaf_module(m, module_qualified_name)


def _trace(root: nn.Module, batch: Tensor) -> fx.GraphModule:
    """The graph of the model, its nodes annotated with shapes, its flattenings all alike."""
    try:
        graph_module = fx.GraphModule(root, _Tracer().trace(root))
    except Exception as error:
        raise InputError(
            "the model cannot be traced by torch.fx, as when its forward decides by the data "
            f"or checks shapes: {error}. Call prune_model without example_input to set its "
            "weights to zero in place."
        ) from error
    ShapeProp(graph_module).propagate(batch.clone())
    for node in list(graph_module.graph.nodes):
        if _flattens(node):
            # sizes written into a view would be wrong once channels are gone
            with graph_module.graph.inserting_before(node):
                flat = graph_module.graph.call_function(torch.flatten, (_source(node), 1))
            flat.meta = node.meta
            node.replace_all_uses_with(flat)
            graph_module.graph.erase_node(node)
    _erase_unread_sizes(graph_module.graph)
    return graph_module


def _flattens(node: fx.Node) -> bool:
    """Whether the node turns (batch, channels, ...) into (batch, everything), in order."""
    is_flatten = node.op == "call_module" and type(_module(node)) is nn.Flatten
    reshapes = node.target in {torch.flatten, torch.reshape, "flatten", "reshape", "view"}
    if not (is_flatten or reshapes) or not node.args or not isinstance(node.args[0], fx.Node):
        return False
    before, after = _shape(node.args[0]), _shape(node)
    return (
        len(before) > 1
        and len(after) == 2
        and before[0] == after[0]
        and after[1] == torch.Size(before[1:]).numel()
    )


def _erase_unread_sizes(graph: fx.Graph) -> None:
    sizes = {"size", getattr, getitem}
    graph.eliminate_dead_code(is_impure_node=lambda node: node.target not in sizes)


def _shape(node: fx.Node) -> tuple[int, ...]:
    """The shape of a node's value, empty for what is no tensor."""
    found = node.meta.get("tensor_meta")
    return tuple(found.shape) if isinstance(found, TensorMetadata) else ()


def _module(node: fx.Node) -> nn.Module:
    return cast(fx.GraphModule, node.graph.owning_module).get_submodule(str(node.target))


def _source(node: fx.Node) -> fx.Node:
    return cast(fx.Node, node.args[0])


def _rules(graph_module: fx.GraphModule) -> Rules:
    """The transfer of each node that works on channels; the nodes left out keep all of theirs."""
    nodes = graph_module.graph.nodes
    calls = Counter(node.target for node in nodes if node.op == "call_module")
    owners = {str(node.target).rpartition(".")[0] for node in nodes if node.op == "get_attr"}
    # a layer that is called twice, or whose weight is read directly, must keep its shape
    fixed = owners | {target for target, count in calls.items() if count > 1}
    return {node: rule for node in nodes if (rule := _rule(node, fixed)) is not None}


def _rule(node: fx.Node, fixed: set[Any]) -> Transfer | None:
    if len(node.all_input_nodes) != 1 or node.args[:1] != (node.all_input_nodes[0],):
        return None
    before, after = len(_shape(_source(node))), len(_shape(node))
    if before < 2 or after < 2:
        return None
    if node.op != "call_module":
        if node.target is torch.flatten and not _flattens(node):
            return None
        rule, ranks = _TRANSFERS.get(node.target, _BARRIER)
        random = node.kwargs.get("training", False) is not False
        return rule if before in ranks and not random else None
    module = _module(node)
    rule, ranks = _TRANSFERS.get(type(module), _BARRIER)
    if rule in _RESIZED and (node.target in fixed or _has_hooks(module)):
        return None
    if isinstance(module, nn.Conv2d) and module.groups != 1:
        is_depthwise = module.groups == module.in_channels == module.out_channels
        rule = _depthwise if is_depthwise else None
    if isinstance(module, Norm) and module.running_mean is None:
        return None
    return rule if before in ranks else None


def _has_hooks(module: nn.Module) -> bool:
    return bool(module._forward_hooks or module._forward_pre_hooks)


def _overwritten(node: fx.Node) -> bool:
    """Whether a reader changes the value under the eyes of the others."""
    return len(node.users) > 1 and any(_in_place(user) for user in node.users)


def _in_place(node: fx.Node) -> bool:
    if node.op == "call_module":
        return bool(getattr(_module(node), "inplace", False))
    name = node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")
    return bool(node.kwargs.get("inplace")) or (name.endswith("_") and not name.endswith("__"))


def _dense(node: fx.Node, inputs: Tensor) -> Tensor:
    """A unit is constant when all that varies, and all that padding breaks, has weight zero."""
    layer = cast(Dense, _module(node))
    folds, kernels = _folds(layer, inputs), _kernels(layer)
    varies = ((kernels != 0).any(2) & ~folds).any(1)
    constant = _bias(layer) + kernels.sum(2) @ inputs.where(folds, 0)
    return constant.masked_fill(varies, torch.nan)


def _depthwise(node: fx.Node, inputs: Tensor) -> Tensor:
    """As ``_dense``, each channel by itself."""
    layer = cast(nn.Conv2d, _module(node))
    folds, kernels = _folds(layer, inputs), _kernels(layer)[:, 0]
    varies = (kernels != 0).any(1) & ~folds
    constant = _bias(layer) + kernels.sum(1) * inputs.where(folds, 0)
    return constant.masked_fill(varies, torch.nan)


def _folds(layer: Dense, inputs: Tensor) -> Tensor:
    """Which inputs are constants that can go into the bias: none but zero under zero padding."""
    if isinstance(layer, nn.Conv2d) and layer.padding_mode == "zeros" and _pads(layer.padding):
        return inputs == 0
    return ~inputs.isnan()


def _pads(padding: Any) -> bool:
    return padding not in (0, (0,), (0, 0), [0, 0], "valid")


def _kernels(layer: Dense) -> Tensor:  # (out, in, positions)
    return layer.weight.detach().reshape(*layer.weight.shape[:2], -1)


def _bias(layer: Dense) -> Tensor:  # (out,)
    bias: Tensor | None = layer.bias
    return layer.weight.new_zeros(layer.weight.shape[0]) if bias is None else bias.detach()


def _normalise(node: fx.Node, inputs: Tensor) -> Tensor:
    norm = cast(Norm, _module(node))
    statistics = (norm.running_mean, norm.running_var, norm.weight, norm.bias)
    return functional.batch_norm(inputs[None], *statistics, eps=norm.eps)[0]


def _activate(node: fx.Node, inputs: Tensor) -> Tensor:
    """The node itself, run on the constants."""
    arguments = (inputs.clone(), *node.args[1:])
    if node.op == "call_module":
        outputs = _module(node)(*arguments, **node.kwargs)
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
        pool = cast(nn.AvgPool2d, _module(node))
        plain = not _pads(pool.padding) and getattr(pool, "divisor_override", None) is None
    else:
        plain = len(node.args) <= 3 and node.kwargs.keys() <= {"kernel_size", "stride"}
    return inputs if plain else inputs.masked_fill(inputs != 0, torch.nan)


def _repeat(node: fx.Node, inputs: Tensor) -> Tensor:
    return inputs.repeat_interleave(_shape(node)[1] // len(inputs))


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
_RESIZED = {_dense, _depthwise, _normalise}
_ANY_RANK = range(2, 9)
_BARRIER: tuple[Transfer | None, range] = (None, _ANY_RANK)
# what each module, function or method does to constants, and for inputs of which ranks
_TRANSFERS: dict[Any, tuple[Transfer | None, range]] = {
    nn.Linear: (_dense, range(2, 3)),
    nn.Conv2d: (_dense, range(4, 5)),
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


def _wanted(user: fx.Node, rule: Transfer, inputs: Tensor, needed: Tensor) -> Tensor:
    """The channels that a reader takes so that it can make those that are needed of it."""
    if rule is not _dense:
        return needed.view(len(inputs), -1).any(1)
    layer = cast(Dense, _module(user))
    read = (_kernels(layer)[needed] != 0).any(2).any(0)
    wanted = read & ~_folds(layer, inputs)
    if not wanted.any():
        # no layer is left empty; a constant channel needs least to make it
        wanted[(~inputs.isnan()).int().argmax()] = True
    return wanted


def _shrink(
    graph_module: fx.GraphModule, rules: Rules, constants: Channels, needed: Channels
) -> None:
    """Every layer cut down to the channels needed, in place; from inputs to outputs."""
    kept: Channels = {}
    for node in list(graph_module.graph.nodes):
        rule = rules.get(node)
        if rule is None:
            if node in constants:
                kept[node] = torch.ones_like(needed[node])
            continue
        source = _source(node)
        inputs = constants[source]
        if rule is _dense:
            kept[node] = needed[node]
            columns = _wanted(node, rule, inputs, needed[node])
            if not torch.equal(columns, kept[source]):
                _select(node, columns[kept[source]].nonzero().flatten())
            _cut(cast(Dense, _module(node)), inputs, needed[node], columns)
        else:
            kept[node] = kept[source].repeat_interleave(len(constants[node]) // len(inputs))
            if rule in _RESIZED:
                _cut_channels(_module(node), kept[node])
    for node in graph_module.graph.nodes:
        node.meta.clear()
    graph_module.recompile()


def _select(node: fx.Node, index: Tensor) -> None:
    """Put a ``Select`` before the node."""
    name = f"{node.target}_select"
    cast(fx.GraphModule, node.graph.owning_module).add_submodule(name, Select(index).eval())
    with node.graph.inserting_before(node):
        selected = node.graph.call_module(name, (_source(node),))
    node.args = (selected, *node.args[1:])


def _cut(layer: Dense, inputs: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Leave some outputs and inputs, and add to the bias what the other inputs contributed."""
    folded = inputs.where(_folds(layer, inputs) & ~columns, 0)
    bias = (_bias(layer) + _kernels(layer).sum(2) @ folded)[rows]
    if layer.bias is not None or bias.any():
        layer.bias = nn.Parameter(bias)
    layer.weight = nn.Parameter(layer.weight.detach()[rows][:, columns])
    size, of = layer.weight.shape[:2], "features" if isinstance(layer, nn.Linear) else "channels"
    setattr(layer, f"out_{of}", size[0])
    setattr(layer, f"in_{of}", size[1])


def _cut_channels(layer: nn.Module, kept: Tensor) -> None:
    """Leave some channels of a layer that works on each by itself."""
    for name, parameter in list(layer.named_parameters()):
        setattr(layer, name, nn.Parameter(parameter.detach()[kept]))
    for name, buffer in list(layer.named_buffers()):
        if buffer.ndim:
            setattr(layer, name, buffer[kept])
    for name in ("num_features", "in_channels", "out_channels", "groups"):
        if hasattr(layer, name):
            setattr(layer, name, int(kept.sum()))


def _verify(found: Any, expected: Any) -> None:
    for leaf, other_leaf in zip(tree_leaves(found), tree_leaves(expected), strict=True):
        if not isinstance(other_leaf, Tensor) or other_leaf.numel() == 0:
            continue
        dtype = torch.promote_types(other_leaf.dtype, torch.double)  # may be classes or bools
        one, other = leaf.to(dtype), other_leaf.to(dtype)
        largest = float(other.nan_to_num(0, 0, 0).abs().max())
        allowed = TOLERANCE * max(1.0, largest)
        same_shape = one.shape == other.shape
        if not same_shape or not torch.allclose(one, other, rtol=0, atol=allowed, equal_nan=True):
            error = f"up to {float((one - other).abs().max()):.3g}" if same_shape else "in shape"
            raise RuntimeError(
                f"the compact model's outputs differ {error}, where {allowed:.3g} is allowed. This "
                "is an error of l0.compaction: prune_model without example_input is exact."
            )
