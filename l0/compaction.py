"""From a gated model to an ordinary one without its dead channels.

A channel (dimension 1) is dead when nothing that is needed reads it, or when it is the same
constant for every input and its readers can take the constant into their biases. Gates never
touch a bias, so a closed neuron or channel is such a constant, seldom zero. Two passes over the
traced graph find the dead channels, a third removes them. Which weights are zero is decided in
``pruning``.
"""

import copy
from itertools import chain
from operator import getitem
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.fx.passes.shape_prop import ShapeProp
from torch.utils._pytree import tree_leaves

from l0.channels import (
    RESIZED,
    Channels,
    Dense,
    Rules,
    bias_of,
    channel_rules,
    constant_channels,
    dense,
    folds,
    is_flattening,
    kernels,
    module_of,
    needed_channels,
    source_of,
    wanted_channels,
)
from l0.errors import InputError
from l0.gated_layer import GatedLayer
from l0.hard_concrete import HardConcrete

# float64 keeps 16 digits: a compact model further off than this has lost a channel, not digits
TOLERANCE = 1e-6


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
    rules = channel_rules(graph_module)
    constants = constant_channels(graph_module, rules, device=batch.device)
    needed = needed_channels(graph_module, rules, constants)
    _shrink(graph_module, rules, constants, needed)
    _verify(graph_module(batch.clone()), expected)
    return graph_module.to(dtype)


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
        if is_flattening(node):
            # sizes written into a view would be wrong once channels are gone
            with graph_module.graph.inserting_before(node):
                flat = graph_module.graph.call_function(torch.flatten, (source_of(node), 1))
            flat.meta = node.meta
            node.replace_all_uses_with(flat)
            graph_module.graph.erase_node(node)
    _erase_unread_sizes(graph_module.graph)
    return graph_module


def _erase_unread_sizes(graph: fx.Graph) -> None:
    sizes = {"size", getattr, getitem}
    graph.eliminate_dead_code(is_impure_node=lambda node: node.target not in sizes)


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
        source = source_of(node)
        inputs = constants[source]
        if rule is dense:
            kept[node] = needed[node]
            columns = wanted_channels(node, rule, inputs, needed[node])
            if not torch.equal(columns, kept[source]):
                _select(node, columns[kept[source]].nonzero().flatten())
            _cut(cast(Dense, module_of(node)), inputs, needed[node], columns)
        else:
            kept[node] = kept[source].repeat_interleave(len(constants[node]) // len(inputs))
            if rule in RESIZED:
                _cut_channels(module_of(node), kept[node])
    for node in graph_module.graph.nodes:
        node.meta.clear()
    graph_module.recompile()


def _select(node: fx.Node, index: Tensor) -> None:
    """Put a ``Select`` before the node."""
    name = f"{node.target}_select"
    cast(fx.GraphModule, node.graph.owning_module).add_submodule(name, Select(index).eval())
    with node.graph.inserting_before(node):
        selected = node.graph.call_module(name, (source_of(node),))
    node.args = (selected, *node.args[1:])


def _cut(layer: Dense, inputs: Tensor, rows: Tensor, columns: Tensor) -> None:
    """Leave some outputs and inputs, and add to the bias what the other inputs contributed."""
    folded = inputs.where(folds(layer, inputs) & ~columns, 0)
    bias = (bias_of(layer) + kernels(layer).sum(2) @ folded)[rows]
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
