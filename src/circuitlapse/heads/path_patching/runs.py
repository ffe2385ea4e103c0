"""The three runs of path patching on one batch of prompts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from circuitlapse.heads.path_patching.patch_plan import HeadPort, PatchPlan, SenderHeads
from circuitlapse.models.decoder import Block, Decoder
from circuitlapse.models.forward import (
    LayerTrace,
    at_end,
    embed_tokens,
    mix,
    run_layers,
)
from circuitlapse.models.graph import PORTS, Head
from circuitlapse.models.metrics import ResidualMetric
from circuitlapse.models.prompts import PromptPairs


def mlp(block: Block, x: Float[Tensor, "row pair pos d_model"]) -> Tensor:
    """Return what the MLP of a block makes of the residual streams that it reads."""
    return block.mlp(block.ln2(x))


@dataclass(frozen=True, eq=False)
class Runs:
    """Run 1 of some prompts, and the positions at which anything may differ from it.

    Attributes:
        at: these positions, of which the last is the end [pair, window].
        clean_logits: see `ResidualMetric`.
    """

    model: Decoder
    plan: PatchPlan
    pairs: PromptPairs
    clean: list[LayerTrace]
    corrupted: list[LayerTrace]
    at: Int[Tensor, "pair window"]
    clean_logits: Float[Tensor, "pair vocab"] | None

    def of_plan(self, plan: PatchPlan) -> Runs:
        """Return the same for another plan with the same metric."""
        at = _window(self.pairs.end, window_width(self.pairs, plan))
        return replace(self, plan=plan, at=at)

    def window(self, x: Float[Tensor, "pair pos ..."]) -> Float[Tensor, "pair window ..."]:
        """Return the positions that are computed."""
        # [pair, window, 1, ...], broadcast over the axes behind the positions
        rows: Tensor = x.take_along_dim(self.at.view(*self.at.shape, *[1] * (x.ndim - 2)), 1)
        return rows

    def metric(self, resid_end: Float[Tensor, "sender pair d_model"]) -> Tensor:
        """Return the metric [sender, pair] of final residual streams."""
        n = len(resid_end)  # senders: the pairs are repeated for each, [sender * pair, ...]
        logits = None if self.clean_logits is None else self.clean_logits.repeat(n, 1)
        metric_of = ResidualMetric(
            self.model, self.pairs.repeat(n), metric=self.plan.metric, clean_logits=logits
        )
        return metric_of(resid_end.flatten(0, 1)).view(n, -1)

    def metric_of(self, layers: list[LayerTrace]) -> Float[Tensor, " pair"]:
        """Return the metric of a whole run."""
        return self.metric(at_end(layers[-1].after, self.pairs.end)[None])[0]

    def clean_attention(self) -> Float[Tensor, "pair receiver key"]:
        """Return the attention of the receivers from the end."""
        kept = [
            at_end(self.clean[layer].pattern[:, head], self.pairs.end)
            for layer, head in self.plan.attended
        ]
        shape = (len(self.pairs), 0, self.pairs.clean.shape[1])
        # An axis of length 0 where no attention was asked for, so that results have one shape.
        return torch.stack(kept, 1) if kept else self.clean[0].pattern.new_zeros(shape)


def first_runs(
    model: Decoder,
    pairs: PromptPairs,
    plan: PatchPlan,
    logits: Float[Tensor, "pair vocab"] | None,
) -> Runs:
    """Do run 1; `logits` are those of the clean run where the metric needs them."""
    clean, corrupted = (
        run_layers(model, embed_tokens(model, side)) for side in (pairs.clean, pairs.corrupted)
    )
    at = _window(pairs.end, window_width(pairs, plan))
    return Runs(model, plan, pairs, clean, corrupted, at, logits)


def window_width(pairs: PromptPairs, plan: PatchPlan) -> int:
    """Return how many positions up to the end are computed: those of the pair that needs most."""
    if plan.end_only:
        return 1
    # Attention is causal: before the first difference, clean and corrupted run are the same.
    differs = (pairs.clean != pairs.corrupted) & pairs.attention_mask  # [pair, pos]
    first = torch.where(differs.any(1), differs.int().argmax(1), pairs.end)  # [pair]
    return int((pairs.end - first).max()) + 1


def _window(end: Int[Tensor, " pair"], width: int) -> Int[Tensor, "pair window"]:
    """Return the last positions up to the end.

    Where that reaches beyond the start of a short prompt, its first position comes several times.
    """
    back = torch.arange(width - 1, -1, -1, device=end.device)  # how far from the end: ..., 1, 0
    return (end[:, None] - back).clamp(min=0)


Received = dict[HeadPort, Float[Tensor, "sender pair window d_head"]]
"""Receiver -> its vectors in run 2, one row per sender."""


def send(
    runs: Runs, senders: Sequence[SenderHeads]
) -> tuple[Received, Float[Tensor, "sender pair window d_model"]]:
    """Do run 2: return what the receivers get, and the residual stream after the last of them.

    Senders are sorted by the layer of their first head. The residual stream has a row for each
    sender whose first head has been passed; all others still have the clean stream.
    """
    received: Received = {}
    among = _among(runs, senders)
    resid = runs.window(runs.clean[0].resid)[None][:0]  # no sender yet: [0, pair, window, d_model]
    for layer in range(runs.model.cfg.n_layers):
        received |= _ports_of(runs, layer, resid, len(senders))
        if layer == runs.plan.last:  # no receiver comes later
            break
        resid = _past(runs, layer, resid, among)
    return received, resid


def _among(runs: Runs, senders: Sequence[SenderHeads]) -> Bool[Tensor, "layer sender head"]:
    """Return which heads each sender consists of, on the CPU: it is read to choose rows."""
    cfg = runs.model.cfg
    # Reading it on a GPU would wait for all that is queued there, in every layer.
    among = torch.zeros(cfg.n_layers, len(senders), cfg.n_heads, dtype=torch.bool)
    places = [(at, row, head) for row, heads in enumerate(senders) for at, head in heads]
    among[tuple(torch.tensor(places).T)] = True
    return among


def _ports_of(
    runs: Runs, layer: int, resid: Float[Tensor, "row pair window d_model"], n_senders: int
) -> Received:
    """Return what the receivers of a layer get; for senders of later layers, the clean vectors."""
    attn, found = runs.model.blocks[layer].attn, {}
    wanted = runs.plan.received_in(layer)
    normed = runs.model.blocks[layer].ln1(resid) if wanted else resid
    for receiver in wanted:
        port, head = receiver.port.upper(), receiver.head
        clean = runs.clean[layer].ports[PORTS.index(receiver.port)]  # [pair, pos, head, d_head]
        # [sender, pair, window, d_head]: the clean vectors, until a sender has joined
        value = runs.window(clean[:, :, head]).repeat(n_senders, 1, 1, 1)
        weight, bias = (getattr(attn, f"{kind}_{port}")[head] for kind in "Wb")
        value[: len(resid)] = normed @ weight + bias
        found[receiver] = value
    return found


def _past(
    runs: Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    among: Bool[Tensor, "layer sender head"],
) -> Float[Tensor, "joined pair window d_model"]:
    """Return the residual streams after a layer of run 2, those that start here added."""
    block, clean = runs.model.blocks[layer], runs.clean[layer]
    n_joined = int(among[: layer + 1].any(2).any(0).sum())
    # Senders whose first head is here start from the clean residual stream.
    first = runs.window(clean.resid).expand(n_joined - len(resid), -1, -1, -1)
    rows, change = _changes(runs, layer, among[layer])
    # All heads hold their clean z, so that attention writes its clean output plus the change of
    # the senders' own heads: [joined, pair, window, d_model].
    middle = torch.cat([resid, first]).index_add_(0, rows, change) + runs.window(clean.attn_out)
    mlp_out = runs.window(clean.mlp_out)
    if runs.plan.freeze_mlps:
        return middle + mlp_out
    if not runs.model.cfg.parallel_attn_mlp:
        return middle + mlp(block, middle)
    # Parallel: the MLP reads the stream before this layer, which is clean for those that start.
    return middle + torch.cat([mlp(block, resid), mlp_out.expand_as(first)])


def _changes(
    runs: Runs, layer: int, among: Bool[Tensor, "sender head"]
) -> tuple[Int[Tensor, " row"], Float[Tensor, "row pair window d_model"]]:
    """Return the senders with heads in a layer, and what these write, corrupted minus clean.

    What a head writes is the same for all senders. No row comes twice, so that adding them to
    the residual streams gives the same numbers every time, on a GPU as well.
    """
    rows, heads = (
        among.any(dim).nonzero()[:, 0] for dim in (1, 0)
    )  # with a head here; those heads
    # [pair, window, head, d_head] -> [head, pair, window, d_model]
    z = runs.window((runs.corrupted[layer].z - runs.clean[layer].z)[:, :, heads])
    each = torch.einsum("pwhe,hed->hpwd", z, runs.model.blocks[layer].attn.W_O[heads])
    weights = among[rows][:, heads].to(each)  # [row, head], 1 where the sender has the head
    return rows.to(each.device), torch.einsum("rh,hpwd->rpwd", weights, each)


def receive(
    runs: Runs, received: Received, n_senders: int
) -> tuple[Float[Tensor, "sender pair _ d_model"], Float[Tensor, "sender pair receiver key"]]:
    """Do run 3: return the last positions of the final residual stream, and the attention."""
    first, last = min(received)[0], runs.model.cfg.n_layers - 1
    resid = runs.window(runs.clean[first].resid)[None]  # one row: senders agree up to here
    seen: dict[Head, Tensor] = {}
    for layer in range(first, last + 1):
        here = {(r.head, r.port): value for r, value in received.items() if r.layer == layer}
        n_queries = 1 if layer == last else runs.at.shape[1]  # only the end of the last is read
        vectors = _vectors(runs, layer, resid, here, n_senders)
        resid, pattern = _attend(runs, layer, resid, vectors, n_queries)
        seen |= {at: pattern[at[1]] for at in runs.plan.attended if at[0] == layer}
    kept = [seen[at] for at in runs.plan.attended]  # each [sender, pair, key]
    shape = (n_senders, len(runs.pairs), 0, runs.pairs.clean.shape[1])
    return resid, torch.stack(kept, 2) if kept else resid.new_zeros(shape)


def _vectors(
    runs: Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    received: dict[tuple[int, str], Tensor],
    n_senders: int,
) -> list[Float[Tensor, "sender pair window head d_head"]]:
    """Return queries, keys and values of all heads of a layer, the receivers' replaced.

    There is one row for all senders in the first layer, where their residual streams agree.
    """
    block = runs.model.blocks[layer]
    vectors = []
    for port, x in zip(PORTS, block.attn.ports(block.ln1(resid)), strict=True):
        # From one row, or one per sender, to one per sender.
        x = x.repeat(n_senders // len(resid), 1, 1, 1, 1)
        for (head, name), value in received.items():
            if name == port:
                x[:, :, :, head] = value  # from run 2
        vectors.append(x)
    return vectors


def _attend(
    runs: Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    vectors: list[Float[Tensor, "sender pair window head d_head"]],
    n_queries: int,
) -> tuple[Float[Tensor, "sender pair _ d_model"], Float[Tensor, "head sender pair key"]]:
    """Return the last residual streams behind a layer of run 3, and attention from the end."""
    block, (query, *others) = runs.model.blocks[layer], vectors
    n_senders, n_pairs = query.shape[:2]
    clean = runs.clean[layer].ports[1:]  # keys and values of all positions
    ports = [query[:, :, -n_queries:]]
    ports += [_with_window(runs, x, new) for x, new in zip(clean, others, strict=True)]
    # `mix` takes senders and pairs as one axis, heads in front: [head, sender * pair, pos, d_head].
    at = runs.at[:, -n_queries:].repeat(n_senders, 1)  # [sender * pair, query]
    mixed, pattern = mix(block.attn, *(port.flatten(0, 1).movedim(2, 0) for port in ports), at=at)
    resid, z = resid[:, :, -n_queries:], mixed.movedim(0, 2)  # [sender * pair, query, head, d_head]
    attn_out = block.attn.write(block.attn.divided(z)[0])
    middle = resid + attn_out.view(n_senders, n_pairs, n_queries, -1)
    after = middle + mlp(block, resid if runs.model.cfg.parallel_attn_mlp else middle)
    # The last query stands at the end.
    return after, pattern[:, :, -1].reshape(len(pattern), n_senders, n_pairs, -1)


def _with_window(
    runs: Runs,
    clean: Float[Tensor, "pair pos head d_head"],
    new: Float[Tensor, "sender pair window head d_head"],
) -> Float[Tensor, "sender pair pos head d_head"]:
    """Return vectors of the clean run, with the new ones at the positions of the window."""
    # Where the window has a position twice, both places hold the same vector.
    at = runs.at[None, :, :, None, None].expand_as(new)
    return clean.repeat(len(new), 1, 1, 1, 1).scatter(2, at, new)
