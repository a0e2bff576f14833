"""Raw interaction files -> folders that ``InteractionFolder`` reads."""

from mentor_pyg.preparation.filters import FilterStep
from mentor_pyg.preparation.preparing import Prepared, prepare
from mentor_pyg.preparation.reading import Malformed
from mentor_pyg.preparation.settings import Preparation

__all__ = ["FilterStep", "Malformed", "Preparation", "Prepared", "prepare"]
