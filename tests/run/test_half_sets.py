"""Half sets: a crystal's half follows from its name alone, and from nothing that alternates."""

from hashlib import blake2b

from braggstream.model.half_sets import HalfSets, half_of


def test_the_half_is_the_lowest_bit_of_the_digest_that_the_page_states():
    for event in range(50):
        digest = blake2b(f"run.h5\n//{event}\n2".encode(), digest_size=8).digest()
        assert half_of("run.h5", f"//{event}", 2) == int.from_bytes(digest, "little") % 2


def test_halves_are_balanced_and_do_not_follow_what_alternates():
    halves = [half_of("run.h5", f"//{event}", 1) for event in range(10000)]
    assert abs(sum(halves) - 5000) < 250
    assert abs(sum(halves[::2]) - 2500) < 180


def test_a_name_that_is_no_text_has_a_half():
    assert half_of("run\udcff.h5", "//1", 1) in (0, 1)


def test_crystals_of_a_frame_are_counted_wherever_the_blocks_end():
    frames = [("a.h5", "//0", 1), ("a.h5", "//1", 2), ("a.h5", "//1", 2), ("a.h5", "//1", 2), ("a.h5", "//2", 3)]
    expected = [half_of(frame[0], frame[1], n) for frame, n in zip(frames, (1, 1, 2, 3, 1), strict=True)]
    halves = HalfSets()
    assert halves.of(frames[:3]) + halves.of(frames[3:]) == expected
