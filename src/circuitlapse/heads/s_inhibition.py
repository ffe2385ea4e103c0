"""S-inhibition: does a head tell the name movers which name comes twice, and how?

A head passes by the position or by the token signal if, under the flip that turns this signal alone
(`S2I_SIGNALS`),

- the logit difference and attention of the name movers to io fall, and that to s1 rises;
- the logit difference falls by `min_s2i_effect` at least, and
- the bootstrap interval of its change lies below 0.

By the rule `paper`, the first is enough, and only the position signal counts.

Source: Wang et al. 2022 (arXiv 2211.00593), section 3.2 and appendix A, for the two signals; Tigges
et al. 2024 (arXiv 2407.10827), whose code has the rule `paper`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import torch
from jaxtyping import Bool, Float, Int
from numpy import ndarray
from torch import Tensor

from circuitlapse.heads.base import Subject, positions_of_names, with_names
from circuitlapse.heads.path_patching import Head, HeadPort, PatchedPaths, patch_paths
from circuitlapse.models.batching import AUTOMATIC, Limits
from circuitlapse.models.prompts import PromptPairs
from circuitlapse.settings.analysis import Algorithm, Bootstrap
from circuitlapse.statistics import percentile_interval, resampled_means
from circuitlapse.types import NAME_ROLES, S2I_SIGNALS, RoleRule
from circuitlapse.types.status import ScoreStatus

FLIPS = {
    "random_same": "XYY",
    S2I_SIGNALS["token"]: "BAA",
    S2I_SIGNALS["position"]: "BAB",
    "random_opposite": "XYX",
    "opposite_opposite": "ABA",
}
"""Names of flips, TOKEN SIGNAL_POSITION SIGNAL -> the names in the roles io, s1 and s2.

