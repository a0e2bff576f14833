"""Models without gradients, which are fitted to the interactions in one call."""

from mentor_pyg.models.fitted.base import FittedModel
from mentor_pyg.models.fitted.content_knn import ContentKNN, ContentKNNConfig
from mentor_pyg.models.fitted.ease import EASE, EASEConfig
from mentor_pyg.models.fitted.item_knn import ItemKNN, ItemKNNConfig
from mentor_pyg.models.fitted.popularity import Popularity, PopularityConfig
from mentor_pyg.models.fitted.rp3beta import RP3Beta, RP3BetaConfig
from mentor_pyg.models.fitted.user_knn import UserKNN, UserKNNConfig

__all__ = [
    "EASE",
    "ContentKNN",
    "ContentKNNConfig",
    "EASEConfig",
    "FittedModel",
    "ItemKNN",
    "ItemKNNConfig",
    "Popularity",
    "PopularityConfig",
    "RP3Beta",
    "RP3BetaConfig",
    "UserKNN",
    "UserKNNConfig",
]
