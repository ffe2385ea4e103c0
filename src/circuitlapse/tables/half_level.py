"""When a curve over training reaches half of its rise."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from numpy import ndarray


def monotone(levels: Float[ndarray, "sample step"]) -> Float[ndarray, "sample step"]:
    """Return the curves that never fall and are closest to `levels` in the sum of squares.

    All steps have the same weight. The value at a step is the largest, over the steps up to it, of
    the smallest mean from there to any step from it on (Barlow et al. 1972, min-max formula).
    """
    n_steps = levels.shape[-1]
    sums = np.concatenate([np.zeros((*levels.shape[:-1], 1)), levels.cumsum(-1)], -1)
    first, last = np.arange(n_steps)[:, None], np.arange(n_steps)
    with np.errstate(divide="ignore", invalid="ignore"):
        # [sample, first, last]: mean over the steps from first to last
        means = (sums[..., None, 1:] - sums[..., :-1, None]) / (last - first + 1)
    means = np.where(last >= first, means, np.inf)
    # the smallest mean from `first` to a step at or after each step
    least = np.minimum.accumulate(means[..., ::-1], -1)[..., ::-1]
    least = np.where(last >= first, least, -np.inf)
    return np.asarray(least.max(-2))


def half_level_places(
    levels: Float[ndarray, "sample step"],
) -> tuple[Int[ndarray, " sample"], Float[ndarray, " sample"]]:
    """Return where monotone curves cross the middle of their first and last level.

    Returns:
        The step after which each curve crosses, counted from 0, and how far between this step and
        the next one, in 0..1, if the level changes linearly between them. For a curve without a
        rise both are undefined: -1 and NaN.
    """
    curves = monotone(levels)
    half = (curves[:, :1] + curves[:, -1:]) / 2
    rises = curves[:, -1] > curves[:, 0]
    after = (curves >= half).argmax(-1)  # the first step at the half level or above
    before = np.maximum(after - 1, 0)
    rows = np.arange(len(curves))
    low, high = curves[rows, before], curves[rows, after]
    with np.errstate(divide="ignore", invalid="ignore"):
        between = (half[:, 0] - low) / (high - low)
    return np.where(rises, before, -1), np.where(rises, between, np.nan)


def half_level_tokens(
    levels: Float[ndarray, "sample step"], tokens: Int[ndarray, " step"]
) -> Float[ndarray, " sample"]:
    """Return the number of tokens at the half level of each curve; NaN for one without a rise.

    Between two steps the level changes linearly in the logarithm of the tokens; between step 0 and
    the next one, linearly in the tokens.
    """
    before, between = half_level_places(levels)
    return _tokens_at(before, between, tokens)


def draw_half_levels(
    levels: Float[ndarray, "sample step"],
    tokens: Int[ndarray, " step"],
    *,
    generator: np.random.Generator,
) -> Float[ndarray, " sample"]:
    """Return the tokens at the half level of each resample, drawn between the two steps around it.

    Nothing was measured between two steps, and a curve may cross anywhere there. So the place is
    drawn from a uniform distribution in the logarithm of the tokens. An interval of these draws
    covers what the prompts and what the distance of the steps leave open.
    """
    before, _ = half_level_places(levels)
    return _tokens_at(before, generator.uniform(size=len(before)), tokens)


def _tokens_at(
    before: Int[ndarray, " sample"],
    between: Float[ndarray, " sample"],
    tokens: Int[ndarray, " step"],
) -> Float[ndarray, " sample"]:
    """Return the tokens at a place between two steps; NaN where there is none."""
    low = tokens[np.maximum(before, 0)].astype(float)
    high = tokens[np.minimum(np.maximum(before, 0) + 1, len(tokens) - 1)].astype(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.exp(np.log(low) + between * (np.log(high) - np.log(low)))
    found = np.where(low > 0, ratio, between * high)
    return np.where(before >= 0, found, np.nan)
