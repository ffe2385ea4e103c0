"""Path patching: what reaches the logits, or other heads, from one head (arXiv 2211.00593).

Three runs define the effect of a sender on its receivers. Run 1: the clean and the corrupted
prompt. Run 2: the clean prompt, with the z of every head held at its clean value and that of the
sender taken from the corrupted run; MLPs and LayerNorms are recomputed, so that paths through
MLPs count as direct, or MLPs are held as well. Run 3: the clean prompt, with the receivers' values
from run 2, and all else recomputed.

Attention is held in run 2, so no position sees another: only positions whose z may differ are
computed, and for the logits only the end. The senders go through the layers side by side, and
each joins in at its own layer. Run 3 starts at the first receiver's layer. It computes the same
positions only, and the clean run gives the keys and values of those before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor
from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.activations import clean_logits
from circuitlapse.attention import mix
from circuitlapse.batching import Limits, in_batches
from circuitlapse.errors import UnknownNameError, unknown_name
from circuitlapse.forward import LayerTrace, at_end, embed_tokens, layer_norm, run_layers
from circuitlapse.graph import PORTS
from circuitlapse.memory import BYTES, bytes_per_run
from circuitlapse.metrics import needs_clean_logits
from circuitlapse.prompts import PromptPairs
from circuitlapse.readout import Readout
from circuitlapse.types import Metric

LOGITS = "logits"
"""The receiver that is the final residual stream."""
SENDER_POSITIONS = ("all", "end")
NO_CHANGE = 1e-6
"""A smaller difference between the clean and the corrupted metric leaves effects undefined."""

Head = tuple[int, int]
"""(layer, head)."""


class HeadPort(NamedTuple):
    """The query (`q`), key (`k`) or value (`v`) vectors of a head."""

    layer: int
    head: int
    port: str


Receivers = Sequence[HeadPort] | Literal["logits"]


@dataclass(frozen=True, eq=False)
class PatchedPaths:
    """What the metric and attention become when the path from each sender is corrupted.

    Attributes:
        senders: (layer, head) of each row.
        patched: metric of run 3.
        clean, corrupted: metric of the whole model on the clean and on the corrupted prompt.
        attended: (layer, head) of the receivers whose attention was asked for.
        attention: their attention probabilities from the end position in run 3.
        clean_attention: the same in the clean run.
    """

    senders: tuple[Head, ...]
    patched: Float[Tensor, "sender prompt"]
    clean: Float[Tensor, " prompt"]
    corrupted: Float[Tensor, " prompt"]
    attended: tuple[Head, ...]
    attention: Float[Tensor, "sender prompt receiver key"]
    clean_attention: Float[Tensor, "prompt receiver key"]

    @property
    def effect(self) -> Float[Tensor, "sender prompt"]:
        """(patched - clean) / (clean - corrupted) of every prompt.

        0 is no harm, -1 a fall to the corrupted level, more than 0 a sender that was hurting.
        NaN where clean and corrupted differ by less than 1e-6.
        """
        return _normalised(self.patched, self.clean, self.corrupted)

    @property
    def mean_effect(self) -> Float[Tensor, " sender"]:
        """The same of the means over prompts, as in the reference."""
        means = (x.double().mean(-1) for x in (self.patched, self.clean, self.corrupted))
        return _normalised(*means)


def _normalised(patched: Tensor, clean: Tensor, corrupted: Tensor) -> Tensor:
    span = clean - corrupted
    return ((patched - clean) / span).masked_fill(span.abs() < NO_CHANGE, torch.nan)


@torch.no_grad()
def patch_paths(
    model: TransformerBridge,
    pairs: PromptPairs,
    *,
    receivers: Receivers,
    senders: Sequence[Head] | None = None,
    sender_positions: str = "all",
    freeze_mlps: bool = False,
    attention: bool = False,
    metric: str = Metric.LOGIT_DIFF,
    batch_size: int | None = None,
    memory_mb: int | None = None,
) -> PatchedPaths:
    """Patch the path from each sender to all receivers together, sender by sender.

    Source: Wang et al. 2022 (arXiv 2211.00593), appendix B; Goldowsky-Dill et al. 2023
    (arXiv 2304.05969). A sender reaches receivers of later layers only; without any receiver
    behind it, `patched` is `clean`.

    Args:
        model: from `load_model`.
        pairs: clean prompts, corrupted prompts and answers. The prompts of a pair should agree
            in their first tokens: what comes before the first difference costs nothing.
        receivers: `logits` for the final residual stream, or ports of heads.
        senders: (layer, head); None for all heads.
        sender_positions: where the sender's z is corrupted, `all` or the `end` position alone.
        freeze_mlps: hold MLPs in run 2 at what they wrote on the clean prompt. The reference
            recomputes them.
        attention: also return the attention of the receivers, from the end position. Costs
            8 bytes per sender, prompt, receiver and position at most.
        metric: see `per_prompt_metric`; with the logits of the clean run for `kl_divergence`.
        batch_size: prompts per pass; None takes as many as fit in `memory_mb`.
        memory_mb: also bounds how many senders go through at once; None takes most of the free
            memory of a GPU, 500 MB on a CPU.

    Raises:
        UnknownNameError: if `sender_positions` or a port is unknown.
        ValueError: if a sender or a receiver is not in the model.
    """
    senders = _checked_heads(model, _all_heads(model) if senders is None else senders)
    if sender_positions not in SENDER_POSITIONS:
        raise UnknownNameError(unknown_name("sender_positions", sender_positions, SENDER_POSITIONS))
    end_only = sender_positions == "end" or isinstance(receivers, str)
    plan = _Plan(
        receivers=None if isinstance(receivers, str) else _checked_ports(model, receivers),
        senders=tuple(sorted(set(senders))),
        attended=_heads_of(receivers) if attention else (),
        end_only=end_only,
        freeze_mlps=freeze_mlps,
        metric=metric,
    )
    part = _in_batches(model, pairs, plan, Limits(batch_size, memory_mb))
    rows = [plan.senders.index(sender) for sender in senders]
    return PatchedPaths(
        senders=senders,
        patched=part.patched[:, rows].T,
        clean=part.clean,
        corrupted=part.corrupted,
        attended=plan.attended,
        attention=part.attention[:, rows].movedim(1, 0),
        clean_attention=part.clean_attention,
    )


@dataclass(frozen=True, eq=False)
class _Plan:
    """What to patch; `receivers` is None for the logits."""

    receivers: tuple[HeadPort, ...] | None
    senders: tuple[Head, ...]
    attended: tuple[Head, ...]
    end_only: bool
    freeze_mlps: bool
    metric: str

    @property
    def last(self) -> int:
        """Last layer with a receiver; -1 without any."""
        return max((receiver.layer for receiver in self.receivers or ()), default=-1)

    @property
    def reaching(self) -> tuple[Head, ...]:
        """Senders with a receiver behind them."""
        to_logits = self.receivers is None
        return tuple(sender for sender in self.senders if to_logits or sender[0] < self.last)

    def received_in(self, layer: int) -> list[HeadPort]:
        """Return the receivers of a layer."""
        return [receiver for receiver in self.receivers or () if receiver.layer == layer]


class _Part(NamedTuple):
    """The results of some prompts, prompts first."""

    patched: Float[Tensor, "pair sender"]
    attention: Float[Tensor, "pair sender receiver key"]
    clean: Float[Tensor, " pair"]
    corrupted: Float[Tensor, " pair"]
    clean_attention: Float[Tensor, "pair receiver key"]


@dataclass(frozen=True, eq=False)
class _Runs:
    """Run 1 of some prompts, and the positions at which anything may differ from it.

    Attributes:
        at: these positions, of which the last is the end [pair, window].
        clean_logits: see `Readout`.
    """

    model: TransformerBridge
    plan: _Plan
    pairs: PromptPairs
    clean: list[LayerTrace]
    corrupted: list[LayerTrace]
    at: Int[Tensor, "pair window"]
    clean_logits: Float[Tensor, "pair vocab"] | None

    def window(self, x: Float[Tensor, "pair pos ..."]) -> Float[Tensor, "pair window ..."]:
        """Return the positions that are computed."""
        rows: Tensor = x.take_along_dim(self.at.view(*self.at.shape, *[1] * (x.ndim - 2)), 1)
        return rows

    def metric(self, resid_end: Float[Tensor, "sender pair d_model"]) -> Tensor:
        """Return the metric [sender, pair] of final residual streams."""
        n = len(resid_end)
        logits = None if self.clean_logits is None else self.clean_logits.repeat(n, 1)
        readout = Readout(
            self.model, self.pairs.repeat(n), metric=self.plan.metric, clean_logits=logits
        )
        return readout(resid_end.flatten(0, 1)).view(n, -1)

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
        return torch.stack(kept, 1) if kept else self.clean[0].pattern.new_zeros(shape)


def _in_batches(model: TransformerBridge, pairs: PromptPairs, plan: _Plan, limits: Limits) -> _Part:
    logits = clean_logits(model, pairs, limits=limits) if needs_clean_logits(plan.metric) else None
    device, n_pos = pairs.clean.device, pairs.clean.shape[1]
    size = limits.prompts(4 * bytes_per_run(model, n_pos=n_pos), device=device)
    width = int((pairs.end - _first(pairs, plan)).max()) + 1
    room = Limits(None, limits.memory_mb).prompts(
        2 * _bytes_per_row(model, plan, n_pos=n_pos, width=width), device=device
    )

    def work(batch: slice) -> _Part:
        rows = None if logits is None else logits[batch]
        part = pairs.batch(batch.start, batch.stop)
        return _patch(_first_runs(model, part, plan, rows), max(1, room // size))

    size = min(size, len(pairs))
    parts = in_batches(len(pairs), size=size, work=work, what="patching paths")
    return _Part(*(torch.cat(column) for column in zip(*parts, strict=True)))


def _bytes_per_row(model: TransformerBridge, plan: _Plan, *, n_pos: int, width: int) -> int:
    """Return an estimate of what one sender needs for one prompt."""
    cfg = model.cfg
    at_window = 10 * cfg.d_model + 3 * cfg.d_mlp + 3 * cfg.n_heads * n_pos
    received = len(plan.receivers or ()) * cfg.d_head
    logits = 0 if plan.metric == Metric.LOGIT_DIFF else 6 * cfg.d_vocab
    return BYTES * int(width * (at_window + received) + 6 * n_pos * cfg.d_model + logits)


def _first_runs(
    model: TransformerBridge,
    pairs: PromptPairs,
    plan: _Plan,
    logits: Float[Tensor, "pair vocab"] | None,
) -> _Runs:
    clean, corrupted = (
        run_layers(model, embed_tokens(model, side)) for side in (pairs.clean, pairs.corrupted)
    )
    at = _window(pairs.end, _first(pairs, plan))
    return _Runs(model, plan, pairs, clean, corrupted, at, logits)


def _patch(runs: _Runs, n_at_once: int) -> _Part:
    """Patch from `n_at_once` senders at a time; those without a receiver change nothing."""
    plan, clean, attention = runs.plan, runs.metric_of(runs.clean), runs.clean_attention()
    patched = clean[:, None].repeat(1, len(plan.senders))
    attended = attention[:, None].repeat(1, len(plan.senders), 1, 1)
    for start in range(0, len(plan.reaching), n_at_once):
        senders = plan.reaching[start : start + n_at_once]
        rows = slice(start, start + len(senders))
        received, resid = _send(runs, senders)
        if plan.receivers is not None:
            resid, seen = _receive(runs, received, len(senders))
            attended[:, rows] = seen.movedim(1, 0)
        patched[:, rows] = runs.metric(resid[:, :, -1]).T
    return _Part(patched, attended, clean, runs.metric_of(runs.corrupted), attention)


Received = dict[HeadPort, Float[Tensor, "sender pair window d_head"]]


def _send(
    runs: _Runs, senders: Sequence[Head]
) -> tuple[Received, Float[Tensor, "sender pair window d_model"]]:
    """Do run 2: return what the receivers get, and the residual stream behind the last of them.

    Senders are in the order of their layers, and the rows of the residual stream are those that
    have come so far.
    """
    received: Received = {}
    resid = runs.window(runs.clean[0].resid)[None][:0]
    for layer in range(runs.model.cfg.n_layers):
        received |= _ports_of(runs, layer, resid, len(senders))
        if layer == runs.plan.last:
            break
        resid = _past(runs, layer, resid, [head for at, head in senders if at == layer])
    return received, resid


def _ports_of(
    runs: _Runs, layer: int, resid: Float[Tensor, "row pair window d_model"], n_senders: int
) -> Received:
    """Return what the receivers of a layer get; from senders that come later, nothing new."""
    attn, found = runs.model.blocks[layer].attn, {}
    wanted = runs.plan.received_in(layer)
    normed = layer_norm(resid, runs.model.blocks[layer].ln1) if wanted else resid
    for receiver in wanted:
        port, head = receiver.port.upper(), receiver.head
        clean = runs.clean[layer].ports[PORTS.index(receiver.port)]
        value = runs.window(_per_head(runs.model, clean)[:, :, head]).repeat(n_senders, 1, 1, 1)
        weight, bias = (getattr(attn, f"{kind}_{port}")[head] for kind in "Wb")
        value[: len(resid)] = normed @ weight + bias
        found[receiver] = value
    return found


def _past(
    runs: _Runs, layer: int, resid: Float[Tensor, "row pair window d_model"], joining: list[int]
) -> Float[Tensor, "joined pair window d_model"]:
    """Return the residual streams after a layer of run 2, those of its own senders added."""
    block, clean, other = runs.model.blocks[layer], runs.clean[layer], runs.corrupted[layer]
    change = runs.window((other.z - clean.z)[:, :, joining])
    change = torch.einsum("pwhe,hed->hpwd", change, block.attn.W_O[joining])
    first = runs.window(clean.resid).expand(len(joining), -1, -1, -1)
    middle = torch.cat([resid, first + change]) + runs.window(clean.attn_out)
    mlp_out = runs.window(clean.mlp_out)
    if runs.plan.freeze_mlps:
        return middle + mlp_out
    if not runs.model.cfg.parallel_attn_mlp:
        return middle + _mlp(block, middle)
    return middle + torch.cat([_mlp(block, resid), mlp_out.expand_as(first)])


def _receive(
    runs: _Runs, received: Received, n_senders: int
) -> tuple[Float[Tensor, "sender pair _ d_model"], Float[Tensor, "sender pair receiver key"]]:
    """Do run 3: return the last positions of the final residual stream, and the attention."""
    first, last = min(received)[0], runs.model.cfg.n_layers - 1
    resid = runs.window(runs.clean[first].resid)[None]
    seen: dict[Head, Tensor] = {}
    for layer in range(first, last + 1):
        here = {(r.head, r.port): value for r, value in received.items() if r.layer == layer}
        n_queries = 1 if layer == last else runs.at.shape[1]
        vectors = _vectors(runs, layer, resid, here, n_senders)
        resid, pattern = _attend(runs, layer, resid, vectors, n_queries)
        seen |= {at: pattern[at[1]] for at in runs.plan.attended if at[0] == layer}
    kept = [seen[at] for at in runs.plan.attended]
    shape = (n_senders, len(runs.pairs), 0, runs.pairs.clean.shape[1])
    return resid, torch.stack(kept, 2) if kept else resid.new_zeros(shape)


def _vectors(
    runs: _Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    received: dict[tuple[int, str], Tensor],
    n_senders: int,
) -> list[Float[Tensor, "sender pair window head d_head"]]:
    """Return queries, keys and values of all heads of a layer, the receivers' replaced.

    There is one row for all senders in the first layer, where their residual streams agree.
    """
    block = runs.model.blocks[layer]
    normed = layer_norm(resid, block.ln1)
    vectors = []
    for port in PORTS:
        x = getattr(block.attn, port)(normed.flatten(0, 1)).view_as(resid)
        x = _per_head(runs.model, x).repeat(n_senders // len(resid), 1, 1, 1, 1)
        for (head, name), value in received.items():
            if name == port:
                x[:, :, :, head] = value
        vectors.append(x)
    return vectors


def _attend(
    runs: _Runs,
    layer: int,
    resid: Float[Tensor, "row pair window d_model"],
    vectors: list[Float[Tensor, "sender pair window head d_head"]],
    n_queries: int,
) -> tuple[Float[Tensor, "sender pair _ d_model"], Float[Tensor, "head sender pair key"]]:
    """Return the last residual streams behind a layer of run 3, and attention from the end."""
    block, (query, *others) = runs.model.blocks[layer], vectors
    n_senders, n_pairs = query.shape[:2]
    clean = runs.clean[layer].ports[1:]
    ports = [query[:, :, -n_queries:]]
    ports += [_among(runs, x, new) for x, new in zip(clean, others, strict=True)]
    at = runs.at[:, -n_queries:].repeat(n_senders, 1)
    z, pattern = mix(runs.model, *(port.flatten(0, 1).movedim(2, 0) for port in ports), at=at)
    resid = resid[:, :, -n_queries:]
    attn_out = block.attn.o(z.movedim(0, 2).flatten(2))
    middle = resid + attn_out.view(n_senders, n_pairs, n_queries, -1)
    after = middle + _mlp(block, resid if runs.model.cfg.parallel_attn_mlp else middle)
    return after, pattern[:, :, -1].reshape(len(pattern), n_senders, n_pairs, -1)


def _among(
    runs: _Runs,
    clean: Float[Tensor, "pair pos d_model"],
    new: Float[Tensor, "sender pair window head d_head"],
) -> Float[Tensor, "sender pair pos head d_head"]:
    """Return vectors of the clean run, with the new ones at the positions of the window."""
    at = runs.at[None, :, :, None, None].expand_as(new)
    return _per_head(runs.model, clean).repeat(len(new), 1, 1, 1, 1).scatter(2, at, new)


def _per_head(
    model: TransformerBridge, x: Float[Tensor, "*rows d_model"]
) -> Float[Tensor, "*rows head d_head"]:
    return x.reshape(*x.shape[:-1], model.cfg.n_heads, -1)


def _mlp(block: Any, x: Float[Tensor, "row pair pos d_model"]) -> Tensor:
    out: Tensor = block.mlp(layer_norm(x.flatten(0, 1), block.ln2))
    return out.view_as(x)


def _all_heads(model: TransformerBridge) -> list[Head]:
    return [(at, head) for at in range(model.cfg.n_layers) for head in range(model.cfg.n_heads)]


def _checked_heads(model: TransformerBridge, heads: Sequence[Head]) -> tuple[Head, ...]:
    for layer, head in heads:
        if not (0 <= layer < model.cfg.n_layers and 0 <= head < model.cfg.n_heads):
            raise ValueError(
                f"a{layer}.h{head} is not in the model, which has {model.cfg.n_layers} layers of "
                f"{model.cfg.n_heads} heads"
            )
    return tuple((layer, head) for layer, head in heads)


def _checked_ports(model: TransformerBridge, receivers: Sequence[HeadPort]) -> tuple[HeadPort, ...]:
    _checked_heads(model, [(layer, head) for layer, head, _ in receivers])
    for _, _, port in receivers:
        if port not in PORTS:
            raise UnknownNameError(unknown_name("port", port, PORTS))
    return tuple(sorted({HeadPort(*receiver) for receiver in receivers}))


def _heads_of(receivers: Receivers) -> tuple[Head, ...]:
    if isinstance(receivers, str):
        return ()
    return tuple(sorted({(layer, head) for layer, head, _ in receivers}))


def _first(pairs: PromptPairs, plan: _Plan) -> Int[Tensor, " pair"]:
    """Return the first position where the prompts of a pair differ, the end where none does."""
    if plan.end_only:
        return pairs.end
    differs = (pairs.clean != pairs.corrupted) & pairs.attention_mask
    return torch.where(differs.any(1), differs.int().argmax(1), pairs.end)


def _window(end: Int[Tensor, " pair"], first: Int[Tensor, " pair"]) -> Int[Tensor, "pair window"]:
    """Return the positions to compute, the last of which is the end.

    All prompts have as many as the one that needs most; where that reaches beyond the start of a
    short prompt, its first position comes several times.
    """
    width = int((end - first).max()) + 1
    back = torch.arange(width - 1, -1, -1, device=end.device)
    return (end[:, None] - back).clamp(min=0)
