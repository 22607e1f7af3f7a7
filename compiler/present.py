"""What a compilation and a verification found, as people read it."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from eer.runtime.console import human_size
from eer.runtime.fields import Json

from .clock import clock, on_gpu
from .tables import counted, depth, ms, new_table, one_step, pairs, parameters, security, windows
from .verification import Verification

_STEPS = {
    "polynomials": "polynomials for activations",
    "layouts": "layouts (a program in slots)",
    "noise": "CKKS noise (simulated)",
    "total": "all together",
}


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
    gpu = on_gpu(report["engine"])
    server = report["predicted"]["server_bytes"]["peak"]
    parts.append(
        pairs(
            ("security", security(params)),
            ("parameters", parameters(params)),
            ("program", f"{depth(report['program'])}: {operations}"),
            (
                "keys",
                f"{counted(keys['galois_keys'], 'Galois key')}, about "
                f"{human_size(keys['evaluation_key_bytes'])} for the server, once",
            ),
            (
                "upload",
                f"{counted(keys['input_ciphertexts'], 'ciphertext')}, about "
                f"{human_size(keys['upload_bytes'])} a message of {windows(params['batch'])}",
            ),
            (
                "latency",
                f"about {ms(stages['total'])} of {clock(report['engine'])} a message, "
                f"{ms(stages['run'])} at the server (predicted; eer verify measures)",
            ),
            (
                "throughput",
                f"about {report['predicted']['windows_per_second']:.3g} windows a second on one "
                f"{'GPU' if gpu else 'core'}, {windows(params['batch'])} a message (predicted)",
            ),
            (
                "memory",
                f"about {human_size(server)} {'of the GPU' if gpu else 'at the server'} "
                "(predicted)",
            ),
        )
    )
    if report["step"]:
        parts.append(pairs(("a step", one_step(report["step"]))))
    if report["batches"]:
        parts.append(_batches(report["batches"], params["batch"]))
    parts += [Text(f"warning: {w}", style="yellow") for w in report["warnings"]]
    return parts


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
            f"{ms(wall['total'])} a window (encrypt {ms(wall['encrypt'])}, run "
            f"{ms(wall['run'])}, decrypt {ms(wall['decrypt'])}); {ms(cpu['total'])} of CPU time",
        ),
        (
            "throughput",
            f"{found.windows_per_second:.3g} windows a second, {windows(found.batch)} a message",
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
    parts: list[RenderableType] = [table, pairs(*lines)]
    if found.predicted is not None:
        parts.append(_foretold(found.predicted))
    title = f"{found.model} on {found.engine} {found.engine_version}: {windows(found.windows)}"
    return [Text(title), *parts]


def _foretold(predicted: Json) -> Table:
    """Each stage's time and each size: predicted, measured, and how far the prediction is off."""
    table = new_table("predicted against measured", "predicted", "measured", "off by")
    names = {"total": "all stages", "evaluation_keys": "evaluation keys"}
    names["server_peak"] = "server's memory"
    for group, show in (("cpu_ms", ms), ("wall_ms", ms), ("bytes", human_size)):
        for key, row in predicted.get(group, {}).items():
            name = names.get(key, key)
            error = "" if row["error"] is None else f"{row['error']:+.0%}"
            table.add_row(name, show(row["predicted"]), show(row["measured"]), error)
    kind = "CPU time" if "cpu_ms" in predicted else "wall time"
    table.caption = f"times are {kind} of a message"
    table.caption_justify = "left"
    return table


def _batches(trials: Iterable[Json], chosen: int) -> Table:
    """What each batch was predicted to give."""
    table = new_table("batch", "ring dimension", "a message takes", "windows a second")
    for trial in trials:
        mark = " (chosen)" if trial["batch"] == chosen else ""
        table.add_row(
            f"{trial['batch']}{mark}",
            str(trial["ring_dimension"]),
            ms(trial["milliseconds"]),
            f"{trial['windows_per_second']:.3g}",
        )
    table.caption = "predicted, from a quick search for plans"
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
    return new_table(
        "what it costs", "same label", "flips", "windows", "largest error", "precision"
    )


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
    table = new_table("activation", "degree", "interval", "largest error", "headroom", "outside")
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
