"""The engine protocol: what every CKKS library is asked for, and nothing else.

An `Engine` is a library with one parameter set. The client asks it for keys, encryption and
decryption; the server asks it for an `Evaluator` over evaluation keys and never sees a secret key.
Levels count the rescales that remain; rotations are left-positive; vectors are float64 or
complex128 [slots]. What is serialised comes, and is taken, in pieces.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from .params import CkksParams
from .pieces import Pieces
from .program import Slots

Cipher = Any
"""A library's ciphertext. Only the engine that made it looks inside."""

Plain = Any
"""A library's encoded plaintext."""


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What an engine can and cannot do; the conformance suite skips by these names."""

    encrypted: bool
    """Ciphertexts hide their values (false for `clear` and `dry`)."""
    values: bool
    """Ciphertexts hold values at all (false for `dry`)."""
    exact_scale: bool
    """Scales are chosen by us for each value (false where the library fixes them)."""
    lazy_rescale: bool
    """A product's rescale can be put off (false where the library decides when to rescale)."""
    hoisting: bool
    """`rotate_many` is cheaper than as many rotations."""
    process_wide_lock: bool
    """The library must not be entered by two threads at once."""
    three_part: bool
    """Products need not be relinearised: sums, products with plaintexts and decryption take three
    polynomials."""
    forks: bool
    """Copies of a process (os.fork) can go on with the keys and values that it holds."""
    asynchronous: bool = False
    """Calls of the evaluator return before the device has computed (see `Engine.synchronise`), and
    a process's CPU time does not tell what they take."""


@dataclass(frozen=True, slots=True)
class SecretKey:
    """A secret key. Stays with the client: no server type has a field that could hold one."""

    handle: Any
    key_id: str


@dataclass(frozen=True, slots=True)
class EvaluationKeys:
    """Relinearisation and Galois keys: public, and all that the server is given."""

    handle: Any
    key_id: str
    rotations: tuple[int, ...]
    """Steps in ring slots."""
    conjugation: bool = False
    """Whether there is a key for complex conjugation."""


class Evaluator(Protocol):
    """Ciphertext operations under one set of evaluation keys."""

    def prepare_plain(
        self, values: Slots, level: int, scale: float, summand: bool = False
    ) -> Plain:
        """Encode `values` [slots] for use with a ciphertext of this level.

        `summand` says what to prepare for: to be added, or to be multiplied. Either works with
        both; what was not prepared for may take longer when it is first used.
        """

    def rotate(self, a: Cipher, step: int) -> Cipher: ...
    def rotate_many(self, a: Cipher, steps: Sequence[int]) -> list[Cipher]: ...

    def rotate_add(self, a: Cipher, step: int) -> Cipher:
        """a + rotate(a, step), what a fold is made of, without a ciphertext between."""

    def conjugate(self, a: Cipher) -> Cipher:
        """Complex conjugates of the slots; a key switch, as a rotation is."""

    def conjugate_add(self, a: Cipher) -> Cipher:
        """a + conjugate(a), twice the real parts, without a ciphertext between."""

    def times_i(self, a: Cipher) -> Cipher:
        """i * a: exact, at the level and scale of `a`, and without a key."""

    def add(self, a: Cipher, b: Cipher) -> Cipher: ...
    def sub(self, a: Cipher, b: Cipher) -> Cipher: ...
    def negate(self, a: Cipher) -> Cipher: ...
    def add_plain(self, a: Cipher, p: Plain) -> Cipher: ...

    def dot_plain(
        self, cts: Sequence[Cipher], pts: Sequence[Plain], rescale: bool = True
    ) -> Cipher:
        """Sum of products; one rescale, unless it is put off (Capabilities.lazy_rescale)."""

    def dot_cipher(
        self,
        pairs: Sequence[tuple[Cipher, Cipher]],
        rescale: bool = True,
        relinearise: bool = True,
    ) -> Cipher:
        """Sum of products (a square where both are one object), with one rescale unless it is put
        off (Capabilities.lazy_rescale). Without `relinearise` (Capabilities.three_part) it has
        three polynomials, and is refused where they are not of use."""

    def level_down(self, a: Cipher, level: int) -> Cipher: ...
    def level(self, a: Cipher) -> int: ...
    def scale(self, a: Cipher) -> float: ...

    def parts(self, a: Cipher) -> int:
        """Polynomials: 2, or 3 in what comes of a product that was not relinearised."""


class Engine(Protocol):
    """A library with one parameter set."""

    name: str
    version: str
    params: CkksParams
    capabilities: Capabilities

    @property
    def family(self) -> str:
        """Engines of one family read each other's keys and ciphertexts: a CPU's and a GPU's."""

    @property
    def slots(self) -> int: ...

    @property
    def moduli(self) -> tuple[float, ...]:
        """The true primes, `moduli[l]` being the one that a rescale from level l drops."""

    @property
    def log_qp(self) -> float:
        """log2(Q*P) as read back from the library where it can be."""

    def generate_keys(
        self,
        rotations: Sequence[int],
        levels: Sequence[int] | None = None,
        conjugation: int | None = None,
    ) -> tuple[SecretKey, Pieces]:
        """A new secret key, and its evaluation keys for exactly these steps (in ring slots).

        `levels` has the highest level at which each step will be used, for engines that can make
        a smaller key then; such a key is refused above it. Without, keys serve every level.
        `conjugation` is the highest level at which a value will be conjugated; without, there is
        no key for that.

        The evaluation keys come serialised, in the library's smallest form (seeded where it can):
        the client only ever sends them. `load_evaluation_keys` makes them usable.
        """

    def encrypt(self, key: SecretKey, values: Slots, level: int, scale: float) -> Cipher:
        """Encrypt `values` [slots], refusing NaN, infinities and what the scale cannot hold."""

    def encrypt_bytes(self, key: SecretKey, values: Slots, level: int, scale: float) -> Pieces:
        """`encrypt` and `save_cipher` in one, in the smallest form (seeded where it can)."""

    def decrypt(self, key: SecretKey, a: Cipher, *, imaginary: bool = False) -> Slots:
        """The real parts of the slots, float64 [slots]; with `imaginary`, complex128."""

    def evaluator(self, keys: EvaluationKeys) -> Evaluator: ...

    def synchronise(self) -> None:
        """Wait until the device has computed all that was asked for; nothing where calls return
        with their results. `save_cipher` and `decrypt` wait of themselves."""

    def save_cipher(self, a: Cipher) -> Pieces: ...

    def load_cipher(self, data: Pieces) -> Cipher:
        """What `save_cipher` made. Here and in the other two, what the bytes claim is checked, and
        what the library can tell of them; that they are undamaged is for the file that holds them
        (`runtime.container`)."""

    def save_secret_key(self, key: SecretKey) -> Pieces: ...
    def load_secret_key(self, data: Pieces, key_id: str) -> SecretKey: ...
    def load_evaluation_keys(
        self, data: Pieces, key_id: str, rotations: tuple[int, ...], conjugation: bool = False
    ) -> EvaluationKeys: ...
