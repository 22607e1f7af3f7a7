"""Where an ONNX node comes from: its name, its op type, and the Python line that wrote it."""

from __future__ import annotations

import re

import onnx

from ..ir.tensor import Origin

STACK_TRACE = "pkg.torch.onnx.stack_trace"
_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+), in (?P<function>\S+)')
_LIBRARY = re.compile(r"[/\\](site-packages|dist-packages|torch[/\\]nn)[/\\]")


def node_name(node: onnx.NodeProto) -> str:
    """The node's name, or that of its first output where it has none."""
    return node.name or next((o for o in node.output if o), f"<{node.op_type}>")


def node_origin(node: onnx.NodeProto) -> Origin:
    return Origin((node_name(node),), (node.op_type,), source_line(node))


def source_line(node: onnx.NodeProto) -> str | None:
    """The innermost frame of the user's own code: 'File "m.py", line 9, in forward: code'.

    `torch.onnx.export(dynamo=True)` records the stack in the node's metadata; the older exporter
    can put it into the doc string. None where neither is there.
    """
    recorded = next((p.value for p in node.metadata_props if p.key == STACK_TRACE), node.doc_string)
    lines = recorded.splitlines()
    frames = []
    for number, line in enumerate(lines):
        found = _FRAME.search(line)
        if not found:
            continue
        following = lines[number + 1].strip() if number + 1 < len(lines) else ""
        code = "" if _FRAME.search(following) else following
        frames.append((found["file"], f"{found[0]}: {code}" if code else found[0]))
    own = [text for file, text in frames if not _LIBRARY.search(file)]
    if own:
        return own[-1]
    return frames[-1][1] if frames else None
