"""Sixteen numbers at once, in vector registers: what loops over short rows do not become by themselves.

None of these functions checks a place in an array: the kernels that use them do.  Bit n of a word stands for the
number n.
"""

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import models, register_model

from braggstream.kernels._memory import intrinsic

LANES = 16

_BYTE, _SHORT, _WORD = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_NUMBER = ir.DoubleType()
_NUMBERS = ir.VectorType(_NUMBER, LANES)
_BITS = ir.VectorType(ir.IntType(1), LANES)
_MASK = ir.IntType(LANES)


class Lanes(types.Type):
    """Numba's type of sixteen float64."""

    def __init__(self) -> None:
        super().__init__(name="Lanes")


@register_model(Lanes)
class _LanesModel(models.PrimitiveModel):
    def __init__(self, manager: Any, kind: Any) -> None:
        super().__init__(manager, kind, _NUMBERS)


lanes = Lanes()


@intrinsic
def all16(_typing: Any, number: Any) -> Any:
    """Give sixteen times the same number."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _spread(builder, arguments[0])

    return lanes(types.float64), emit


@intrinsic
def lanes16(_typing: Any) -> Any:
    """Give the numbers from 0 to 15."""

    def emit(_context: Any, _builder: Any, _signature: Any, _arguments: Any) -> Any:
        return ir.Constant(_NUMBERS, [float(n) for n in range(LANES)])

    return lanes(), emit


@intrinsic
def load16(_typing: Any, array: Any, place: Any) -> Any:
    """Give the numbers from `place` on, of any type, as float64."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = signature.args[0]
        values = _load(context, builder, kind, arguments)
        if isinstance(kind.dtype, types.Float):
            return values if values.type == _NUMBERS else builder.fpext(values, _NUMBERS)
        return (builder.sitofp if kind.dtype.signed else builder.uitofp)(values, _NUMBERS)

    return lanes(array, types.int64), emit


@intrinsic
def nonzero16(_typing: Any, array: Any, place: Any) -> Any:
    """Tell which of the integers from `place` on are not zero."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        values = _load(context, builder, signature.args[0], arguments)
        return _word(builder, builder.icmp_unsigned("!=", values, ir.Constant(values.type, None)))

    return types.int64(array, types.int64), emit


@intrinsic
def pick16(_typing: Any, bits: Any, values: Any, others: Any) -> Any:
    """Take values where a bit is set, and others elsewhere."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        bits, values, others = arguments
        return builder.select(builder.bitcast(builder.trunc(bits, _MASK), _BITS), values, others)

    return lanes(types.int64, lanes, lanes), emit


@intrinsic
def add16(_typing: Any, total: Any, values: Any) -> Any:
    """Add values to totals."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.fadd(*arguments)

    return lanes(lanes, lanes), emit


@intrinsic
def add_products16(_typing: Any, total: Any, values: Any, others: Any) -> Any:
    """Add the products of values to totals."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        total, values, others = arguments
        flags = ("contract",)
        return builder.fadd(total, builder.fmul(values, others, flags=flags), flags=flags)

    return lanes(lanes, lanes, lanes), emit


@intrinsic
def above16(_typing: Any, values: Any, limits: Any) -> Any:
    """Tell which values are above their limit."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _word(builder, builder.fcmp_ordered(">", *arguments))

    return types.int64(lanes, lanes), emit


@intrinsic
def larger16(_typing: Any, values: Any, others: Any) -> Any:
    """Give the larger of each two; where a value is NaN, the other."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _larger(builder, *arguments)

    return lanes(lanes, lanes), emit


@intrinsic
def total16(_typing: Any, values: Any) -> Any:
    """Sum up the lanes."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _fold(builder, arguments[0], builder.fadd)

    return types.float64(lanes), emit


@intrinsic
def largest16(_typing: Any, values: Any) -> Any:
    """Give the largest of the lanes, none of which is NaN."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return _fold(builder, arguments[0], lambda one, other: _larger(builder, one, other))

    return types.float64(lanes), emit


@intrinsic
def count_bits(_typing: Any, word: Any) -> Any:
    """Count the bits that are set."""

    def emit(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.int64(types.int64), emit


@intrinsic
def prefetch(_typing: Any, array: Any, place: Any) -> Any:
    """Ask for an element that will be read soon; a place outside of the array does no harm."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = builder.bitcast(_pointer(context, builder, signature.args[0], arguments), _BYTE.as_pointer())
        ask = ir.FunctionType(ir.VoidType(), [pointer.type, _SHORT, _SHORT, _SHORT])
        reads, keeps, is_data = _SHORT(0), _SHORT(3), _SHORT(1)
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", [pointer.type], ask), [pointer, reads, keeps, is_data]
        )
        return context.get_dummy_value()

    return types.void(array, types.int64), emit


def _pointer(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
    data = context.make_array(kind)(context, builder, arguments[0]).data
    return builder.gep(data, [arguments[1]])


def _load(context: Any, builder: Any, kind: Any, arguments: Any) -> Any:
    pointer = _pointer(context, builder, kind, arguments)
    vector = ir.VectorType(pointer.type.pointee, LANES)
    return builder.load(builder.bitcast(pointer, vector.as_pointer()), align=kind.dtype.bitwidth // 8)


def _word(builder: Any, bits: Any) -> Any:
    return builder.zext(builder.bitcast(bits, _MASK), _WORD)


def _spread(builder: Any, number: Any) -> Any:
    first = builder.insert_element(ir.Constant(_NUMBERS, ir.Undefined), number, _SHORT(0))
    return builder.shuffle_vector(first, first, ir.Constant(ir.VectorType(_SHORT, LANES), [0] * LANES))


def _larger(builder: Any, values: Any, others: Any) -> Any:
    return builder.select(builder.fcmp_ordered(">", values, others), values, others)


def _fold(builder: Any, values: Any, join: Any) -> Any:
    """Join the halves until one is left."""
    while (half := values.type.count // 2) > 0:
        index = ir.VectorType(_SHORT, half)
        low, high = ir.Constant(index, list(range(half))), ir.Constant(index, list(range(half, 2 * half)))
        values = join(builder.shuffle_vector(values, values, low), builder.shuffle_vector(values, values, high))
    return builder.extract_element(values, _SHORT(0))
