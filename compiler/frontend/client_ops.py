"""A final Softmax, LogSoftmax, Sigmoid or ArgMax: the client computes it after decryption."""

from __future__ import annotations

from .activation_ops import sigmoid
from .call import Call
from .problems import MIXES_WINDOWS, Unsupported
from .softmax_ops import softmax_inside
from .value import Deferred, Operand

Results = tuple[Operand, ...]

SOFTMAX_INSIDE = (
    "takes a logarithm of encrypted values inside the network",
    "only as the last layer (the client computes it then); inside, use Softmax, or a sigmoid",
)

ARGMAX_INSIDE = (
    "compares encrypted values",
    "return the logits, and choose the largest after decryption",
)


def final_sigmoid(call: Call) -> Results:
    """A sigmoid in the middle of the network is an activation as any other."""
    x = call.encrypted(0)
    if call.final:
        return (Deferred(x, "sigmoid", -1),)
    return (call.build.elementwise("Sigmoid", sigmoid, x, call.origin),)


def softmax(call: Call) -> Results:
    if not call.final:
        if call.node.op_type != "Softmax":
            raise Unsupported(*SOFTMAX_INSIDE)
        inside = _deferred(call, "softmax", -1)
        return (softmax_inside(call, inside.value, inside.axis),)
    post = "softmax" if call.node.op_type == "Softmax" else "log_softmax"
    return (_deferred(call, post, -1),)


def argmax(call: Call) -> Results:
    """The largest, after a softmax or a sigmoid too: neither changes which that is."""
    if not call.final:
        raise Unsupported(*ARGMAX_INSIDE)
    if call.attribute("select_last_index", 0):
        raise Unsupported("takes the last of equal values", "take the first (select_last_index=0)")
    operand = call.operand(0)
    if not isinstance(operand, Deferred):
        return (_deferred(call, "argmax", 0),)
    axis = call.axis(int(call.attribute("axis", 0)), len(operand.value.shape))
    if operand.post == "argmax" or (operand.post != "sigmoid" and axis != operand.axis):
        raise Unsupported(
            f"takes the largest along another axis than the final {operand.post} before it",
            "use the same axis for both",
        )
    return (Deferred(operand.value, "argmax", axis),)


def _deferred(call: Call, post: str, default: int) -> Deferred:
    x = call.encrypted(0)
    axis = call.axis(int(call.attribute("axis", default)), len(x.shape))
    if x.batch is not None and x.batch.axis == axis:
        raise Unsupported(*MIXES_WINDOWS)
    return Deferred(x, post, axis)
