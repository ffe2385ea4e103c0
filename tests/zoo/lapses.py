"""Models over training that do IOI, and change on a known schedule.

At every step the model does the task equally well, or nearly so. Its logit difference alone shows
no change.

    constant   nothing changes but the distractors, which drift a little at every step
    hand_over  the strongest name mover, a2.h0, hands its gain of 4 over to a2.h6. The algorithm and
               its roles stay, heads change
    rival      another algorithm takes over. The name movers stop reading where not to look, so that
               they push both names alike; three other heads attend to the name at its second place
               and lower its logit. Roles change: there are no name movers told by S-inhibition
               heads any more, but negative name movers that do the task

Both changes come suddenly, between the steps k - 1 and k, or gradually: in equal parts at the
WIDTH steps around it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tests.planted_ioi import AVOID, MOVERS, NAMES, PLACE, plant_mover
from tests.zoo.ioi import plant_suppressor, save_ioi

STRONGEST, HEIR = (2, 0), (2, 6)
SUPPRESSORS = {(2, 1): 1 / 2, (2, 2): 1 / 3, (2, 5): 1 / 6}
"""What part of the task each of them does."""
LOGIT_DIFF = 3.0
"""What the name movers reach; leaks blur the places that they look at, so it is not 5.4."""
LEAK, DRIFT = 0.1, 0.03
N_STEPS, CHANGE, WIDTH = 12, 6, 4
"""Steps 0 to 11; the change comes between 5 and 6, or between 4 and 8."""


def sudden(step):
    """Return how much of a change has come: 0 before `CHANGE`, 1 from it on."""
    return float(step >= CHANGE)


def gradual(step):
    """Return the same for a change that takes `WIDTH` steps, half of it before `CHANGE`."""
    return min(1.0, max(0.0, (step - CHANGE + 0.5) / WIDTH + 0.5))


@dataclass(frozen=True)
class Lapse:
    """A model over training.

    Attributes:
        name: in the table.
        plant: sets the heads that change, given the model and how much of the change has come.
        schedule: step -> how much of the change has come, 0 to 1; None for a model without one.
        heads, roles: whether the heads of a role change, and whether the roles do.
        planted: heads that `plant` sets.
    """

    name: str
    plant: Callable[..., None]
    schedule: Callable[[int], float] | None
    heads: bool
    roles: bool
    planted: tuple[tuple[int, int], ...]

    def done(self, step: int) -> float:
        """Return how much of the change has come at a step."""
        return 0.0 if self.schedule is None else self.schedule(step)

    def changes_before(self, step: int) -> bool:
        """Return whether anything planted changes between the step before and this one."""
        return self.done(step) != self.done(step - 1)

    def save(self, folder: Path, step: int, *, seed: int = 0) -> Path:
        """Save the model of one step."""
        more = partial(self.plant, done=self.done(step))
        how = {"seed": seed, "leak": LEAK, "drift": DRIFT, "step": step}
        return save_ioi(folder, more=more, planted=self.planted, **how)


def plant_nothing(model, *, done):
    """Leave the model as it is."""


def plant_hand_over(model, *, done):
    """Move a part of the gain of the strongest name mover to another head."""
    plant_mover(model, STRONGEST, (1 - done) * MOVERS[STRONGEST])
    plant_mover(model, HEIR, done * MOVERS[STRONGEST])


def plant_rival(model, *, done):
    """Let the name movers listen less, and others suppress the name that comes twice."""
    for at, gain in MOVERS.items():
        plant_mover(model, at, gain, avoid=(1 - done) * AVOID)
    left = math.tanh(1.5 * (1 - done)) / math.tanh(1.5)  # of what the name movers did
    for at, part in SUPPRESSORS.items():
        gain = part * (1 - left) * LOGIT_DIFF
        plant_suppressor(model, at, gain, attend_to=PLACE[4], names=NAMES)


LAPSES = (
    Lapse("constant", plant_nothing, None, False, False, ()),
    Lapse("hand_over, sudden", plant_hand_over, sudden, True, False, (HEIR,)),
    Lapse("hand_over, gradual", plant_hand_over, gradual, True, False, (HEIR,)),
    Lapse("rival, sudden", plant_rival, sudden, True, True, tuple(SUPPRESSORS)),
    Lapse("rival, gradual", plant_rival, gradual, True, True, tuple(SUPPRESSORS)),
)
"""Every model over training."""
