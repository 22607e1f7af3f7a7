"""Reports as people read them: tables in text, nothing printed here."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from io import StringIO
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from eer.runtime.console import human_size
from eer.runtime.fields import Json

from .verification import Verification

LEFT_ALIGNED = 1
"""Columns that hold names; the others hold numbers."""

_STEPS = {
    "polynomials": "polynomials for activations",
    "layouts": "layouts (a program in slots)",
    "noise": "CKKS noise (simulated)",
    "total": "all together",
}


def to_text(*parts: RenderableType, width: int, styled: bool = False) -> str:
    """What `parts` look like on a terminal of this width, without trailing blanks."""
    stream = StringIO()
    console = Console(file=stream, width=width, force_terminal=styled, highlight=False)
    console.print(Group(*parts))
    return "\n".join(line.rstrip() for line in stream.getvalue().rstrip().splitlines())


def compilation(report: Json, *, sizes: dict[str, int]) -> list[RenderableType]:
    """The short form of a compilation's report; `sizes` are the files' by path."""
    params = report["parameters"]
    written = ", ".join(f"{path} ({human_size(size)})" for path, size in sizes.items())
    head = Text(f"{report['model']} compiled for {report['engine']}: {written}")
    parts: list[RenderableType] = [head, _accuracy(report["accuracy"])]
    if report["activations"]["fits"]:
        parts.append(_activations(report["activations"]["fits"]))
    operations = ", ".join(
        f"{count} {name.replace('_', ' ')}"
        for name, count in report["program"]["operations"].items()
    )
    keys, stages = report["sizes"], report["predicted"]["stages_ms"]
    server = report["predicted"]["server_bytes"]["peak"]
    parts.append(
        _pairs(
            ("security", _security(params)),
            ("parameters", _parameters(params)),
            ("program", f"{_depth(report['program'])}: {operations}"),
            (
                "keys",
                f"{_count(keys['galois_keys'], 'rotation')}, about "
                f"{human_size(keys['evaluation_key_bytes'])} for the server, once",
            ),
            (
                "upload",
                f"{_count(keys['input_ciphertexts'], 'ciphertext')}, about "
                f"{human_size(keys['upload_bytes'])} a message of {_windows(params['batch'])}",
            ),
            (
                "latency",
                f"about {_ms(stages['total'])} of CPU time a message, {_ms(stages['run'])} at the "
                "server (predicted; eer verify measures)",
            ),
            ("memory", f"about {human_size(server)} at the server (predicted)"),
        )
    )
    parts += [Text(f"warning: {w}", style="yellow") for w in report["warnings"]]
    return parts


def layers(report: Json) -> list[RenderableType]:
    """What every layer does and costs, and the totals."""
    rows = report["layers"]
    total = sum(row["predicted_ms"] for row in rows)
    table = _table(
        "layer", "method", "level", "ciphertexts in", "rotations", "products", "time", "share"
    )
    for row in rows:
        table.add_row(
            _name(row),
            row["method"] or row["kind"],
            f"{row['level_in']} → {row['level_out']}",
            str(row["input_ciphertexts"] or ""),
            str(row["rotations"] or ""),
            _products(row["plain_products"], row["cipher_products"]),
            _ms(row["predicted_ms"]),
            f"{row['predicted_ms'] / total:.0%}" if total else "",
        )
    table.add_section()
    table.add_row(
        "all layers",
        "",
        f"{report['program']['depth']} → {report['program']['output_level']}",
        str(sum(row["input_ciphertexts"] for row in rows)),
        str(sum(row["rotations"] for row in rows)),
        _products(*(sum(row[f"{k}_products"] for row in rows) for k in ("plain", "cipher"))),
        _ms(total),
        "100%",
    )
    params = report["parameters"]
    return [
        Text(f"{report['model']} on {report['engine']}"),
        table,
        _pairs(
            ("security", _security(params)),
            ("parameters", _parameters(params)),
            ("program", _depth(report["program"])),
            ("products", "p: ciphertext by plaintext; c: ciphertext by ciphertext"),
            ("times", "predicted CPU time of one core; the first layer's includes encryption"),
        ),
    ]


def verification(found: Verification) -> list[RenderableType]:
    """What an encrypted run over a data set showed."""
    steps = {
        "polynomials for activations": found.approximation,
        "layouts (a program in slots)": found.packing,
        f"{found.engine} (noise)": found.noise,
        "all together": found.total,
    }
    table = _agreement_table()
    for name, step in steps.items():
        table.add_row(name, *_agreement(None if step is None else step.to_json()))
    wall, cpu = found.latency.wall, found.latency.cpu
    lines = [
        (
            "latency",
            f"{_ms(wall['total'])} a window (encrypt {_ms(wall['encrypt'])}, run "
            f"{_ms(wall['run'])}, decrypt {_ms(wall['decrypt'])}); {_ms(cpu['total'])} of CPU time",
        ),
        (
            "throughput",
            f"{found.windows_per_second:.3g} windows a second, {_windows(found.batch)} a message",
        ),
        (
            "sizes",
            f"message {human_size(found.bytes['question'])}, answer "
            f"{human_size(found.bytes['answer'])}, evaluation keys "
            f"{human_size(found.bytes['evaluation_keys'])}",
        ),
        (
            "security",
            f"{found.security_bits} bits: ring dimension {found.ring_dimension}, log2(QP) = "
            f"{found.log_qp:.1f}"
            if found.security_bits
            else f"none: the engine '{found.engine}' encrypts nothing",
        ),
    ]
    if found.accuracy is not None:
        a = found.accuracy
        lines.insert(
            0,
            (
                "accuracy",
                f"{a.original:.2%} original, {a.polynomial:.2%} polynomial, "
                f"{a.encrypted:.2%} encrypted",
            ),
        )
    parts: list[RenderableType] = [table, _pairs(*lines)]
    if found.predicted is not None:
        parts.append(_foretold(found.predicted))
    title = f"{found.model} on {found.engine} {found.engine_version}: {_windows(found.windows)}"
    return [Text(title), *parts]


def _foretold(predicted: Json) -> Table:
    """Each stage's time and each size: predicted, measured, and how far the prediction is off."""
    table = _table("predicted against measured", "predicted", "measured", "off by")
    names = {"total": "all stages", "evaluation_keys": "evaluation keys"}
    names["server_peak"] = "server's memory"
    for group, show in (("cpu_ms", _ms), ("bytes", human_size)):
        for key, row in predicted[group].items():
            name = names.get(key, key)
            error = "" if row["error"] is None else f"{row['error']:+.0%}"
            table.add_row(name, show(row["predicted"]), show(row["measured"]), error)
    table.caption = "times are CPU time of a message"
    table.caption_justify = "left"
    return table


