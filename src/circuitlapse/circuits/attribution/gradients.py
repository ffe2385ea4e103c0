"""Gradients at every receiver's own input, from ordinary forward and backward passes.

A head's query, key and value each read the residual stream through LayerNorm and one matrix.
The gradient at the query (key, value) vector of one head therefore gives the gradient at that
head's input: through the matrix, then through LayerNorm. With xhat the normalised residual
stream, s the standard deviation it was divided by, W the matrix of head and port, scaled row
by row with LayerNorm's gain, and g the gradient at the vector, that is

    (W g - mean(W g) - xhat (xhat . W g) / d_model) / s

With RMSNorm, s is the root mean square and there is no mean term; without any norm, s is 1 and
xhat 0.

Of this only g / s, xhat and one number, c = xhat . W g / (d_model s), have to be kept per run:
summed over runs, the first two terms are one product with the centred W, and the last is a
product of xhat and c over the runs. The residual stream is never copied per receiver. In place of
xhat the residual stream is kept, which the pass has made anyway, in the model's number format.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor

from circuitlapse.models.activations import Outputs
from circuitlapse.models.decoder import Decoder
from circuitlapse.models.forward import Edit, LayerTrace, at_end, run_layers
from circuitlapse.models.graph import PORTS, Graph
from circuitlapse.models.metrics import ResidualMetric, loss_sign, needs_clean_logits
from circuitlapse.models.prompts import PromptPairs


@dataclass(frozen=True, eq=False)
class Objective:
    """What is differentiated: minus the metric (or the KL divergence), summed over prompts."""

    pairs: PromptPairs
    metric: str
    clean_logits: Float[Tensor, "pair vocab"]

    def batch(self, start: int, stop: int) -> Objective:
        """Return the objective of the pairs from `start` up to, not including, `stop`."""
        pairs = self.pairs.batch(start, stop)
        return Objective(pairs, self.metric, self.clean_logits[start:stop])

    def loss(
        self, model: Decoder, resid_end: Float[Tensor, "row d_model"], weights: Sequence[float]
    ) -> Float[Tensor, ""]:
        """Return the loss of several runs of all prompts, each times its weight."""
        n_runs = len(weights)
        # Runs come one after the other: [run * pair, vocab].
        clean = self.clean_logits.repeat(n_runs, 1) if needs_clean_logits(self.metric) else None
        pairs = self.pairs.repeat(n_runs)
        metric_of = ResidualMetric(model, pairs, metric=self.metric, clean_logits=clean)
        per_run = metric_of(resid_end).reshape(n_runs, -1).sum(1)  # [run]
        return loss_sign(self.metric) * (per_run * per_run.new_tensor(weights)).sum()


@dataclass
class _HeadSum:
    """What is kept of the gradients at the heads of one layer: g / s, xhat and c (see above)."""

    scaled: list[Tensor | int] = field(default_factory=lambda: [0] * len(PORTS))
    """Sum over runs of g / s, for each port [pair, pos, head, d_head]."""
    # xhat times c is summed over runs at the end, so both are kept: one entry per call of `add`.
    resid: list[Float[Tensor, "run pair pos d_model"]] = field(default_factory=list)
    along: list[Float[Tensor, "run pair pos target"]] = field(default_factory=list)


class GradientSum:
    """Gradients of the loss at every receiver's input, summed over weighted runs, in float32.

    Args:
        model: weights need no gradient.
        objective: the clean prompts' answers are scored.
        with_attention: also keep the gradients at the attention probabilities, summed over runs.
    """

    def __init__(
        self, model: Decoder, objective: Objective, *, with_attention: bool = False
    ) -> None:
        self._model, self._objective = model, objective
        self._attention: list[Tensor | int] = [0] * (model.cfg.n_layers if with_attention else 0)
        self._heads = [_HeadSum() for _ in range(model.cfg.n_layers)]
        self._mlps: list[Tensor | int] = [0] * model.cfg.n_layers
        self._logits: Tensor | int = 0

    def add(
        self,
        embeds: Float[Tensor, "run pair pos d_model"],
        *,
        weights: Sequence[float],
        edit: Edit | None = None,
    ) -> None:
        """Run the model from each of several outputs of the embedding, and add the gradients.

        Args:
            embeds: replace the output of the embedding.
            weights: of each run; its gradients count this often.
            edit: replaces further outputs; it sees runs and pairs as one axis.
        """
        n_runs = len(embeds)
        with torch.enable_grad():
            # The one tensor that requires a gradient, so that autograd records the whole pass.
            start = embeds.flatten(0, 1).detach().requires_grad_(True)  # [run * pair, pos, d_model]
            layers = run_layers(self._model, start, edit=edit)
            resid_end = at_end(layers[-1].after, self._objective.pairs.end.repeat(n_runs))
            loss = self._objective.loss(self._model, resid_end, weights)
            wanted = [part for layer in layers for part in (*layer.ports, layer.mlp_resid)]
            wanted += [layer.attention for layer in layers[: len(self._attention)]]
            # Unused: what an edit replaces, such as the ports of heads whose z is interpolated.
            grads = torch.autograd.grad(
                loss, [*wanted, resid_end], allow_unused=True, materialize_grads=True
            )
        width = len(PORTS) + 1  # gradients per layer: q, k, v and the MLP
        for index, trace in enumerate(layers):
            *at_ports, at_mlp = grads[index * width : (index + 1) * width]
            self._add_heads(index, trace, at_ports, n_runs)
            self._mlps[index] = self._mlps[index] + _sum_of_runs(at_mlp, n_runs)
        for index, grad in enumerate(grads[len(layers) * width : -1]):  # [head, run * pair, ...]
            self._attention[index] = self._attention[index] + _sum_of_runs(
                grad.movedim(0, 1), n_runs
            )
        self._logits = self._logits + _sum_of_runs(grads[-1], n_runs)

    @torch.no_grad()
    def _add_heads(self, layer: int, trace: LayerTrace, grads: list[Tensor], n_runs: int) -> None:
        block, heads = self._model.blocks[layer], self._heads[layer]
        scale = block.ln1.scale(trace.resid.float())[..., None, None]  # s [run * pair, pos, 1, 1]
        # What the vectors would be without the residual stream: biases alone.
        fixed = block.attn.ports(block.ln1.offset(trace.resid))  # each [head, d_head]
        along = []
        # On a GPU this costs what it reads and writes, so there are few steps; those with a
        # float32 operand compute in float32.
        for port, (grad, value, bias) in enumerate(zip(grads, trace.ports, fixed, strict=True)):
            per_head = grad / scale  # g / s [run * pair, pos, head, d_head]
            heads.scaled[port] = heads.scaled[port] + _sum_of_runs(per_head, n_runs)
            # W^T xhat costs no projection: the forward pass has computed the vector as
            # port(gain * xhat + bias), and port(bias) is the part of it that is not W^T xhat.
            moved = value - bias.float()
            along.append((moved * per_head).sum(-1) / self._model.cfg.d_model)  # c [.., pos, head]
        # Targets of a layer: all queries, then all keys, then all values.
        heads.along.append(_by_run(torch.cat(along, 2).float(), n_runs))
        heads.resid.append(_by_run(trace.resid.detach(), n_runs))

    def at_heads(self, layer: int) -> Float[Tensor, "pair target pos d_model"]:
        """Return the sum at the queries, keys and values of all heads of a layer, in this order."""
        block, heads = self._model.blocks[layer], self._heads[layer]
        weight = torch.cat([block.attn.W_Q, block.attn.W_K, block.attn.W_V]).float()
        weight = weight * block.ln1.gain(weight.mT)[:, None]  # [target, d_model, d_head]
        # Centred over d_model, the product has the mean term taken off.
        weight = block.ln1.centre(weight, dim=1)
        scaled = torch.cat([torch.as_tensor(part) for part in heads.scaled], 2)
        straight = torch.einsum("btre,rde->brtd", scaled, weight)  # [pair, target, pos, d_model]
        along = torch.cat(heads.along)  # [run, pair, pos, target]
        normalised, _ = block.ln1.normalised(torch.cat(heads.resid))  # [run, pair, pos, d_model]
        return straight - torch.einsum("nbtr,nbtd->brtd", along, normalised)

    def at_attention(self, layer: int) -> Float[Tensor, "pair head query key"]:
        """Return the sum at the attention probabilities; only with `with_attention`."""
        return torch.as_tensor(self._attention[layer])

    def at_mlp(self, layer: int) -> Float[Tensor, "pair pos d_model"]:
        """Return the sum at the input of an MLP."""
        return torch.as_tensor(self._mlps[layer])

    def at_logits(self) -> Float[Tensor, "pair d_model"]:
        """Return the sum at the final residual stream; only the end position has a gradient."""
        return torch.as_tensor(self._logits)


def _by_run(x: Float[Tensor, "run_and_pair ..."], n_runs: int) -> Float[Tensor, "run pair ..."]:
    return x.reshape(n_runs, -1, *x.shape[1:])


def _sum_of_runs(x: Float[Tensor, "run_and_pair ..."], n_runs: int) -> Float[Tensor, "pair ..."]:
    return _by_run(x, n_runs).sum(0, dtype=torch.float32)


def source_changes(
    model: Decoder, clean: Outputs, ablated: Outputs
) -> Float[Tensor, "pair source pos d_model"]:
    """Return ablated minus clean output of every source, in float32.

    The output bias of attention belongs to no source: it is the same in both.
    """
    parts = [(ablated.embed - clean.embed)[:, None]]
    for layer, block in enumerate(model.blocks):
        mixed = ablated.z[:, :, layer] - clean.z[:, :, layer]  # [pair, pos, head, d_head]
        # The output projection is linear, so the difference is projected once.
        parts.append(torch.einsum("bthe,hed->bhtd", mixed, block.attn.W_O))
        parts.append((ablated.mlp_out[:, :, layer] - clean.mlp_out[:, :, layer])[:, None])
    return torch.cat(parts, dim=1).float()  # sources in the order of the graph


@torch.no_grad()
def edge_sums(
    graph: Graph,
    changes: Float[Tensor, "pair source pos d_model"],
    gradients: GradientSum,
    end: Int[Tensor, " pair"],
    sets: Float[Tensor, "set pair"],
    *,
    rows: slice = slice(None),
) -> Float[Tensor, "set source target"]:
    """Return change of source times summed gradient at target, summed over sets of pairs.

    Scores of single pairs exist for one layer at a time; sums are in float64.

    Args:
        graph: names the axes.
        changes: of all sources.
        gradients: of the same pairs.
        end: end position of each pair; the logits are read there alone.
        sets: how often each pair counts in each set, in float64.
        rows: sources to score; the others, and what is no edge, stay 0.
    """
    scores = torch.zeros(len(sets), *graph.exists.shape, dtype=torch.float64)
    first, last, _ = rows.indices(len(graph.sources))

    def score(seen: int, columns: slice, grads: Tensor) -> None:
        stop = min(seen, last)
        if first < stop:
            change = changes[:, first:stop].flatten(2)  # [pair, source, pos * d_model]
            per_pair = change @ grads.flatten(2).mT  # [pair, source, target]
            scores[:, first:stop, columns] = sums_over_sets(sets, per_pair)

    for layer in range(graph.n_layers):
        column = graph.mlp_target(layer)
        heads = slice(graph.port_targets(layer, "q").start, column)
        if first < graph.n_visible(layer):  # otherwise the heads of this layer see none of `rows`
            score(graph.n_visible(layer), heads, gradients.at_heads(layer))
        mlp = gradients.at_mlp(layer)[:, None]
        score(graph.n_visible_to_mlp(layer), slice(column, column + 1), mlp)
    # [pair, source]; at other positions the logits are not read, and their gradient is 0.
    per_pair = torch.einsum("bsd,bd->bs", at_end(changes.movedim(2, 1), end), gradients.at_logits())
    scores[:, first:last, -1] = sums_over_sets(sets, per_pair[:, first:last])
    return scores


def sums_over_sets(
    sets: Float[Tensor, "set pair"], per_pair: Float[Tensor, "pair ..."]
) -> Float[Tensor, "set ..."]:
    """Return scores of single pairs summed over sets of pairs, in float64, on the CPU."""
    sums: Tensor = torch.tensordot(sets, per_pair.double(), dims=1)
    return sums.cpu()
