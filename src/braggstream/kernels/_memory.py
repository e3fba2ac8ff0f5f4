"""Unaligned loads and stores of several bytes at once, which Numba's array indexing cannot express.

None of these checks anything: the kernels that use them do, before each call.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic as _intrinsic

intrinsic: Callable[[Any], Any] = _intrinsic  # Its own type takes the first parameter for one of the caller's.

_WORD = ir.IntType(64)
_BYTE = ir.IntType(8)
_VECTOR = ir.VectorType(_BYTE, 16)


@intrinsic
def load1(_typing: Any, array: Any, place: Any) -> Any:
    """Give one byte; unlike an index, `place` is not looked at whether it counts from the end."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.zext(builder.load(pointer), _WORD)

    return types.int64(array, types.int64), emit


@intrinsic
def load8(_typing: Any, array: Any, place: Any) -> Any:
    """Give the eight bytes from `place` on as one word."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        return builder.load(builder.bitcast(pointer, _WORD.as_pointer()), align=1)

    return types.uint64(array, types.int64), emit


@intrinsic
def store8(_typing: Any, array: Any, place: Any, word: Any) -> Any:
    """Write a word to the eight bytes from `place` on."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(arguments[2], builder.bitcast(pointer, _WORD.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(array, types.int64, types.uint64), emit


@intrinsic
def copy16(_typing: Any, to: Any, place: Any, source: Any, at: Any) -> Any:
    """Copy sixteen bytes."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[2], arguments[2], arguments[3])
        vector = builder.load(builder.bitcast(pointer, _VECTOR.as_pointer()), align=1)
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        builder.store(vector, builder.bitcast(pointer, _VECTOR.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(to, types.int64, source, types.int64), emit


@intrinsic
def copy(_typing: Any, to: Any, place: Any, source: Any, at: Any, n_bytes: Any) -> Any:
    """Copy bytes between arrays, or parts of one, that do not overlap."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        origin = _pointer(context, builder, signature.args[2], arguments[2], arguments[3])
        cgutils.raw_memcpy(builder, pointer, origin, arguments[4], 1)
        return context.get_dummy_value()

    return types.void(to, types.int64, source, types.int64, types.int64), emit


@intrinsic
def fill(_typing: Any, to: Any, place: Any, n_bytes: Any, value: Any) -> Any:
    """Set bytes to one value."""

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        cgutils.memset(builder, pointer, arguments[2], arguments[3])
        return context.get_dummy_value()

    return types.void(to, types.int64, types.int64, types.uint8), emit


@intrinsic
def gather_bits(_typing: Any, planes: Any, at: Any, stride: Any, letters: Any, place: Any) -> Any:
    """Turn eight bytes of each of eight bit planes into 64 bytes: bit m of plane k becomes bit k of byte m.

    The planes lie `stride` apart, from `at` on.  The 8 x 8 bit matrix in each word is transposed by swapping blocks
    of 1, 2 and 4 (Warren, Hacker's Delight, 7-3), for eight words at once.
    """

    def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
        rows = []
        for _ in range(8):
            rows.append(builder.load(builder.bitcast(pointer, ir.VectorType(_BYTE, 8).as_pointer()), align=1))
            pointer = builder.gep(pointer, [arguments[2]])
        while len(rows) > 1:
            size = 2 * rows[0].type.count
            whole = ir.Constant(ir.VectorType(ir.IntType(32), size), list(range(size)))
            pairs = zip(rows[::2], rows[1::2], strict=True)
            rows = [builder.shuffle_vector(first, second, whole) for first, second in pairs]
        order = [8 * plane + word for word in range(8) for plane in range(8)]
        mixed = builder.shuffle_vector(rows[0], rows[0], ir.Constant(ir.VectorType(ir.IntType(32), 64), order))
        words = ir.VectorType(_WORD, 8)
        x = builder.bitcast(mixed, words)
        for shift, mask in ((7, 0x00AA00AA00AA00AA), (14, 0x0000CCCC0000CCCC), (28, 0x00000000F0F0F0F0)):
            by = ir.Constant(words, [shift] * 8)
            t = builder.and_(builder.xor(x, builder.lshr(x, by)), ir.Constant(words, [mask] * 8))
            x = builder.xor(builder.xor(x, t), builder.shl(t, by))
        pointer = _pointer(context, builder, signature.args[3], arguments[3], arguments[4])
        builder.store(x, builder.bitcast(pointer, words.as_pointer()), align=1)
        return context.get_dummy_value()

    return types.void(planes, types.int64, types.int64, letters, types.int64), emit


def _widening(n_bytes: int) -> Any:
    """Make the function for items of so many bytes."""

    @intrinsic
    def widen(_typing: Any, letters: Any, at: Any, out: Any, place: Any, shift: Any, is_first: Any) -> Any:
        """Make eight items of eight bytes, each shifted; the first byte of an item sets it, others are added."""

        def emit(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            items = ir.VectorType(ir.IntType(8 * n_bytes), 8)
            pointer = _pointer(context, builder, signature.args[0], arguments[0], arguments[1])
            narrow = builder.load(builder.bitcast(pointer, ir.VectorType(_BYTE, 8).as_pointer()), align=1)
            pointer = _pointer(context, builder, signature.args[2], arguments[2], arguments[3])
            target = builder.bitcast(pointer, items.as_pointer())
            by = builder.trunc(arguments[4], items.element) if n_bytes < 8 else arguments[4]
            each = ir.Constant(items, ir.Undefined)
            for lane in range(8):
                each = builder.insert_element(each, by, ir.Constant(ir.IntType(32), lane))
            wide = builder.shl(builder.zext(narrow, items), each)
            with builder.if_else(arguments[5]) as (sets, adds):
                with sets:
                    builder.store(wide, target, align=1)
                with adds:
                    builder.store(builder.or_(wide, builder.load(target, align=1)), target, align=1)
            return context.get_dummy_value()

        return types.void(letters, types.int64, out, types.int64, types.int64, types.boolean), emit

    return widen


widen2, widen4, widen8 = _widening(2), _widening(4), _widening(8)


def _pointer(context: Any, builder: Any, kind: Any, array: Any, place: Any) -> Any:
    data = context.make_array(kind)(context, builder, array).data
    return builder.gep(builder.bitcast(data, _BYTE.as_pointer()), [place])