def _accuracy(accuracy: Json) -> Table:
    table = _agreement_table()
    for key, name in _STEPS.items():
        table.add_row(name, *_agreement(accuracy[key]))
    data = "calibration" if accuracy["calibrated"] else "made-up"
    table.caption = f"against onnxruntime on {data} windows"
    table.caption_justify = "left"
    return table


def _agreement_table() -> Table:
    return _table("what it costs", "same label", "flips", "windows", "largest error", "precision")


def _agreement(step: Json | None) -> list[str]:
    if step is None:
        return ["not known"]
    error, bits = step["max_error"], step["precision_bits"]
    return [
        f"{step['agreement']:.2%}",
        str(step["class_flips"]),
        str(step["windows"]),
        "infinite" if error is None else f"{error:.2g}",
        "none" if bits is None else f"{bits:.1f} bits",
    ]


def _activations(fits: Iterable[Json]) -> Table:
    table = _table("activation", "degree", "interval", "largest error", "headroom", "outside")
    for fit in fits:
        error = fit["max_error"]
        table.add_row(
            f"{fit['name']} ({fit['function']})",
            str(fit["degree"]),
            f"{fit['low']:.3g} to {fit['high']:.3g}",
            "infinite" if error is None else f"{error:.2g}",
            f"{fit['headroom']:.0%}",
            f"{fit['outside']:.2%}",
        )
    return table


def _security(params: Json) -> str:
    return (
        f"{params['security_bits']} bits: log2(QP) = {params['log_qp']:.0f} of the "
        f"{params['log_qp_limit']} that ring dimension {params['ring_dimension']} allows"
    )


def _parameters(params: Json) -> str:
    levels = _count(params["levels"], "level")
    return (
        f"{params['slots']} slots, {levels}, scale 2^{params['log_scale']:g}, "
        f"{_windows(params['batch'])} a ciphertext"
    )


def _name(row: Json) -> str:
    names = row["name"].split(", ")
    return names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}"


def _products(plain: int, cipher: int) -> str:
    return " + ".join(f"{n}{k}" for n, k in ((plain, "p"), (cipher, "c")) if n)


def _depth(program: Json) -> str:
    """Products on the longest path, and how many times it rescales."""
    products = _count(program["products_deep"], "product")
    return f"{products} one after another, rescaled {_count(program['depth'], 'time')}"


def _windows(count: int) -> str:
    return _count(count, "window")


def _count(number: int, name: str) -> str:
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def _ms(milliseconds: float) -> str:
    if milliseconds >= 10_000:
        return f"{milliseconds / 1000:.1f} s"
    return f"{milliseconds:.0f} ms" if milliseconds >= 100 else f"{milliseconds:.3g} ms"


def _table(*columns: str) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    for k, name in enumerate(columns):
        table.add_column(name, justify="left" if k < LEFT_ALIGNED else "right", overflow="fold")
    return table


def _pairs(*pairs: Sequence[Any]) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    table.add_column(style="bold")
    table.add_column()
    for name, value in pairs:
        table.add_row(name, value)
    return table
