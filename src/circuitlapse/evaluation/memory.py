"""How much memory a plan takes per prompt."""

from __future__ import annotations

from transformer_lens.model_bridge import TransformerBridge

from circuitlapse.evaluation.plan import Plan
from circuitlapse.memory import bytes_of_logits, bytes_per_number


def bytes_per_prompt(model: TransformerBridge, plan: Plan, *, n_pos: int) -> int:
    """Return an estimate of what `run_plan` holds at its peak, for one prompt of `n_pos` tokens.

    All computed outputs, the inputs of the largest stage before and after LayerNorm, its
    queries, keys, values and attention scores, one MLP's hidden layer, and some rows of logits.
    """
    cfg = model.cfg
    stage = plan.largest_stage
    per_position = cfg.d_model * (plan.n_everywhere + 3 * stage) + 4 * stage * cfg.d_head
    per_position += 2 * stage * n_pos + 3 * cfg.d_mlp
    numbers = n_pos * per_position + cfg.d_model * len(plan.slots)
    return int(bytes_per_number(model) * numbers) + bytes_of_logits(model)
