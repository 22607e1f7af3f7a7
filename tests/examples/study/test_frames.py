"""Pickles of pandas' tables are read as arrays, whoever wrote them, and never run."""

from __future__ import annotations

import pickle
import zlib
from base64 import b64decode
from collections import OrderedDict, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pandas
import pytest

from eer.runtime.errors import DataError, FileError
from examples.study.frames import Frame, read_frames

WRITTEN_BY = {
    ("1.5", 2): (
        "eNp1lNtz1DYUxp3dEIihoVBaoBcaCBcD6bYptKRNSsKlgWBYqIBgCqkq28raje31Z8lDM9OdoQ/ZTd76wBNPPP"
        "WZmf4HyR9WJO1uGC6xZ+xP1tHR79Oc46eVFizHHWhhwKtYlhVMQH2pekNK8/OUhwyDQc6ykIla0Cx4balgKbev"
        "MsnmjMKO039jqIWdjjeo1tC0UWDXGyviTPIiY4mopSxjDV4I+3LSDJZvdUc2hvvhNIl98TrepmWWx8FywqmvF9"
        "iwg6xM85Vu3rRMZMyKgq3YtOBBMxOyKANpY3c3ylY5zSz2uNYqPgho0Ax5IGyeaWFjxBtQxD72GrcJk3E2gQ/b"
        "2Eewv4OPCA6og1H3YBsf91KGciVXKz8xZxVP4uD6WgeHCA47btVkm8an9Xr9xv/qMg/XkvjMX49GvHE1u/Hv6O"
        "Z/zsaqitx4cXRLPj+2JZ+N9SU+jxTLFwRHJL70A0r9MlaGM0ptkcSBohh1Lc3XwVGCY26lgzGC45Ed7Y6M4ROR"
        "cnGS4NSWCyfqgi9N4rQGP0NwVoFH7yKPG+Qxq39tvpjpiX/64mVPWLP4SpPWCL6W+MaPRtVmFY01QfCtxjpHcP"
        "411nca63uCC1tYkz2s25P4QWP9SDDVP8+/MP0m3IzET/76Ii46Zp5hJtprVIBZ8w5xiUtc1hwVt6o5rhBc1Rw/"
        "E8x1cG0R1523CjTkf3JR85ngNs34Ezqvv9iY3z6sF3GjBbdb+KHqCNzsm7ylTdYJbmuT1VXciaYU8y+ON6xC78"
        "UpF5KlOYhX1X2mmuyuSZI1Jcc9hX/f745Vh2GhXrbxgMCL3s9TsKzBbaKfPaqHLfzqRAt1b4fKoXYqJB65lsko"
        "ZDPHY3ewN+A5Ft0Blf83Asrb+J2AdftYFTp8g6udma5HYMY05ZIZu+EiuNmDSVkILLXQMK1ElxLWEIhaiL2Dej"
        "pJmk8EDctcFS6TnCbM54nAH2ui9IXYpqlFwBKmfg/L0WFVi7tUnkqv4pDogksJsjaaBHkLKGuvAOEYh08="
    ),
    ("1.5", 5): (
        "eNp1k0trFEEQx6dnd2OiAV/E+IAQzWW9LAhBgggJRgQd3GDwGpqemZ7tIfOiu4cYcEEPeUHfLD148uRn8ehH8C"
        "MIfgCt7pklu6J96Kqeqa7+dfW/3vU+fut4boyhH5AxGD96AGjm+DrlMQNztWJFzNQgKiUfJJLlHMzCU6bZM+d/"
        "gPvvMb5vujQfSTAr0+FpobksWKYGOSvYiEsFZvFJVkb7L5s1bjc32h00S0N1vgXMZVoXVRrtZ5yGdo8NvlbUeX"
        "XYZEeXyzQCc4kmsszDOklcxv6n1eZK3tfVX/0j4nlf7jb2873GwlprTc/lQxvrw8rexvjpBpydnsAu1qNjyGMY"
        "DocvfuNwU+BpCAMSdI/BkG3QGGbmwzrNdFogck9laWTTBB4GEZsl8O0srojr51zN+LHZ2O+t/dlabwvEsvGTKQ"
        "5x538UYsUyiDVc+bMHmqWpWuU1EjIpGd51kUoelYXSso40soolcwFfwP205EewTUJoTibtKcizM1OXt3/VZROJ"
        "zvZQBwQ1g9sNwYchMXD8jnR+0JmmOwEbenNWKzF/w9UgZAoVdpEW/IA+t98s4Y7pTXyntRj1B+Kh2LC04tGEtY"
        "OLLUex8DrNudIsr8B0nI67Ram5w0HXKndYH9s6vTK3/oUhWTGyHLvWTp0t6BBfWTOpsVKmq3RZQdC1DkeHuJzc"
        "TtgQKCnsFcs66Ruac80c/B6KhWmNHWGbjSYZGzl3mWVZeaBoXFcoJaY5zVjIsR1OVR0qJdbNnIpYxqzQxe3teb"
        "/VDNgzx1AP/gAAvnQQ"
    ),
    ("2.2", 2): (
        "eNp1lNtz1DYUxp3dQIlDuZZbr4HQ1mnD0pRQ0kIbCIFCDAuIkLq0Qci2sjaxvf4seWhmujP0IbvJWx/6xBNPPH"
        "eG/yD5w0DS7oYJF3vG/mQdHf0+zTl+UmnBctyBFga8imVZwQTUl6q3U2k+SXnIMBjkLAuZqAXNgteWCpZye5ZJ"
        "dtUo7Bj7Bztb+MDxBtUamjYK7Nq2Is4kLzKWiFrKMtbghbBnkmawfLM7sjHUD6dJ7IvX8TYtszwOlhNOfb3Ahh"
        "1kZZqv1KhJnJaJjFlRsBWbFjxoZkIWZSBtDHfDbJXUzGK3a63iw0AtC3kgbJ5pYWOPN6CQfew1dhMm42wC+9rY"
        "T3Cgg4MEH6mTUfdgG4d6KUO5kquVh81hxVM4sr7WwVGCY45bNdku4ON6vT73Ul3m4VoSn/jr0R5vXM1uPB/ZfO"
        "FsrKrIjWfHt+TTE1vyv9G+xKeRYvmM4HOJL/yAUr+MleGMUlskcaAoRlxL83VwnOCEW+lglOBkZEfDkTH8ZaRc"
        "fEXw9ZYLJ+qCL01hTIN/Q/CtAo/eRh43yKNW/9p8Nt0T//bF/z1hXcQpTVojOC3xnR+NqM0qGmuC4HuNdYZg8j"
        "XWWY31A8G5LaypHtatKfyosX4iON8/z79xYTvctMTP/voifnHMPMN0tNeoABfNO8QlLjGjOSpuVXNcJpjVHFcI"
        "rnbw6yKuOW9UaMj/4qLmM8FtmvHH9Lr+YuP6+8N6EXMtuN3KD1VL4Ebf5E1tsk5wS5usruJ2dF4x33G8IRU6H6"
        "dcSJbmIF5VN5rqsrsmSdaUHPMK/57fHasWw0K9bOM3Ai96N0/Bsga3iX72qH5v4b4TLdS9HSqH2qmQ+MO1TEYh"
        "mzn+dAd7A55j0R1Q+R8QUN7GQwLWbWRV6PANrnZm2h6BGdOUS2bshovgZg8mZSGw1ELDtBJdSlhDIGoh9o7o6S"
        "RpPhY0LHNVuExymjCfJwKP1kTpC/G+rhYBS5j6QSxHx1Qx7lKJKr2SQ6IrLiXI2mgS5C2grL0CLLCIDQ=="
    ),
    ("2.2", 5): (
        "eNp1k89rFDEUxyezu7XVgkqx9QeUai/rZUAoUkRocUXQwS0WryVkZrKbofOLJEMtuKCH/oLcfHrw5Mk/xpN/gn"
        "+C4B+gL5lZuhXNIe9l5uXlk5fve9f7+K3juTGBfkgmYPz4AaCZ4xuUJwzM9YoVCVNBXEoejCTLOZiFp0yzZ87/"
        "APffY3zfdGk+lmBWZ8PTQnNZsEwFOSvYmEsFZvFJVsb7L5s1bjfL7Q6apZE63wLmKq2LKo33M04ju8cGLxV1Xh"
        "0G1KVHn8s0BnOFjmSZR/Vo5FL2P601d/K+rv3qHxHP+3K3sZ/vNRbWW2t6LiHaRB9W9jrGTzfh7PQEdrEgHUMe"
        "w3A4fPEbh5tCT0MUkrB7DIYMQGOYmY/qNNNpgcw9laWxTRN6GERsltC3s7gmls65mvFjq7HfW/uztd42iBXjj2"
        "Y4xJ3/UYhVyyDWceVfPNAszxYrrxGRScnwsotU8rgslJZ1rBFW3DCX8A3cT4t+BAMSQXM0aY9BoJ0LhXn7V2G2"
        "EOlsD5VAUDW43RB8GZIAx++I54edWbwTsKE3L6ol4W+4CiKmUGOXacEP6HP7zRLumN7Ud2pLUIEgHopNSyseTV"
        "k7uNh2FAuv05wrzfIKTMcpuVuUmjscdK12h/WxLdQrc+tfGJIVY8uxa+3M2YIO8Zk1kxorZbpKlxWEXetwdIjL"
        "ye2ELYGawm6xrNPOoTnXzMHvoVqY1tgTtt3oKGNj566wLCsPFE3qCrXENKcZizg2xKmqI6XEhplTMcuYVbq4PZ"
        "j3W9GAPXMCdfAH43R00g=="
    ),
}
"""By version of pandas and protocol: {1: {"c1": {"e4_eda": table}}, numpy.int64(2): {}}."""


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def table() -> pandas.DataFrame:
    return pandas.DataFrame(
        {
            "Timestamp": 1_671_429_300_390 + 250 * np.arange(6),
            "eda": np.linspace(0.0, 1.0, 6),
            "note": list("abcdef"),
            "on": [True, False] * 3,
            "temp": np.arange(6, dtype=np.float32),
        }
    )


