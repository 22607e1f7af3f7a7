"""Finding and loading recordings: the official archive's pickles, or wrist recordings as npz."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eer.runtime.errors import DataError, FileError
from examples.study.restricted_pickle import read_pickle
from examples.study.table_files import read_npz
from examples.study.windows import Signal

from .recording import BVP_RATE, CHEST_RATE, WRIST_RATE, Chest, Recording

ACC_RATE = 32
"""Hz of the wrist's acceleration in the official archive."""
ACC_UNIT = 64.0
"""Counts per g of the wrist's acceleration, in both formats."""
SLACK = 2.0
"""Seconds by which the signals of one session may differ in length."""

_ARCHIVE = re.compile(r"S\d+\.pkl")
_NPZ = re.compile(r"S\d+_wrist\.npz")


def find_data(given: Path | None, repository: Path) -> Path | None:
    """The folder with WESAD in it, or None where there is none.

    `given` (the option) comes before the variable EER_DATA, and that before `../shared/data`
    beside the repository. A folder that was named and is not there is an error.
    """
    named = given or (Path(os.environ["EER_DATA"]) if os.environ.get("EER_DATA") else None)
    root = named or repository.parent / "shared" / "data"
    if named and not named.is_dir():
        raise FileError(
            "no such folder of data",
            where=str(named),
            hint="name the folder that holds S2/S2.pkl and the others, or leave it out",
        )
    for folder in (root, root / "wesad", root / "WESAD"):
        if folder.is_dir() and (recording_files(folder) or any(folder.glob("features_*.csv"))):
            return folder
    if named:
        raise DataError(
            "this folder holds neither SX/SX.pkl nor SX_wrist.npz nor features_*.csv",
            where=str(named),
            hint="unpack the official WESAD archive and name its folder",
        )
    return None


def recording_files(folder: Path) -> tuple[Path, ...]:
    """One file for each subject, by subject number; the official pickles before npz files."""
    pickles = [p for p in folder.glob("S*/S*.pkl") if _ARCHIVE.fullmatch(p.name)]
    found = (*folder.glob("S*_wrist.npz"), *folder.glob("wrist/S*_wrist.npz"))
    arrays = [p for p in found if _NPZ.fullmatch(p.name)]
    return tuple(sorted(pickles or arrays, key=_number))


def load_recording(path: Path) -> Recording:
    """The recording in an official `SX.pkl` or in an `SX_wrist.npz`."""
    if path.suffix == ".npz":
        return _from_npz(path)
    if path.suffix == ".pkl":
        return _from_pickle(path)
    raise DataError(
        f"recordings are .pkl or .npz files, not {path.suffix or 'without suffix'}", where=str(path)
    )


def _number(path: Path) -> int:
    digits = re.search(r"\d+", path.name)
    return int(digits.group()) if digits else 0


