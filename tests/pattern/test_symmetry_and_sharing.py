"""Patterns from symmetries have the counts of theory; proofs and searches agree with brute force."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation
from sympy.combinatorics import Permutation, PermutationGroup

import weightshare as ws
from weightshare import Pattern
from weightshare.errors import ArgumentError, PatternError
from weightshare.pattern import generators
from weightshare.pattern.proof import find_missing
from weightshare.testing.strategies import layers


def count_orbits(inputs, outputs):
    """Return the number of orbits of pairs by Burnside's lemma, with the group enumerated by sympy."""
    n_in = len(inputs[0])
    both = [Permutation([*g_in, *(n_in + np.asarray(g_out))]) for g_in, g_out in zip(inputs, outputs)]
    fixed = []
    for g in PermutationGroup(both).generate():
        moved = np.array(g.array_form) == np.arange(g.size)
        fixed.append(moved[:n_in].sum() * moved[n_in:].sum())
    return sum(fixed) / len(fixed)


def make_icosahedron():
    """Return the rotations of an icosahedron as permutations of its 12 vertices and of its 20 faces."""
    golden = (1 + 5**0.5) / 2
    vertices = np.array([np.roll((0, a, b * golden), k) for k in range(3) for a in (1, -1) for b in (1, -1)])
    near = np.isclose(np.linalg.norm(vertices[:, None] - vertices, axis=-1), 2)
    faces = [
        f
        for f in itertools.combinations(range(12), 3)
        if all(near[a, b] for a, b in itertools.combinations(f, 2))
    ]
    axes = [(vertices[0], 2 * np.pi / 5), (vertices[list(faces[0])].mean(0), 2 * np.pi / 3)]
    on_vertices, on_faces = [], []
    for axis, angle in axes:
        turned = Rotation.from_rotvec(axis / np.linalg.norm(axis) * angle).apply(vertices)
        g = np.linalg.norm(turned[:, None] - vertices, axis=-1).argmin(1)
        on_vertices.append(g)
        on_faces.append([faces.index(tuple(sorted(g[list(face)]))) for face in faces])
    return on_vertices, on_faces


def points(n):
    return generators.permutations(n)


COUNTS = [
    ("points", points(6), points(6), 2, 1),
    ("pairs", generators.on_pairs(points(4)), generators.on_pairs(points(4)), 15, 2),
    ("pairs of 5", generators.on_pairs(points(5)), generators.on_pairs(points(5)), 15, 2),
    ("pairs of 3", generators.on_pairs(points(3)), generators.on_pairs(points(3)), 14, 2),
    ("cycle", generators.circular_shifts(12), generators.circular_shifts(12), 12, 1),
    ("vertices", make_icosahedron()[0], make_icosahedron()[0], 4, 1),
    ("faces", make_icosahedron()[1], make_icosahedron()[1], 8, 1),
    ("vertices to faces", *make_icosahedron(), 4, 1),
    ("stride", generators.circular_shifts(12, step=2), generators.circular_shifts(6), 12, 1),
    ("set of sequences", *[generators.product(points(3), generators.circular_shifts(5))] * 2, 10, 1),
    ("a sum", points(5), [[0], [0]], 1, 1),
]


@pytest.mark.parametrize(
    ("inputs", "outputs", "weights", "biases"), [c[1:] for c in COUNTS], ids=[c[0] for c in COUNTS]
)
def test_the_number_of_orbits(inputs, outputs, weights, biases):
    pattern = Pattern.from_symmetry(inputs, outputs)
    assert (pattern.n_weights, pattern.n_biases) == (weights, biases)
    assert count_orbits(inputs, outputs) == weights
    assert all(pattern.is_equivariant(g_in, g_out) for g_in, g_out in zip(inputs, outputs))