def same(found: object, wanted: pandas.DataFrame) -> None:
    assert isinstance(found, Frame)
    numeric = wanted.select_dtypes(["number", "bool"])
    assert list(found.columns) == list(numeric.columns)
    for name, column in found.columns.items():
        assert column.dtype == numeric[name].dtype
        np.testing.assert_array_equal(column, numeric[name].to_numpy())


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_reads_what_this_pandas_writes(tmp_path: Path, protocol: int) -> None:
    whole = table()
    tables = {
        "whole": whole,
        "reordered": whole[["temp", "eda", "Timestamp"]],
        "part": whole.iloc[1:4],
        "labelled": whole.set_index(np.array([1.5, 2, 3, 4, 5, 6])),
        "one type": whole[["eda"]].assign(two=2.0, three=3.0),
        "no rows": whole.iloc[:0],
        "nothing": pandas.DataFrame(),
    }
    content: dict[object, object] = {
        np.int64(1): OrderedDict(c1=tables),
        "2": defaultdict(dict, {"c1": {"series": whole["eda"]}}),
        3: (np.float64(1.5), [None, "x", 2, b"y"], {"array": np.eye(3)}),
    }
    path = write(tmp_path / "a.pkl", pickle.dumps(content, protocol=protocol))
    found = read_frames(path)
    assert isinstance(found, dict)
    assert list(found) == [1, "2", 3]
    for name, wanted in tables.items():
        same(found[1]["c1"][name], wanted)
    np.testing.assert_array_equal(found["2"]["c1"]["series"], whole["eda"].to_numpy())
    number, others, arrays = found[3]
    assert (number, others) == (1.5, [None, "x", 2, b"y"])
    np.testing.assert_array_equal(arrays["array"], np.eye(3))


