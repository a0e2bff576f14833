"""Raw interaction files -> folders that ``InteractionFolder`` reads."""

from mentor_pyg.preparation.preparing import Prepared, prepare
from mentor_pyg.preparation.settings import Preparation

__all__ = ["Preparation", "Prepared", "prepare"]