A is the indirect object of the prompt, B its subject, X and Y are two other names. By role, a
flip is the same whether the indirect object or the subject comes first.
"""
COLUMNS = ("d_logit_diff", *(f"d_attn_{role}" for role in NAME_ROLES))
INTERVAL = ("d_logit_diff_low", "d_logit_diff_high")
NO_ORIGINAL = 1e-6
RULES, RESAMPLING = Algorithm(), Bootstrap()
"""Settings where a caller gives none: the defaults of the configuration."""


class _Means(NamedTuple):
    """Means over prompts, and for attention over name movers too; one row per patched head."""

    logit_diff: Float[Tensor, " head"]
    attention: Float[Tensor, "head role"]


@dataclass(frozen=True, eq=False)
class FlipTest:
    """What was measured of the candidates, prompt by prompt.

    Attributes:
        table: as `s_inhibition` returns it.
        candidates: the heads that were tested, in the order of the rows of a flip.
        pairs: the prompts; None if there was nothing to test.
        paths: flip -> what came of it; only the flips that decide.
    """

    table: pd.DataFrame
    candidates: Sequence[Head]
    pairs: PromptPairs | None
    paths: Mapping[str, PatchedPaths]
    settings: Algorithm
    bootstrap: Bootstrap

    def passed(self, rows: Int[ndarray, " row"]) -> Bool[ndarray, " candidate"]:
        """Return which candidates pass on these prompts alone."""
        if self.pairs is None or not self.paths:
            return np.zeros(len(self.candidates), dtype=bool)
        pairs = self.pairs.take(rows)
        by_flip = {
            flip: _passes(_numbers(_of_prompts(paths, rows), pairs, self.bootstrap), self.settings)
            for flip, paths in self.paths.items()
        }
        position, token = (by_flip[S2I_SIGNALS[signal]] for signal in ("position", "token"))
        by_token = token & (self.settings.rule != RoleRule.PAPER)
        return np.asarray(position | by_token)


def s_inhibition(
    subject: Subject,
    *,
    name_movers: Sequence[Head],
    candidates: Sequence[Head] | None = None,
    settings: Algorithm = RULES,
    bootstrap: Bootstrap = RESAMPLING,
    limits: Limits = AUTOMATIC,
) -> pd.DataFrame:
    """Return how much less the model prefers the indirect object when a head is misled.

    For every candidate and flip, the z of the head at the end position comes from the flipped
    prompt, and the path from there to the queries of all name movers is patched. One row each:

    - `layer`, `head`, and `flip`, one of `FLIPS`;
    - `d_logit_diff`: (patched - original) / original, of the means over prompts;
    - `d_logit_diff_low`, `d_logit_diff_high`: its bootstrap interval over groups of prompts;
      the patched and the original logit difference of a prompt stay together;
    - `d_attn_io`, `d_attn_s1`, `d_attn_s2`: the same of the name movers' attention from the end
      to each name, means over prompts and name movers;
    - `by_position`, `by_token`: whether the head passes by this signal, as the module defines it;
    - `is_s2i`: whether it passes by either, or by the rule `paper` by position; like the two
      before, the same in all rows of a head.

    Changes are relative and without a range; 0 is no effect, NaN an original of less than 1e-6.
    Where the model prefers the subject, the original is negative and the sign of `d_logit_diff`
    turns around. `attrs["status"]` of the frame is a `ScoreStatus`; without name movers there are
    no rows. X and Y are drawn with a seed from the names of all prompts; the reference has no seed.

    Args:
        subject: gives the model, the seed, and IOI prompts with the roles io, s1 and s2.
        name_movers: (layer, head) of the name movers.
        candidates: (layer, head) of the heads to test; None for all before the last name mover.
        settings: the rule, its smallest effect, and `freeze_mlps`, for which see `patch_paths`.
        bootstrap: for intervals; with fewer than two groups there are none, and no head passes.
        limits: how many prompts go through the model at once.

    Raises:
        ValueError: if the prompts lack a role, or have fewer than four names in all.
    """
    return flip_test(
        subject,
        name_movers=name_movers,
        candidates=candidates,
        settings=settings,
        bootstrap=bootstrap,
        limits=limits,
    ).table


@torch.no_grad()
def flip_test(
    subject: Subject,
    *,
    name_movers: Sequence[Head],
    candidates: Sequence[Head] | None,
    settings: Algorithm,
    bootstrap: Bootstrap,
    limits: Limits,
) -> FlipTest:
    """Do the same, and keep what is needed to test other sets of prompts; see `s_inhibition`."""

    def result(frames: list[pd.DataFrame], status: ScoreStatus) -> FlipTest:
        table = _frame(frames, status, settings)
        return FlipTest(table, candidates or (), pairs, kept, settings, bootstrap)

    pairs, frames, kept = subject.pairs, [], dict[str, PatchedPaths]()
    if not name_movers:
        return result([], ScoreStatus.NO_NAME_MOVERS)
    pairs = with_names(pairs)
    if candidates is None:
        candidates = list(np.ndindex(max(name_movers)[0], subject.model.cfg.n_heads))
    if not candidates:
        return result([], ScoreStatus.OK)
    for flip, corrupted in flipped_prompts(pairs, seed=subject.seed).items():
        patched = patch_paths(
            subject.model,
            replace(pairs, corrupted=corrupted),
            receivers=[HeadPort(layer, head, "q") for layer, head in name_movers],
            senders=candidates,
            sender_positions="end",
            freeze_mlps=settings.freeze_mlps,
            attention=True,
            limits=limits,
        )
        frames.append(_changes(patched, pairs, flip, bootstrap))
        if flip in S2I_SIGNALS.values():
            kept[flip] = patched
    return result(frames, ScoreStatus.OK)


def _of_prompts(paths: PatchedPaths, rows: Int[ndarray, " row"]) -> PatchedPaths:
    """Return what was measured on some of the prompts."""
    index = torch.as_tensor(rows, device=paths.clean.device)
    return replace(
        paths,
        patched=paths.patched[:, index],
        clean=paths.clean[index],
        corrupted=paths.corrupted[index],
        attention=paths.attention[:, index],
        clean_attention=paths.clean_attention[index],
    )


def flipped_prompts(pairs: PromptPairs, *, seed: int) -> dict[str, Int[Tensor, "pair pos"]]:
    """Return the clean prompts with their names replaced, for each of `FLIPS`.

    X and Y of a prompt are two names of other prompts, and the same in all flips.

    Raises:
        ValueError: if all prompts together have fewer than four names.
    """
    names = dict(zip("ABXY", _names(pairs, seed), strict=True))
    flipped = {}
    for flip, letters in FLIPS.items():
        tokens = pairs.clean.clone()
        for role, letter in zip(NAME_ROLES, letters, strict=True):
            # One name per prompt, at the position of the role.
            tokens.scatter_(1, pairs.roles[role][:, None], names[letter][:, None])
        flipped[flip] = tokens
    return flipped


def _names(pairs: PromptPairs, seed: int) -> Int[Tensor, "letter pair"]:
    """Return the tokens of A, B, X and Y of every prompt."""
    io, s1 = (pairs.clean.gather(1, pairs.roles[role][:, None]) for role in NAME_ROLES[:2])
    known = torch.tensor(sorted({int(name) for name in torch.cat([io, s1])}))  # [name]
    if len(known) < 4:
        raise ValueError(
            f"the S-inhibition test needs prompts with four names in all, found {len(known)}"
        )
    # Two different names per prompt: those with the largest random numbers, never its own.
    chance = torch.rand(len(pairs), len(known), generator=torch.Generator().manual_seed(seed))
    own = (known == io.cpu()) | (known == s1.cpu())  # [pair, name]
    others = known[chance.masked_fill(own, -1).topk(2).indices].to(io.device)
    return torch.cat([io, s1, others], dim=1).T


def _changes(
    paths: PatchedPaths, pairs: PromptPairs, flip: str, bootstrap: Bootstrap
) -> pd.DataFrame:
    heads = pd.DataFrame(paths.senders, columns=["layer", "head"], dtype="int64")
    return heads.assign(flip=flip, **_numbers(paths, pairs, bootstrap))


def _numbers(
    paths: PatchedPaths, pairs: PromptPairs, bootstrap: Bootstrap
) -> dict[str, Float[ndarray, " head"]]:
    """Return the changes of every head, with their interval: `COLUMNS`, then `INTERVAL`."""
    original = _means(paths.clean[None], paths.clean_attention[None], pairs)
    patched = _means(paths.patched, paths.attention, pairs)
    columns = [_relative(patched.logit_diff, original.logit_diff)[:, None]]
    columns.append(_relative(patched.attention, original.attention))
    changes = torch.cat(columns, dim=1).cpu().numpy()  # [head, column], like `COLUMNS`
    ends = _intervals(paths, pairs, bootstrap)
    return dict(zip((*COLUMNS, *INTERVAL), (*changes.T, *ends.T), strict=True))


def _intervals(
    paths: PatchedPaths, pairs: PromptPairs, bootstrap: Bootstrap
) -> Float[ndarray, "head end"]:
    """Return the interval of the relative change of the logit difference, of every head."""
    patched, clean = (x.double().cpu().numpy() for x in (paths.patched, paths.clean))
    if abs(clean.mean()) < NO_ORIGINAL or pairs.n_groups < 2:
        return np.full((len(patched), 2), np.nan)
    # All heads at once: [sample, head + 1], with the clean metric last.
    means = resampled_means(np.vstack([patched - clean, clean]), bootstrap, pairs.groups)
    drawn = means[:, :-1] / means[:, -1:]
    return np.array([percentile_interval(one, bootstrap) for one in drawn.T])


def _means(
    metric: Float[Tensor, "head prompt"],
    attention: Float[Tensor, "head prompt mover key"],
    pairs: PromptPairs,
) -> _Means:
    at = positions_of_names(pairs)[None, :, None]  # [1, prompt, 1, role]
    attended = attention.take_along_dim(at, 3).double().mean((1, 2))  # [head, role]
    return _Means(metric.double().mean(1), attended)


def _relative(patched: Tensor, original: Tensor) -> Tensor:
    change = (patched - original) / original
    return change.masked_fill(original.abs() < NO_ORIGINAL, torch.nan)


def _frame(frames: list[pd.DataFrame], status: ScoreStatus, settings: Algorithm) -> pd.DataFrame:
    columns = ["layer", "head", "flip", *COLUMNS, *INTERVAL]
    frame = pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
    passed = frame[_passes(dict(frame.items()), settings)]
    own = pd.MultiIndex.from_frame(frame[["layer", "head"]])
    for signal, flip in S2I_SIGNALS.items():
        heads = passed.loc[passed["flip"] == flip, ["layer", "head"]]
        frame[f"by_{signal}"] = own.isin(pd.MultiIndex.from_frame(heads))
    frame["is_s2i"] = frame["by_position"]
    if settings.rule != RoleRule.PAPER:
        frame["is_s2i"] |= frame["by_token"]
    frame.attrs["status"] = status
    return frame


def _passes(changes: Mapping[Any, Any], settings: Algorithm) -> Any:
    """Return for every row whether its flip does what flipping an S-inhibition head does.

    The changes are columns of a table, or arrays.
    """
    away = (changes["d_attn_io"] < 0) & (changes["d_attn_s1"] > 0)
    if settings.rule == RoleRule.PAPER:
        return away & (changes["d_logit_diff"] < 0)
    enough = changes["d_logit_diff"] <= -settings.min_s2i_effect
    return away & enough & (changes["d_logit_diff_high"] < 0)
