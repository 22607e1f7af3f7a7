"""The compiler: PyTorch and ONNX models to programs on CKKS ciphertexts."""

if __name__ != "eer.compiler":
    raise ImportError("import this package as eer.compiler: install it with 'pip install -e .'")

from .compiled import CompiledModel
from .driver import compile_model
from .options import Options

__all__ = ["CompiledModel", "Options", "compile_model"]