@pytest.mark.parametrize("case", WRITTEN_BY, ids=lambda case: f"pandas {case[0]}, {case[1]}")
def test_reads_what_older_pandas_wrote(tmp_path: Path, case: tuple[str, int]) -> None:
    content = zlib.decompress(b64decode(WRITTEN_BY[case]))
    found = read_frames(write(tmp_path / "a.pkl", content))
    assert isinstance(found, dict)
    assert list(found) == [1, 2]
    columns = found[1]["c1"]["e4_eda"].columns
    assert list(columns) == ["Timestamp", "eda"]
    assert columns["Timestamp"].tolist() == [1_671_429_300_390 + 250 * n for n in range(4)]
    assert columns["eda"].tolist() == [0.5, 0.25, 1.0, 2.0]


class Evil:
    """Pickles as a call of its own choice."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.call, self.arguments = call, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self.call, self.arguments


@pytest.mark.parametrize("protocol", [2, 5])
@pytest.mark.parametrize(
    ("value", "named"),
    [
        (Evil(eval, "__import__('pathlib').Path('TARGET').touch()"), "eval"),
        (Evil(__import__("os").system, "touch TARGET"), "system"),
        (Evil(getattr, "text", "upper"), "getattr"),
        (Evil(pandas.eval, "1"), "pandas"),
        (Evil(pandas.read_pickle, "TARGET"), "read_pickle"),
        (pandas.Timestamp("2024-01-01"), "[Tt]imestamp"),
        (np.random.default_rng(0), "numpy.random"),
        (Path("S2"), "pathlib"),
    ],
)
def test_refuses_every_other_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: object, named: str, protocol: int
) -> None:
    monkeypatch.chdir(tmp_path)
    path = write(tmp_path / "a.pkl", pickle.dumps({1: value}, protocol=protocol))
    with pytest.raises(DataError, match=named) as error:
        read_frames(path)
    assert "may be an attack" in str(error.value)
    assert not (tmp_path / "TARGET").exists()


ARRAY = b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(I0\ntS'b'\nt"
OBJECTS = b"cnumpy\ndtype\n(S'O8'\nI0\nI1\ntR"
BYTES = b"cnumpy\ndtype\n(S'u1'\nI0\nI1\ntR"
BLOCK = b"cpandas._libs.internals\n_unpickle_block\n"


@pytest.mark.parametrize(
    "content",
    [
        # More texts wanted than there are, or none at all: numpy would read past the list's end.
        ARRAY + b"R(I1\n(L1000000L\nt" + OBJECTS + b"I00\n(lp0\ntb.",
        # More numbers wanted than there are bytes.
        ARRAY + b"R(I1\n(L1000000L\nt" + BYTES + b"I00\nS'abc'\ntb.",
        # A shape of something else, and less than nothing.
        ARRAY + b"R(I1\nI3\n" + BYTES + b"I00\nS'abc'\ntb.",
        ARRAY + b"R(I1\n(I-3\nt" + BYTES + b"I00\nS'abc'\ntb.",
        # Stand-ins called, or handed to one another, as pandas never does.
        b"cpandas\nDataFrame\n(I1\ntR.",
        b"cpandas\nDataFrame\n)\x81.",
        b"cpandas\nDataFrame\n)\x81}b.",
        b"cpandas.core.indexes.base\n_new_Index\n(I1\nI2\ntR.",
        BLOCK + b"(I1\nI2\nI3\ntR.",
        BLOCK + b"(I1\ntR.",
        b"cbuiltins\nslice\n(S'a'\ntR.",
        b"cbuiltins\nbytes\n(I1000000000\ntR.",
        b"ccopyreg\n_reconstructor\n(cpandas\nIndex\ncbuiltins\nobject\nNtR.",
        b"cnumpy\ndtype\n(S'V8'\ntR.",
        # A list within itself.
        b"(lp0\ng0\na.",
        b"",
        b"junk",
    ],
)
def test_refuses_what_pandas_never_writes(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "a.pkl", content)
    if b"O8" in content:
        # Read as the texts that there are, whatever the shape says.
        assert read_frames(path) == []
        return
    with pytest.raises(DataError) as error:
        read_frames(path)
    assert error.value.hint


def test_a_file_cut_short_is_an_error_wherever_it_ends(tmp_path: Path) -> None:
    content = pickle.dumps({1: {"c1": {"e4_eda": table()}}})
    for end in range(0, len(content) - 1, 37):
        with pytest.raises(DataError):
            read_frames(write(tmp_path / "a.pkl", content[:end]))
    with pytest.raises(FileError, match="cannot read"):
        read_frames(tmp_path / "none.pkl")


def test_columns_at_places_that_are_not_there(tmp_path: Path) -> None:
    manager: Any = pickle.dumps(table()[["eda"]], protocol=2)
    # The placement of the only block, slice(0, 1, 1), moved behind the last column.
    broken = manager.replace(b"K\x00K\x01K\x01\x87", b"K\x05K\x09K\x01\x87")
    assert broken != manager
    with pytest.raises(DataError, match="differ in number"):
        read_frames(write(tmp_path / "a.pkl", broken))
