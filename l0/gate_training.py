"""Gates learned from any loss of them, to an exact number of open ones.

The user's objective takes the gates and returns a loss; what it multiplies with them is its own
affair. As in ``survey.gated_fit`` no penalty has to be tuned: one shift of all locations, solved
at every epoch, holds the expected count to a budget that falls from all gates to the target.
"""

from collections.abc import Callable

from torch import Tensor

Objective = Callable[[Tensor], Tensor]
