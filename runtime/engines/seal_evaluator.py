"""What SEAL computes on ciphertexts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from ..engine import EvaluationKeys
from ..errors import EngineError
from ..program import Slots
from .checked_evaluator import CheckedEvaluator
from .seal_library import SealCall, sealapi
from .typed import Ciphertext, Plaintext

if TYPE_CHECKING:
    from .seal import SealEngine

Term = TypeVar("Term")

GaloisKey = tuple[int, Any]
"""A Galois element, and SEAL's GaloisKeys with the key for it alone."""


@dataclass(frozen=True, slots=True, eq=False)
class SealKeys:
    """Evaluation keys as SEAL holds them; `galois` by left rotation step."""

    relin: Any
    galois: dict[int, GaloisKey]
    conjugation: GaloisKey | None


@dataclass(frozen=True, slots=True, eq=False)
class _Encoded:
    """A plaintext; where it rounds to zero, `plain` is the polynomial 1 in its place.

    SEAL refuses results that do not depend on the key, which a product with zero would be.
    """

    plain: Any
    zero: bool


class SealEvaluator(CheckedEvaluator):
    """SEAL operations; operands stay as they are.

    SEAL raises where summands cancel exactly, for the result would not depend on the key. Here the
    handle of such a result is None, for zero, and is left out of all sums that it comes to: the
    cancellation shows in the ciphertexts, so that nothing is given away.
    """

    _engine: SealEngine

    def __init__(self, engine: SealEngine, keys: EvaluationKeys, raw: SealKeys) -> None:
        super().__init__(engine, keys)
        self._relin = raw.relin
        self._galois = raw.galois
        self._conjugation_key = raw.conjugation
        self._ev = sealapi.Evaluator(engine.context)

    def _encode(self, values: Slots, level: int, scale: float, summand: bool) -> _Encoded:
        plain = self._engine.encode(values, level, scale)
        zero: bool = plain.is_zero()
        if zero:
            one = 1.0 / scale
            self._engine.encoder.encode(one, self._engine.parms_ids[level], scale, plain)
        return _Encoded(plain, zero)

    def _rotate(self, a: Ciphertext, step: int) -> Any | None:
        return self._switched(a, self._galois[step], "rotate")

    def _rotate_add(self, a: Ciphertext, step: int) -> Any | None:
        return self._folded(a, self._galois[step])

    def _conjugate(self, a: Ciphertext) -> Any | None:
        assert self._conjugation_key is not None  # CheckedEvaluator has seen that there is one
        return self._switched(a, self._conjugation_key, "conjugate")

    def _conjugate_add(self, a: Ciphertext) -> Any | None:
        assert self._conjugation_key is not None
        return self._folded(a, self._conjugation_key)

    def _switched(self, a: Ciphertext, key: GaloisKey, what: str) -> Any | None:
        if a.handle is None:
            return None
        out = sealapi.Ciphertext()
        with SealCall(what):
            self._ev.apply_galois(a.handle, *key, out)
        return out

    def _folded(self, a: Ciphertext, key: GaloisKey) -> Any | None:
        """`a` added to what the key makes of it."""
        if a.handle is None:
            return None
        out = sealapi.Ciphertext()
        with SealCall("fold"):
            self._ev.apply_galois(a.handle, *key, out)
            return out if self._sums(self._ev.add_inplace, out, a.handle) else None

    def _times_i(self, a: Ciphertext) -> Any | None:
        if a.handle is None:
            return None
        out = sealapi.Ciphertext()
        with SealCall("multiply by i"):
            self._ev.multiply_plain(a.handle, self._engine.unit(a.level), out)
        return out

    def _add(self, a: Ciphertext, b: Ciphertext) -> Any | None:
        if a.handle is None or b.handle is None:
            return b.handle if a.handle is None else a.handle
        out = sealapi.Ciphertext()
        _align(b, a)
        with SealCall("add"):
            return out if self._sums(self._ev.add, a.handle, b.handle, out) else None

    def _sub(self, a: Ciphertext, b: Ciphertext) -> Any | None:
        if a.handle is None or b.handle is None:
            return self._negate(b) if a.handle is None else a.handle
        out = sealapi.Ciphertext()
        _align(b, a)
        with SealCall("subtract"):
            return out if self._sums(self._ev.sub, a.handle, b.handle, out) else None

    def _negate(self, a: Ciphertext) -> Any | None:
        if a.handle is None:
            return None
        out = sealapi.Ciphertext()
        with SealCall("negate"):
            self._ev.negate(a.handle, out)
        return out

    def _add_plain(self, a: Ciphertext, p: Plaintext) -> Any | None:
        if p.handle.zero:
            return a.handle
        if a.handle is None:
            raise EngineError(
                "a sum cancels to zero, and what is left is a constant that the server knows",
                hint="leave the constant to the client, or take it out of the model",
            )
        out = sealapi.Ciphertext()
        plain = p.handle.plain
        if plain.scale != a.handle.scale:
            plain.scale = a.handle.scale
        with SealCall("add a plaintext"):
            self._ev.add_plain(a.handle, plain, out)
        return out

    def _dot_plain(
        self, cts: Sequence[Ciphertext], pts: Sequence[Plaintext], scale: float, rescale: bool
    ) -> Any | None:
        """Leaves out products with zero; where all are, x/scale, below the noise, stands for 0."""
        terms = [(a, p.handle) for a, p in zip(cts, pts, strict=True) if a.handle is not None]
        terms = [term for term in terms if not term[1].zero] or terms[:1]

        def multiply(term: tuple[Ciphertext, _Encoded], out: Any) -> None:
            self._ev.multiply_plain(term[0].handle, term[1].plain, out)

        with SealCall("multiply by plaintexts"):
            return self._scaled(self._sum(terms, multiply), scale, rescale)

    def _dot_cipher(
        self,
        pairs: Sequence[tuple[Ciphertext, Ciphertext]],
        scale: float,
        rescale: bool,
        relinearise: bool,
    ) -> Any | None:
        terms = [(a, b) for a, b in pairs if a.handle is not None and b.handle is not None]
        with SealCall("multiply ciphertexts"):
            total = self._sum(terms, self._multiply)
            if relinearise and total is not None:
                self._ev.relinearize_inplace(total, self._relin)
            return self._scaled(total, scale, rescale)

    def _multiply(self, pair: tuple[Ciphertext, Ciphertext], out: Any) -> None:
        a, b = pair
        if a is b:
            self._ev.square(a.handle, out)
        else:
            self._ev.multiply(a.handle, b.handle, out)

    def _sum(self, terms: Iterable[Term], multiply: Callable[[Term, Any], None]) -> Any | None:
        """Sum of the products that `multiply(term, out)` makes; None where it is zero."""
        total, product = sealapi.Ciphertext(), sealapi.Ciphertext()
        empty = True
        for term in terms:
            if empty:
                multiply(term, total)
                empty = False
                continue
            multiply(term, product)
            product.scale = total.scale
            empty = not self._sums(self._ev.add_inplace, total, product)
        return None if empty else total

    def _sums(self, operation: Callable[..., None], *operands: Any) -> bool:
        """Do a sum or difference; False where its summands cancel."""
        try:
            operation(*operands)
        except RuntimeError as error:
            if "transparent" not in str(error):
                raise
            return False
        return True

    def _scaled(self, total: Any | None, scale: float, rescale: bool) -> Any | None:
        if total is None:
            return None
        if rescale:
            self._ev.rescale_to_next_inplace(total)
        total.scale = scale
        return total

    def _level_down(self, a: Ciphertext, level: int) -> Any | None:
        if a.handle is None:
            return None
        out = sealapi.Ciphertext()
        with SealCall("drop primes"):
            self._ev.mod_switch_to(a.handle, self._engine.parms_ids[level], out)
        return out


def _align(b: Ciphertext, a: Ciphertext) -> None:
    """Give b the scale of a, which the typing rules found equal up to rounding: SEAL wants bits."""
    if b.handle.scale != a.handle.scale:
        b.handle.scale = a.handle.scale
