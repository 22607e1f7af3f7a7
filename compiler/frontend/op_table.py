"""Which ONNX ops can be imported, and what to do instead of the others."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from . import activation_ops as activation
from . import arithmetic_ops as arithmetic
from . import client_ops as client
from . import conv_ops as convolution
from . import layout_ops as layout
from . import matmul_ops as contraction
from . import reduce_ops as reduction
from .call import Call
from .value import Operand

Handler = Callable[[Call], tuple[Operand, ...]]

HANDLERS: Mapping[str, Handler] = MappingProxyType(
    {
        **dict.fromkeys(set(layout.DATA_INPUTS) - {"Where"}, layout.move),
        "Concat": layout.move,
        "Identity": layout.identity,
        "Cast": layout.cast,
        "CastLike": layout.identity,
        "Dropout": layout.dropout,
        "Flatten": layout.flatten,
        "Reshape": layout.reshape,
        "Squeeze": layout.squeeze,
        "Unsqueeze": layout.unsqueeze,
        "Add": arithmetic.add,
        "Sum": arithmetic.add,
        "Sub": arithmetic.subtract,
        "Neg": arithmetic.negate,
        "Mean": arithmetic.mean,
        "Mul": arithmetic.multiply,
        "Div": arithmetic.divide,
        "Reciprocal": arithmetic.reciprocal,
        "Pow": arithmetic.power,
        "Sqrt": arithmetic.square_root,
        "Log": arithmetic.logarithm,
        "Where": arithmetic.where,
        "Max": arithmetic.extreme,
        "Min": arithmetic.extreme,
        "Greater": arithmetic.compare,
        "GreaterOrEqual": arithmetic.compare,
        "Less": arithmetic.compare,
        "LessOrEqual": arithmetic.compare,
        "BatchNormalization": arithmetic.batch_normalization,
        "ReduceSum": reduction.reduce_sum,
        "ReduceMean": reduction.reduce_mean,
        "ReduceSumSquare": reduction.reduce_sum_square,
        "ReduceL1": reduction.reduce_l1,
        "GlobalAveragePool": reduction.global_average_pool,
        "CumSum": reduction.cumulative_sum,
        "MatMul": contraction.matmul,
        "Gemm": contraction.gemm,
        "Einsum": contraction.einsum,
        "Conv": convolution.conv,
        "ConvTranspose": convolution.conv_transpose,
        "AveragePool": convolution.average_pool,
        **dict.fromkeys(activation.PLAIN, activation.plain),
        "LeakyRelu": activation.leaky_relu,
        "PRelu": activation.p_relu,
        "Elu": activation.elu,
        "Selu": activation.selu,
        "Celu": activation.celu,
        "HardSigmoid": activation.hard_sigmoid,
        "ThresholdedRelu": activation.thresholded_relu,
        "Gelu": activation.gelu_op,
        "Swish": activation.swish,
        "Clip": activation.clip,
        "Shrink": activation.shrink,
        "Sigmoid": client.final_sigmoid,
        "Softmax": client.softmax,
        "LogSoftmax": client.softmax,
        "ArgMax": client.argmax,
    }
)

# Ops through which a final softmax, sigmoid or argmax may pass on its way to an output.
PASSIVE = frozenset(
    {
        "Identity", "Cast", "CastLike", "Dropout", "Flatten", "Reshape", "Squeeze", "Unsqueeze",
        "Transpose", "ArgMax",
    }
)  # fmt: skip

# What the client can do at the end, and nobody can do before.
FINAL_ONLY: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "LogSoftmax": client.SOFTMAX_INSIDE,
        "ArgMax": client.ARGMAX_INSIDE,
    }
)

# Their value differs from run to run: never folded.
RANDOM = frozenset(
    {"RandomNormal", "RandomNormalLike", "RandomUniform", "RandomUniformLike", "Bernoulli",
     "Multinomial"}
)  # fmt: skip

_MAXIMUM = "compares encrypted values"
_RECURRENT = "is a recurrent layer, which is not supported yet"
_RECURRENT_HINT = "use a 1-D convolution over time (torch.nn.Conv1d) followed by a mean over time"
_NORM = "divides by a deviation computed from the encrypted values themselves"
_NORM_HINT = "use batch normalisation (torch.nn.BatchNorm1d or 2d), which uses trained statistics"
_DATA = "chooses elements by encrypted values"
_DATA_HINT = "use constant indices, or return the scores and choose after decryption"
_ROUND = "is a step function of an encrypted value"
_ROUND_HINT = "remove it, or apply it after decryption"
_INTEGER = "computes with integers"
_INTEGER_HINT = "export the floating-point model, before quantisation"
_LOOP = "repeats or branches on data"
_LOOP_HINT = "unroll the loop in Python, so that the export holds its steps one after the other"
_RANDOM = "is random"
_RANDOM_HINT = "call module.eval() before the export; draw random numbers outside the model"

UNSUPPORTED: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        **dict.fromkeys(
            ("MaxPool", "GlobalMaxPool", "MaxRoiPool"),
            (_MAXIMUM, "use average pooling (torch.nn.AvgPool1d or 2d) and train again"),
        ),
        **dict.fromkeys(
            ("ReduceMax", "ReduceMin"),
            (_MAXIMUM, "use the mean over these axes, or compare after decryption"),
        ),
        "ArgMin": (_MAXIMUM, "return the values, and choose the smallest after decryption"),
        "LpPool": ("takes roots of encrypted values", "use average pooling of the squares"),
        **dict.fromkeys(("LSTM", "GRU", "RNN"), (_RECURRENT, _RECURRENT_HINT)),
        **dict.fromkeys(
            ("LayerNormalization", "InstanceNormalization", "GroupNormalization",
             "RMSNormalization", "MeanVarianceNormalization", "LpNormalization", "LRN"),
            (_NORM, _NORM_HINT),
        ),
        **dict.fromkeys(("TopK", "NonZero", "Unique", "NonMaxSuppression"), (_DATA, _DATA_HINT)),
        **dict.fromkeys(("Round", "Floor", "Ceil", "Sign", "Mod", "IsNaN", "IsInf"),
                        (_ROUND, _ROUND_HINT)),
        **dict.fromkeys(("Equal", "Not", "And", "Or", "Xor"),
                        ("computes with truth values", _ROUND_HINT)),
        **dict.fromkeys(
            ("QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
             "QLinearMatMul", "ConvInteger", "MatMulInteger", "BitShift"),
            (_INTEGER, _INTEGER_HINT),
        ),
        **dict.fromkeys(("If", "Loop", "Scan"), (_LOOP, _LOOP_HINT)),
        **dict.fromkeys(RANDOM, (_RANDOM, _RANDOM_HINT)),
        **dict.fromkeys(
            ("ReduceL2", "ReduceLogSum", "ReduceLogSumExp"),
            ("takes a root or a logarithm of a sum over encrypted values",
             "use the sum of squares (torch.sum(x * x, dim)) instead"),
        ),
        "ReduceProd": ("multiplies many encrypted values", "use a sum, or products of two"),
        "Hardmax": (_MAXIMUM, "return the logits, and choose the largest after decryption"),
        "Attention": ("has a softmax inside the network",
                      "use convolutions, or attention with sigmoid weights"),
        "Tan": ("has poles", "use tanh, sin or another bounded activation"),
        **dict.fromkeys(("Resize", "Upsample"),
                        ("resizes, which is not supported yet",
                         "use torch.repeat_interleave or a transposed convolution")),
    }
)  # fmt: skip

UNKNOWN = (
    "is not an operation that eer can compile",
    "use linear layers, convolutions, average pooling, batch normalisation and activations",
)
