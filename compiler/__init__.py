"""The compiler: PyTorch and ONNX models to programs on CKKS ciphertexts."""

if __name__ != "eer.compiler":
    raise ImportError("import this package as eer.compiler: install it with 'pip install -e .'")

from .compiled import CompiledModel
from .driver import CompileWarning, compile_model
from .options import Options
from .verification import Verification, VerifyWarning, verify

__all__ = [
    "CompileWarning",
    "CompiledModel",
    "Options",
    "Verification",
    "VerifyWarning",
    "compile_model",
    "verify",
]