def test_turns_and_flips_of_a_grid():
    """256 weights for shifts of a 16 x 16 grid, 66 with quarter turns, 45 with flips as well."""
    moves = generators.circular_shifts((16, 16))
    assert Pattern.from_symmetry(moves, moves).n_weights == 256
    moves += generators.quarter_turns((16, 16))
    assert Pattern.from_symmetry(moves, moves).n_weights == 66
    moves += generators.flips((16, 16), axes=0)
    assert Pattern.from_symmetry(moves, moves).n_weights == 45


@pytest.mark.parametrize("size", [(3, 5), (5, 5), (1, 3)])
def test_shift_equivariant_maps_are_circular_convolutions_with_a_kernel_of_the_image_size(size):
    shifts = generators.circular_shifts(size)
    pad = tuple(n // 2 for n in size)
    layer = torch.nn.Conv2d(1, 1, size, padding=pad, padding_mode="circular")
    found = Pattern.from_symmetry(shifts, shifts, in_shape=(1, *size), out_shape=(1, *size))
    assert found == Pattern.of(layer, size)


def test_the_orbits_of_a_support():
    shifts = generators.circular_shifts((6, 6))
    grid = {"in_shape": (1, 6, 6), "out_shape": (1, 6, 6)}
    support = [(7, i) for i in (0, 1, 2, 6, 7, 8, 12, 13, 14)]
    layer = torch.nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular")
    assert Pattern.from_symmetry(shifts, shifts, support=support, **grid) == Pattern.of(layer, 6)
    everything = Pattern.from_symmetry(shifts, shifts, support=[(0, i) for i in range(36)], **grid)
    assert everything == Pattern.from_symmetry(shifts, shifts, **grid)


@st.composite
def groups(draw):
    """Draw random generators on small sets of inputs and outputs."""
    n_in, n_out, count = draw(st.integers(1, 6)), draw(st.integers(1, 6)), draw(st.integers(1, 3))
    inputs = [draw(st.permutations(range(n_in))) for _ in range(count)]
    return inputs, [draw(st.permutations(range(n_out))) for _ in range(count)]


@settings(max_examples=60, deadline=None)
@given(groups())
def test_every_equivariant_map_has_the_pattern(group):
    """The number of weights is the dimension of the space of commuting matrices."""
    inputs, outputs = group
    pattern = Pattern.from_symmetry(inputs, outputs)
    rows = []
    for g_in, g_out in zip(inputs, outputs):
        p_in, p_out = np.eye(len(g_in))[g_in].T, np.eye(len(g_out))[g_out].T
        rows.append(np.kron(p_out, np.eye(len(g_in))) - np.kron(np.eye(len(g_out)), p_in.T))
    constraints = np.concatenate(rows)
    dimension = constraints.shape[1] - np.linalg.matrix_rank(constraints)
    assert pattern.n_weights == dimension
    layer = ws.nn.SharedLinear(pattern, dtype=torch.float64)
    x = torch.randn(2, pattern.n_in, dtype=torch.float64)
    for g_in, g_out in zip(inputs, outputs):
        moved, expected = torch.empty_like(x), torch.empty(2, pattern.n_out, dtype=torch.float64)
        moved[:, g_in], expected[:, g_out] = x, layer(x)
        torch.testing.assert_close(layer(moved), expected, rtol=0, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(layers(), st.data())
def test_proofs_agree_with_matrices_of_integers(layer, data):
    pattern = Pattern.of(layer)
    near = [np.arange(pattern.n_in), np.arange(pattern.n_out)]
    pair = [
        data.draw(st.permutations(range(n)) if n < 8 else st.just(near[k]))
        for k, n in enumerate((pattern.n_in, pattern.n_out))
    ]
    if data.draw(st.booleans()):
        steps = tuple(data.draw(st.integers(0, n - 1)) for n in pattern.in_shape[1:])
        pair = [_roll(pattern.in_shape, steps), _roll(pattern.out_shape, steps)]
    weights = np.random.default_rng(0).integers(1, 2**30, pattern.n_weights)
    matrix = np.zeros((pattern.n_out, pattern.n_in), dtype=np.int64)
    np.add.at(matrix, (pattern.edges[:, 0], pattern.edges[:, 1]), weights[pattern.edges[:, 2]])
    moved = matrix[np.ix_(np.asarray(pair[1]), np.asarray(pair[0]))]
    biases = pattern.bias is None or (pattern.bias[np.asarray(pair[1])] == pattern.bias).all()
    proof = pattern.is_equivariant(*pair)
    assert proof.holds == bool((moved == matrix).all() and biases)
    assert proof.holds == (proof.witness is None)
    assert bool(proof) == (proof.holds and not pattern.note)
    if proof.witness is not None and proof.witness.input is not None:
        w = proof.witness
        assert [w.output, w.input, w.weight] in pattern.edges.tolist()
        assert w.image == (pair[1][w.output], pair[0][w.input])
        assert matrix[w.image] != matrix[w.output, w.input]


def test_the_witness_of_a_weight_that_is_used_fewer_times():
    pattern = Pattern([(0, 0, 0), (0, 0, 0), (1, 1, 0)], 2, 2)
    proof = pattern.is_equivariant([1, 0], [1, 0])
    text = "output 0 uses weight 0 on input 0; its image, output 1, uses weight 0 on input 1 fewer times"
    assert str(proof.witness) == text


def test_failures_are_found_in_any_block(monkeypatch):
    monkeypatch.setattr("weightshare.pattern.proof._BLOCK_SIZE", 5)
    layer = torch.nn.Conv1d(2, 2, 3, padding=1, bias=False)
    moves = generators.with_channels(generators.circular_shifts(9), 2)[0]
    assert Pattern.of(layer, 9, padding_mode="circular").is_equivariant(moves, moves)
    witness = Pattern.of(layer, 9).is_equivariant(moves, moves).witness
    assert (witness.output, witness.input, witness.image, witness.image_weight) == (7, 8, (8, 0), None)
    gap = Pattern([(o, i, 0) for o in range(9) for i in range(9) if (o, i) != (4, 4)], 9, 9)
    shift = generators.circular_shifts(9)[0]
    assert gap.is_equivariant(shift, shift).witness.image == (4, 4)


def test_a_failure_is_searched_for_in_its_block_only(monkeypatch):
    searched = []
    monkeypatch.setattr(
        "weightshare.pattern.proof.find_missing", lambda *a: searched.append(len(a[0])) or find_missing(*a)
    )
    pattern = Pattern.of(torch.nn.Conv2d(8, 16, 3, padding=1), 32)
    moves = [generators.with_channels(generators.circular_shifts((32, 32)), c)[0] for c in (8, 16)]
    assert not pattern.is_equivariant(*moves)
    assert sum(searched) < len(pattern.edges) / 3


def _roll(shape, steps):
    numbers = np.arange(int(np.prod(shape))).reshape(shape)
    places = np.roll(numbers, [-s for s in steps], range(1, len(shape)))
    return places.ravel()


def test_a_bias_that_is_not_shared_is_a_witness():
    layer = ws.nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", bias_sharing=ws.Local(), input_size=4)
    (shift,) = generators.circular_shifts(4)
    proof = Pattern.of(layer).is_equivariant(shift, shift)
    assert not proof
    assert str(proof) == "not equivariant: output 0 has bias 0; its image, output 1, has bias 1"
    assert Pattern.of(layer).symmetries().order == 1


LADDER = [(1, 3, 12, 12), (2, 6, 6, 1), (3, 9, 4, 1), (4, 12, 3, 1), (6, 18, 2, 1), (12, 36, 1, 1)]


@pytest.mark.parametrize(("parts", "weights", "periodic", "regional"), LADDER)
def test_tiled_sharing_is_equivariant_to_a_subgroup_and_regional_sharing_to_none(
    parts, weights, periodic, regional
):
    """Both have the same number of weights, but different symmetries."""
    for sharing, order in ((ws.Tiled(parts), periodic), (ws.Regional(parts), regional)):
        layer = ws.nn.Conv1d(1, 1, 3, padding=1, padding_mode="circular", sharing=sharing, input_size=12)
        pattern = Pattern.of(layer)
        assert (pattern.n_weights, pattern.symmetries().order) == (weights, order)


def count_by_brute_force(pattern):
    """Return the number of different maps that preserve a pattern, by trying all of them."""
    (_, *size), (_, *out_size) = pattern.in_shape, pattern.out_shape
    found, matrix = set(), {}
    for o, i, w in pattern.edges.tolist():
        matrix.setdefault((o, i), []).append(w)
    for axes in itertools.permutations(range(len(size))):
        if any(s[a] != s[k] for s in (size, out_size) for k, a in enumerate(axes)):
            continue
        for signs in itertools.product((1, -1), repeat=len(size)):
            for a in itertools.product(*map(range, size)):
                for b in itertools.product(*map(range, out_size)):
                    g_in = _turn(pattern.in_shape, axes, signs, a)
                    g_out = _turn(pattern.out_shape, axes, signs, b)
                    fits = all(matrix.get((g_out[o], g_in[i])) == w for (o, i), w in matrix.items())
                    bias = pattern.bias
                    if fits and (bias is None or all(bias[g_out[o]] == bias[o] for o in range(len(bias)))):
                        found.add((*g_in.values(), *g_out.values()))
    return len(found)


def _turn(shape, axes, signs, steps):
    channels, *size = shape
    places = {}
    for number, (c, *p) in enumerate(itertools.product(range(channels), *map(range, size))):
        q = [p[a] if s > 0 else size[a] - 1 - p[a] for a, s in zip(axes, signs)]
        q = [(x + d) % n for x, d, n in zip(q, steps, size)]
        places[number] = int(np.ravel_multi_index((c, *q), shape))
    return places


def make_symmetric(support):
    """Return a pattern that is also equivariant to flips and turns."""
    moves = generators.circular_shifts((3, 3)) + generators.quarter_turns((3, 3))
    return Pattern.from_symmetry(moves, moves, support=support, in_shape=(1, 3, 3), out_shape=(1, 3, 3))


GRIDS = [
    Pattern.of(torch.nn.Conv1d(2, 1, 3, padding=1, padding_mode="circular"), 5),
    Pattern.of(torch.nn.Conv1d(1, 1, 4, stride=2, padding=1, padding_mode="circular"), 6),
    Pattern.of(torch.nn.Conv1d(1, 1, 3), 6),
    Pattern([(o, 2 * o + k, 0) for o in range(3) for k in (0, 1)], 3, 6),
    Pattern.of(
        ws.nn.Conv2d(1, 1, 3, padding=1, padding_mode="circular", sharing=ws.Tiled((2, 1)), input_size=(4, 3))
    ),
    Pattern.of(ws.nn.Conv2d(1, 1, 1, sharing=ws.Mapped([[0, 1, 2], [2, 0, 1], [1, 2, 0]]), input_size=3)),
    Pattern.of(ws.nn.Conv2d(1, 1, 1, sharing=ws.SharedAlong(0), input_size=(2, 3), bias_sharing=ws.Full())),
    Pattern([(o, i, 0) for o in range(4) for i in range(4)], (1, 2, 2), (1, 2, 2)),
    Pattern([(0, 0, 0)], (1, 1, 1), (1, 1, 1)),
    Pattern([(0, 0, 0), (1, 1, 0)], 2, 2),
    Pattern([(o, o, 0) for o in range(4)], (1, 2, 2), (1, 2, 2)),
    Pattern([(o, i, 0) for o in range(4) for i in range(2)], (1, 4), (1, 2)),
    Pattern([(o, i, 0) for o in range(3) for i in range(3)], (1, 1, 3, 1), (1, 1, 3, 1)),
    Pattern([(o, i, 0) for o in range(4) for i in range(4)], (1, 1, 4), (1, 2, 2)),
    Pattern([(0, 1, 0), (2, 3, 0)], (4,), (4,)),
    make_symmetric([(0, 0)]),
    make_symmetric([(0, 0), (0, 1)]),
    make_symmetric([(0, 0), (0, 1), (0, 4)]),
]


@pytest.mark.parametrize(
    ("size", "order"), [((1, 1, 8), 8), ((1, 1, 8, 1), 8), ((1, 2, 2), 8), ((1, 2), 2), ((1, 1, 1), 1)]
)
def test_maps_that_move_all_elements_alike_count_once(size, order):
    """A grid of 2 x 2 also has a transposition."""
    n = int(np.prod(size))
    moves = generators.circular_shifts(size[1:])
    pattern = Pattern.from_symmetry(moves, moves, in_shape=size, out_shape=size)
    if size == (1, 2, 2):
        pattern = Pattern([(o, o, 0) for o in range(n)], size, size)
    found = pattern.symmetries()
    assert found.order == count_by_brute_force(pattern) == order
    assert Pattern([(0, 0, 0)], (4,), (4,)).symmetries().order == 1


@pytest.mark.parametrize("pattern", GRIDS, ids=repr)
def test_the_search_agrees_with_count_by_brute_force(pattern):
    assert pattern.symmetries().order == count_by_brute_force(pattern)


def test_symmetries_as_text():
    found = make_symmetric([(0, 0), (0, 1)]).symmetries()
    assert found.n_shifts == 9
    assert set(found.points) >= {"quarter turn", "flip of axis 0", "half turn", "transposition"}
    assert str(found).endswith("order 72")
    local = Pattern.of(ws.nn.LocallyConnected1d(1, 1, 3, input_size=6))
    assert str(local.symmetries()) == "equivariant to no circular shift, flip or turn: order 1"
    tiled = ws.nn.Conv1d(1, 1, 1, sharing=ws.Tiled(2), input_size=6)
    assert (
        str(Pattern.of(tiled).symmetries()) == "3 circular shifts, generated by (2,); flip of axis 0: order 6"
    )
    with pytest.raises(PatternError, match="the same number of spatial axes, got 1 and 2"):
        Pattern([(0, 0, 0)], (1, 2, 2), 4).symmetries()
    with pytest.raises(PatternError, match="the pattern must have at least one connection, got none"):
        Pattern([], 4, 4).symmetries()


def test_invalid_arguments_are_refused():
    shift = [1, 2, 0]
    with pytest.raises(ArgumentError, match=r"in_generators\[0\] must be a permutation.*got \[0, 0, 1\]"):
        Pattern.from_symmetry([[0, 0, 1]], [shift])
    with pytest.raises(ArgumentError, match=r"in_generators\[1\] must permute 3 elements, got 4"):
        Pattern.from_symmetry([shift, [0, 1, 2, 3]], [shift, shift])
    with pytest.raises(
        ArgumentError, match="out_generators must have as many permutations as in_generators, 1, got 2"
    ):
        Pattern.from_symmetry([shift], [shift, shift])
    with pytest.raises(ArgumentError, match="in_generators must be a list of at least one permutation"):
        Pattern.from_symmetry([], [])
    with pytest.raises(
        PatternError, match=r"in_shape must be \(channels, \*spatial\) with 3 elements, got \(1, 2, 2\)"
    ):
        Pattern.from_symmetry([shift], [shift], in_shape=(1, 2, 2))
    with pytest.raises(PatternError, match=r"support must list pairs \(output below 3, input below 3\)"):
        Pattern.from_symmetry([shift], [shift], support=[(0, 3)])
    pattern = Pattern.from_symmetry([shift], [shift])
    with pytest.raises(ArgumentError, match=r"g_in must permute 3 elements, got 4"):
        pattern.is_equivariant([0, 1, 2, 3], shift)
    with pytest.raises(ArgumentError, match=r"g_out must be a permutation"):
        pattern.is_equivariant(shift, [0.5, 1, 2])
    with pytest.raises(ArgumentError, match=r"both axes must have the same size, got \(2, 3\)"):
        generators.quarter_turns((2, 3))
