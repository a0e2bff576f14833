"""Holds the public names: to add or remove one is a change for users."""

import importlib
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mentor_pyg
from mentor_pyg import dependencies

NAMES = {
    "mentor_pyg": """
        Adjacency BPRMF EmbeddingTables InteractionConv InteractionFolder
        ItemSemanticConv LightGCN MENTOR MENTORConfig Representations
        SyntheticMultimodal __version__ bpr_loss full_ranking info_nce knn_graph
        propagate validate_data
    """,
    "mentor_pyg.cli": """
        new_folder run_command run_training summarize
    """,
    "mentor_pyg.data": """
        Batch DEFAULT_MODALITY_WEIGHTS FUSED ID INTERACTS ITEM Inputs REV_INTERACTS
        Representations SEMANTIC Scorer Sizes USER UserBatch check_modality_name edge_label_index
        feature_key fingerprint knn_edge_type modalities num_items num_users presence
        presence_key resolve_modality_weights validate_data
    """,
    "mentor_pyg.datasets": """
        InteractionFolder SYNTHETIC_SIZES SyntheticMultimodal SyntheticSize
    """,
    "mentor_pyg.evaluation": """
        AmongItems LIST_METRICS METRICS average_popularity cold_items coverage full_ranking gini
        hold_out_items interactions_by_popularity items_by_popularity novelty per_user_metrics
        ranking_metrics recall_by_item_group users_by_activity
    """,
    "mentor_pyg.experiments": """
        Cell Entry Paired Plan cells_of chosen_settings compare holm paired_test read_plan
        search write_report
    """,
    "mentor_pyg.export": """
        EmbeddingTables Export FoldIn ItemIndex ItemNeighbours ScoreParts best_items read_export
        read_item_table write_export
    """,
    "mentor_pyg.features": """
        ArrayRows AudioEncoder ColumnEncoder ImageEncoder ItemFiles ItemTable Report TextEncoder
        UnusableError check_same_encoder feature_path joined_text open_image open_sound
        read_item_columns write_features
    """,
    "mentor_pyg.graph": """
        Adjacency ItemLists Pruning common_edges interaction_adjacency knn_graph
        merge_item_graphs normalize_rows normalize_similarity normalize_symmetric pool_item_graphs
        prune_interactions with_self_neighbours
    """,
    "mentor_pyg.losses": """
        Moments SOFTMAX_BACKENDS Similarity Statistics bpr_loss cosine_loss
        gaussian_alignment_loss info_nce moments softmax_loss softmax_unavailable
    """,
    "mentor_pyg.models": """
        BM3 BM3Config BPRMF BPRMFConfig COHESION COHESIONConfig CapturedStep ContentKNN
        ContentKNNConfig Draws extend
        DualGNN DualGNNConfig EASE EASEConfig FREEDOM FREEDOMConfig FittedModel GRCN
        GRCNConfig GUME GUMEConfig ItemKNN ItemKNNConfig LATTICE LATTICEConfig LayerGCN
        LayerGCNConfig LightGCN LightGCNConfig MENTOR MENTORConfig MENTORPlus MENTORPlusConfig
        MGCN MGCNConfig MMGCN MMGCNConfig MMHCL MMHCLConfig MMSSL MMSSLConfig MODELS Model
        FeatureConfig GraphFeatureConfig ModelConfig Objective PGL PGLConfig Popularity
        PopularityConfig RP3Beta RP3BetaConfig
        Recommender SLMRec SLMRecConfig SMORE SMOREConfig Step UserKNN UserKNNConfig VBPR VBPRConfig
        adam build_model load_model ranking_terms register save_model
    """,
    "mentor_pyg.nn": """
        AlignmentLevel BehaviourAwareFusion CrossModalAlignment CrossModalAttention
        FeatureMasking GraphPerturbation InteractionConv ItemSemanticConv
        LayeredPropagation MissingFeatures ModalityEncoder ModalityFusion
        ModalityProjection PurifiedViews
        RefinedPropagation RelationCritic encode_together
    """,
    "mentor_pyg.ops": """
        BACKENDS Backend FusedLayer Noise add_noise choose_backend edge_dots propagate
        nonzero_rows propagate_layers rank_items recommend_items seen_items sum_of_products
        uniform_like unit_rows user_ids
    """,
    "mentor_pyg.preparation": """
        FilterStep Malformed Preparation Prepared prepare
    """,
    "mentor_pyg.sampling": """
        BATCHES BPRBatches Batch BatchUnit UniformNegativeSampler UserBatch UserBatches mix_seed
    """,
    "mentor_pyg.serving": "",
    "mentor_pyg.training": """
        Fit Hook RunFolder TrainingConfig train
    """,
    "mentor_pyg.transforms": """
        AddItems DropFeatures FillMissing ItemKNNGraph JoinSplits MergeItemGraphs
        RandomInteractionSplit
        RemoveModalities
    """,
}
NAMES_OF = {package: set(names.split()) for package, names in NAMES.items()}


@pytest.mark.parametrize("package", NAMES)
def test_exact_names(package: str) -> None:
    exported = importlib.import_module(package).__all__
    assert set(exported) == NAMES_OF[package]
    assert len(exported) == len(set(exported))


@pytest.mark.parametrize("package", NAMES)
def test_every_name_is_there(package: str) -> None:
    module = importlib.import_module(package)
    assert [name for name in module.__all__ if not hasattr(module, name)] == []


def test_names_and_parts_are_imported_when_they_are_used() -> None:
    program = (
        "import sys, mentor_pyg; assert 'torch' not in sys.modules; "
        "assert mentor_pyg.models.MENTOR is mentor_pyg.MENTOR; "
        "assert set(mentor_pyg.__all__) | {'ops'} <= set(dir(mentor_pyg)); "
        "from mentor_pyg import *; propagate"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    with pytest.raises(AttributeError, match="'mentor_pyg' has no attribute 'Mentor'"):
        _ = mentor_pyg.Mentor


def test_every_part_is_held() -> None:
    folder = Path(mentor_pyg.__file__).parent
    parts = {f"mentor_pyg.{path.parent.name}" for path in folder.glob("*/__init__.py")}
    assert parts == NAMES.keys() - {"mentor_pyg"}


@pytest.mark.parametrize("package", NAMES)
def test_classes_and_functions_have_docstrings(package: str) -> None:
    module = importlib.import_module(package)
    for name in NAMES_OF[package]:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value):
            doc = value.__doc__
            # Dataclasses and named tuples without a docstring get their signature as one.
            assert doc and not doc.startswith(f"{name}("), f"{package}.{name} has no docstring"


def test_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", mentor_pyg.__version__)


@pytest.mark.parametrize("missing", ["lightning", "rich", "tensorboard"])
def test_training_names_its_extra(missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    training = importlib.import_module("mentor_pyg.training")
    monkeypatch.setattr(dependencies, "has_package", lambda name: name != missing)
    message = rf"mentor_pyg.training needs the package '{missing}'.*pip install '\.\[train\]'"
    with pytest.raises(ImportError, match=message):
        importlib.reload(training)
