"""Parameter names of MENTOR's released code."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

__all__ = ["translate_state_dict"]

_VIEWS = {
    "v_gcn": "encoders.visual",
    "t_gcn": "encoders.textual",
    "id_gcn": "encoders.id",
    "v_gcn_n1": "perturbed_encoders.view_a.visual",
    "t_gcn_n1": "perturbed_encoders.view_a.textual",
    "v_gcn_n2": "perturbed_encoders.view_b.visual",
    "t_gcn_n2": "perturbed_encoders.view_b.textual",
}
_PARAMETERS = {
    "preference": "user_preference",
    "MLP.weight": "hidden.weight",
    "MLP.bias": "hidden.bias",
    "MLP_1.weight": "output.weight",
    "MLP_1.bias": "output.bias",
}
_NAMES = {
    "weight_u": "fusion.weight",
    "id_feat": "item_embedding",
    "mlp.weight": "masking.predictor.weight",
    "mlp.bias": "masking.predictor.bias",
    **{
        f"{theirs}.{parameter}": f"{ours}.{name}"
        for theirs, ours in _VIEWS.items()
        for parameter, name in _PARAMETERS.items()
    },
}


def translate_state_dict(
    state_dict: Mapping[str, Any], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Rename the released code's parameters to this library's.

    Args:
        state_dict: Tensors or arrays under the released names. Names that the released model
            never uses are left out.
        expected: The parameters to fill, for their shapes.

    Returns:
        The parameters under this library's names.

    Raises:
        ValueError: If a parameter is missing, of another shape, or unknown to the released code;
            the message names it.
    """
    # Archives of the parameters may file them under this.
    state_dict = {name.removeprefix("param/"): value for name, value in state_dict.items()}
    translated = {}
    for theirs, ours in _NAMES.items():
        if ours not in expected:
            continue
        if theirs not in state_dict:
            raise ValueError(f"'state_dict' lacks '{theirs}', the released name of '{ours}'")
        value = torch.as_tensor(state_dict[theirs]).detach().clone()
        if theirs == "weight_u":
            value = value.squeeze(-1)  # [num_users, modalities, 1]
        if value.shape != expected[ours].shape:
            raise ValueError(
                f"'{theirs}' needs shape {list(expected[ours].shape)} for this data "
                f"(got {list(value.shape)})"
            )
        translated[ours] = value
    if unnamed := sorted(set(expected).difference(translated)):
        raise ValueError(
            f"the released code has no parameters for {unnamed}; the data needs to have the "
            f"modalities visual and textual, and no others"
        )
    return translated