def _from_npz(path: Path) -> Recording:
    content = read_npz(path)
    for name in ("bvp_64", "eda", "temp", "acc", "label", "fs"):
        if name not in content:
            raise DataError(
                f"the array {name!r} is missing",
                where=str(path),
                hint=f"the file holds {', '.join(sorted(content))}",
            )
    if int(content["fs"]) != WRIST_RATE:
        raise DataError(
            f"recorded at {int(content['fs'])} Hz, expected {WRIST_RATE} Hz",
            where=str(path),
            hint=f"resample eda, temp, acc and label to {WRIST_RATE} Hz",
        )
    label = content["label"]
    seconds = len(label) / WRIST_RATE
    signals = {
        name: _signal(content[name], columns, rate, seconds, name, path)
        for name, columns, rate in (
            ("bvp_64", 1, BVP_RATE),
            ("eda", 1, WRIST_RATE),
            ("temp", 1, WRIST_RATE),
            ("acc", 3, WRIST_RATE),
        )
    }
    n = _common_length({k: len(v) for k, v in signals.items()}, {"bvp_64": BVP_RATE}, len(label))
    return Recording(
        subject=str(content["subject"]) if "subject" in content else f"S{_number(path)}",
        bvp=signals["bvp_64"][: n * BVP_RATE // WRIST_RATE],
        eda=signals["eda"][:n],
        temp=signals["temp"][:n],
        acc=signals["acc"][:n] / ACC_UNIT,
        label=label[:n].astype(np.int8),
        synthetic=bool(content.get("synthetic", False)),
    )


def _from_pickle(path: Path) -> Recording:
    content = _mapping(read_pickle(path), "the file", path)
    signal = _mapping(_entry(content, "signal", path), "signal", path)
    wrist = _mapping(_entry(signal, "wrist", path), "signal/wrist", path)
    label = _array(_entry(content, "label", path), "label", path)
    seconds = len(label) / CHEST_RATE
    signals = {
        name: _signal(_entry(wrist, name, path), columns, rate, seconds, f"wrist {name}", path)
        for name, columns, rate in (
            ("BVP", 1, BVP_RATE),
            ("EDA", 1, WRIST_RATE),
            ("TEMP", 1, WRIST_RATE),
            ("ACC", 3, ACC_RATE),
        )
    }
    rates = {"BVP": BVP_RATE, "ACC": ACC_RATE}
    step = CHEST_RATE // WRIST_RATE
    n = _common_length({k: len(v) for k, v in signals.items()}, rates, len(label) // step)
    chest = signal.get("chest")
    return Recording(
        subject=str(content.get("subject", f"S{_number(path)}")),
        bvp=signals["BVP"][: n * BVP_RATE // WRIST_RATE],
        eda=signals["EDA"][:n],
        temp=signals["TEMP"][:n],
        acc=_block_means(signals["ACC"], ACC_RATE // WRIST_RATE)[:n] / ACC_UNIT,
        # A label in the middle of each quarter second: at the edges two conditions may meet.
        label=label.reshape(-1)[step // 2 :: step][:n].astype(np.int8),
        chest=None if chest is None else _chest(_mapping(chest, "chest", path), seconds, path),
        synthetic=bool(content.get("synthetic", False)),
    )


def _chest(content: Mapping[str, object], seconds: float, path: Path) -> Chest:
    ecg, eda, resp = (
        _signal(_entry(content, name, path), 1, CHEST_RATE, seconds, f"chest {name}", path)
        for name in ("ECG", "EDA", "Resp")
    )
    return Chest(ecg, eda, resp)


def _mapping(value: object, name: str, path: Path) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise DataError(
            f"{name} should be a dictionary, is {type(value).__name__}", where=str(path)
        )
    return value


def _entry(content: Mapping[str, object], name: str, path: Path) -> object:
    if name not in content:
        raise DataError(
            f"the sensor or entry {name!r} is missing",
            where=str(path),
            hint=f"there are {', '.join(sorted(map(str, content))) or 'none'}; "
            "download or unpack the subject again, or leave the subject out",
        )
    return content[name]


def _array(value: object, name: str, path: Path) -> NDArray[Any]:
    if not isinstance(value, np.ndarray) or value.dtype.kind not in "biuf" or value.size == 0:
        raise DataError(f"{name} is not an array of numbers", where=str(path))
    return value


def _signal(
    value: object, columns: int, rate: int, seconds: float, name: str, path: Path
) -> Signal:
    """The samples of one sensor, whose number must fit the labels' duration."""
    array = _array(value, name, path).astype(np.float64)
    samples = array.reshape(len(array), -1)
    if samples.shape[1] != columns:
        raise DataError(
            f"{name} has {samples.shape[1]} columns, expected {columns}", where=str(path)
        )
    if abs(len(samples) / rate - seconds) > SLACK:
        raise DataError(
            f"{name} has {len(samples)} samples, {len(samples) / rate:.0f} s at {rate} Hz, "
            f"but the labels last {seconds:.0f} s",
            where=str(path),
            hint=f"recorded at {len(samples) / seconds:.4g} Hz instead, or cut short",
        )
    if not np.isfinite(samples).all():
        raise DataError(f"{name} holds NaN or infinite samples", where=str(path))
    return samples[:, 0] if columns == 1 else samples


def _common_length(lengths: Mapping[str, int], rates: Mapping[str, int], labels: int) -> int:
    """The number of samples at `WRIST_RATE` that every signal covers."""
    return min(
        labels, *(n * WRIST_RATE // rates.get(name, WRIST_RATE) for name, n in lengths.items())
    )


def _block_means(samples: Signal, size: int) -> Signal:
    whole = len(samples) // size * size
    means: Signal = samples[:whole].reshape(-1, size, samples.shape[1]).mean(axis=1)
    return means
