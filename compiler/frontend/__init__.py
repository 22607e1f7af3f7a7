"""The frontend: PyTorch to ONNX to the tensor graph."""

from .fuse import fuse_elementwise
from .importer import import_graph
from .load import ModelInput, OnnxModel, load_onnx
from .reference import Reference
from .roles import Roles, trained_weights, with_public
from .torch_export import export_torch

__all__ = [
    "ModelInput",
    "OnnxModel",
    "Reference",
    "Roles",
    "export_torch",
    "fuse_elementwise",
    "import_graph",
    "load_onnx",
    "trained_weights",
    "with_public",
]
