"""The recurrent layers against torch's own, one row at a time."""

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from textclf import engine
from textclf.errors import ConfigError, DataError
from textclf.native import layers, library
from textclf.native.build import Isa, build, usable_isas
from textclf.native.library import Library, isa_in_use
from textclf.recurrent import (
    Engine,
    Precision,
    RaggedBatch,
    bigru,
    bilstm,
    embed,
    embed_bilstm,
    engine_fingerprint,
    engine_name,
    native_problem,
    pack,
    pool_states,
    set_engine,
    unpack,
)

ENGINES: tuple[Engine, ...] = ("native", "torch")
N_WORDS = 40

# lengths of the rows, width of the input, hidden size: shortest, one row, all equal, sizes around the vector width,
# more rows than a block has, lengths that fall one by one
CASES = {
    "one token": ([1], 3, 1),
    "all of one token": ([1] * 5, 4, 16),
    "one row": ([9], 7, 17),
    "equal rows": ([6] * 30, 33, 8),
    "falling rows": (list(range(1, 61)), 10, 20),
    "wide": ([1, 30, 2, 2, 11], 5, 64),
}


@pytest.fixture(autouse=True)
def _restore_engine() -> Iterator[None]:
    yield
    set_engine(None)


@pytest.fixture(params=ENGINES)
def each_engine(request: pytest.FixtureRequest) -> Engine:
    """Run a test once per engine."""
    set_engine(request.param)
    return request.param


class Problem:
    """A batch of random rows with a network to run over them."""

    def __init__(self, lengths: list[int], n_inputs: int, hidden: int, *, dtype: torch.dtype = torch.float64) -> None:
        rng = np.random.default_rng(len(lengths) + hidden)
        self.starts = np.concatenate(([0], np.cumsum(lengths)))
        self.tokens = rng.integers(0, N_WORDS, self.starts[-1]).astype(np.int32)
        self.caps = rng.integers(0, 2, self.starts[-1]).astype(np.uint8)
        self.rows = rng.permutation(len(lengths))
        torch.manual_seed(hidden)
        self.table = torch.randn(N_WORDS, n_inputs, dtype=dtype)
        self.mask = (torch.rand(len(lengths), n_inputs) > 0.3).to(dtype) / 0.7
        self.lstm = nn.LSTM(n_inputs, hidden, bidirectional=True, dtype=dtype)
        self.gru = nn.GRU(2 * hidden, hidden, bidirectional=True, dtype=dtype)
        self.weight = torch.randn(len(lengths), 6 * hidden, dtype=dtype)

    def batch(self) -> RaggedBatch:
        """All rows, in another order."""
        return pack(self.tokens, self.starts, self.rows, caps=self.caps)

    def parameters(self) -> list[Tensor]:
        """Whatever is learned."""
        learnt = [self.table] if self.table.requires_grad else []
        return [*self.lstm.parameters(), *self.gru.parameters(), *learnt]

    def row_by_row(self) -> Tensor:
        """What the network is: every row through torch's layers, alone and unpadded."""
        features = []
        for place, row in enumerate(self.rows):
            ids = torch.from_numpy(self.tokens[self.starts[row] : self.starts[row + 1]]).long()
            h = self.gru(self.lstm(self.table[ids] * self.mask[place])[0])[0]
            hidden = self.gru.hidden_size
            features.append(torch.cat((h[-1, :hidden], h[0, hidden:], h.mean(0), h.max(0).values)))
        return torch.stack(features)

    def packed(self, precision: Precision = "fp32") -> Tensor:
        """The same by the functions under test."""
        batch = self.batch()
        h = embed_bilstm(batch, self.table, self.mask, self.lstm, precision=precision)
        return pool_states(batch, bigru(batch, h, self.gru, precision=precision))

    def output_and_gradients(self, run: Callable[[], Tensor]) -> list[Tensor]:
        """Features, and the gradient of their weighted sum for each parameter."""
        for parameter in self.parameters():
            parameter.grad = None
        features = run()
        (features * self.weight).sum().backward()  # type: ignore[no-untyped-call]
        return [features.detach(), *(p.grad.clone() for p in self.parameters() if p.grad is not None)]


def largest_error(found: list[Tensor], expected: list[Tensor]) -> float:
    """Largest norm of a difference, relative to the norm of what was expected."""
    pairs = zip(found, expected, strict=True)
    return max(float((a - b).norm() / b.norm().clamp(min=1e-30)) for a, b in pairs)


def test_a_batch_lies_step_by_step_with_the_longest_row_first() -> None:
    """Three rows by hand: tokens of equal step side by side, equal lengths in the caller's order."""
    tokens, starts = np.array([10, 11, 20, 30, 31, 32], dtype=np.int32), np.array([0, 2, 3, 6])
    batch = pack(tokens, starts, np.array([1, 2, 0, 1]), caps=np.arange(6, dtype=np.uint8))

    assert batch.token_ids.tolist() == [30, 10, 20, 20, 31, 11, 32]
    assert batch.row_of_token.tolist() == [1, 2, 0, 3, 1, 2, 1]
    assert batch.step_of_token.tolist() == [0, 0, 0, 0, 1, 1, 2]
    assert batch.alive.tolist() == [4, 2, 1]
    assert batch.lengths.tolist() == [1, 3, 2, 1]
    assert batch.first_token.tolist() == [2, 0, 1, 3]
    assert batch.last_token.tolist() == [2, 6, 5, 3]
    assert batch.caps is not None
    assert batch.caps.tolist() == [3, 0, 2, 2, 4, 1, 5]
    assert (batch.n_rows, batch.n_packed, batch.longest) == (4, 7, 3)


def test_tensors_and_arrays_make_the_same_batch() -> None:
    """A token table may be a tensor, as it is on a GPU."""
    problem = Problem([3, 1, 2], 4, 2)
    from_tensor = pack(torch.from_numpy(problem.tokens), problem.starts, problem.rows)

    assert torch.equal(from_tensor.token_ids, problem.batch().token_ids)


@pytest.mark.parametrize(("rows", "message"), [([], "at least one row"), ([0, 1], "row 1 has no token")])
def test_a_batch_without_rows_or_tokens_is_refused(rows: list[int], message: str) -> None:
    """There is no state to pool."""
    with pytest.raises(DataError, match=message):
        pack(np.zeros(3, dtype=np.int32), np.array([0, 3, 3]), np.array(rows, dtype=np.int64))


def test_unpacking_restores_every_row_and_pads_with_zeros() -> None:
    """Row i of the padded table is row i of the caller."""
    problem = Problem([2, 5, 1, 5], 4, 2)
    batch = problem.batch()
    padded, mask = unpack(batch, problem.table[batch.token_ids])

    for place, row in enumerate(problem.rows):
        ids = torch.from_numpy(problem.tokens[problem.starts[row] : problem.starts[row + 1]]).long()
        assert torch.equal(padded[place, : len(ids)], problem.table[ids])
        assert (padded[place, len(ids) :] == 0).all()
        assert mask[place].tolist() == [step < len(ids) for step in range(5)]


@pytest.mark.parametrize("learnt", [False, True])
def test_an_embedding_is_the_word_vector_with_its_rows_channels_dropped(each_engine: Engine, *, learnt: bool) -> None:
    """The flag of capitals is one more channel, dropped like the others."""
    problem = Problem([3, 1, 4], 5, 2, dtype=torch.float32)
    problem.table.requires_grad_(learnt)
    batch, mask = problem.batch(), torch.tensor([[1.25, 0, 1, 1, 0, 0], [0, 1, 1, 1, 1, 1], [1, 1, 1, 1, 1, 3]])
    assert batch.caps is not None
    words, flags = problem.table[batch.token_ids], batch.caps[:, None].float()

    assert torch.equal(embed(batch, problem.table), words)
    assert torch.equal(embed(batch, problem.table, mask[:, :5]), words * mask[batch.row_of_token, :5])
    with_flag = embed(batch, problem.table, mask, caps_flag=True)
    assert torch.equal(with_flag, torch.cat((words, flags), 1) * mask[batch.row_of_token])
    assert with_flag.requires_grad == learnt


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("case", CASES)
def test_layers_agree_with_torchs_row_by_row(each_engine: Engine, case: str, *, learnt: bool) -> None:
    """Features and all gradients, in float64 to its last digits and in float32 to 1e-5."""
    for dtype, tolerance in ((torch.float64, 1e-13), (torch.float32, 1e-5)):
        problem = Problem(*CASES[case], dtype=dtype)
        problem.table.requires_grad_(learnt)
        expected = problem.output_and_gradients(problem.row_by_row)

        assert largest_error(problem.output_and_gradients(problem.packed), expected) < tolerance


@pytest.mark.parametrize(
    ("dtype", "precision", "tolerance"),
    [(torch.float64, "fp32", 1e-13), (torch.float32, "fp32", 1e-5), (torch.float32, "bf16", 0.01)],
)
@pytest.mark.parametrize("share", [None, 0.0, 0.4])
@pytest.mark.parametrize("caps_flag", [False, True])
def test_projecting_distinct_words_changes_nothing(
    monkeypatch: pytest.MonkeyPatch,
    dtype: torch.dtype,
    precision: Precision,
    tolerance: float,
    *,
    share: float | None,
    caps_flag: bool,
) -> None:
    """A layer over embeddings is the same whether words are projected once, token by token, or by torch in float32."""
    problem = Problem([*range(1, 31), 1, 1, 7], 9, 12, dtype=dtype)
    batch, width = problem.batch(), 9 + caps_flag
    mask = None if share is None else (torch.rand(batch.n_rows, width, dtype=dtype) >= share) / (1 - share)
    weight = torch.randn(batch.n_packed, 24, dtype=dtype)
    lstm = nn.LSTM(width, 12, bidirectional=True, dtype=dtype)
    found = []
    ways: list[tuple[Engine, float]] = [("torch", 0.0), ("native", 0.0), ("native", 9.0)]
    for name, limit in ways:
        set_engine(name)
        monkeypatch.setattr(layers, "WORDS_PAY_BELOW", dict.fromkeys(layers.WORDS_PAY_BELOW, limit))
        lstm.zero_grad()
        h = embed_bilstm(
            batch, problem.table, mask, lstm, caps_flag=caps_flag, precision="fp32" if name == "torch" else precision
        ).to(dtype)
        (h * weight).sum().backward()  # type: ignore[no-untyped-call]
        found.append([h.detach(), *(p.grad.clone() for p in lstm.parameters() if p.grad is not None)])

    assert largest_error(found[1], found[0]) < tolerance
    assert largest_error(found[2], found[0]) < tolerance
    # the two ways do differ, in the last digits
    assert not all(torch.equal(a, b) for a, b in zip(found[1], found[2], strict=True))


def test_a_mask_that_is_no_dropout_is_applied_token_by_token() -> None:
    """Any weights of channels are honoured, not only zeros and one other value."""
    problem = Problem([3] * 20, 6, 4)
    set_engine("native")
    batch, mask = problem.batch(), torch.rand(20, 6, dtype=torch.float64)
    expected = bilstm(batch, embed(batch, problem.table, mask), problem.lstm)

    torch.testing.assert_close(embed_bilstm(batch, problem.table, mask, problem.lstm), expected, rtol=0, atol=1e-14)


@pytest.mark.parametrize("cell", ["lstm", "gru"])
def test_gradients_are_slopes(each_engine: Engine, cell: str) -> None:
    """Finite differences in float64 know nothing of either implementation."""
    problem = Problem([1, 3, 2], 3, 2)
    batch, x = problem.batch(), torch.randn(6, 3, dtype=torch.float64, requires_grad=True)
    layer = nn.GRU(3, 2, bidirectional=True, dtype=torch.float64) if cell == "gru" else problem.lstm
    run = bigru if isinstance(layer, nn.GRU) else bilstm

    assert torch.autograd.gradcheck(lambda *_: pool_states(batch, run(batch, x, layer)), (x, *layer.parameters()))  # type: ignore[arg-type]


@pytest.mark.parametrize("isa", usable_isas())
def test_each_instruction_set_agrees_with_torch(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever this processor can run computes the same network."""
    monkeypatch.setenv("TEXTCLF_ISA", isa)
    set_engine("native")
    problem = Problem([5, 1, 7, 2] * 8, 11, 19, dtype=torch.float32)
    expected = problem.output_and_gradients(problem.row_by_row)

    assert isa_in_use() == isa
    assert largest_error(problem.output_and_gradients(problem.packed), expected) < 1e-5


@pytest.mark.parametrize("isa", [usable_isas()[0], usable_isas()[-1]])
def test_bfloat16_is_near_and_leaves_float32_gradients(isa: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rounding to 8 bits moves features and gradients by half a percent, with and without the processor's help."""
    monkeypatch.setenv("TEXTCLF_ISA", isa)
    set_engine("native")
    problem = Problem([5, 1, 7, 2] * 8, 11, 19, dtype=torch.float32)
    problem.weight[:, 4 * 19 :] = 0  # the gradient of a maximum jumps to another token where two are near
    expected = problem.output_and_gradients(problem.row_by_row)
    found = problem.output_and_gradients(lambda: problem.packed("bf16"))

    assert {tensor.dtype for tensor in found} == {torch.float32}
    assert 1e-5 < largest_error(found, expected) < 0.01


def test_bfloat16_works_without_the_native_engine() -> None:
    """Torch projects the input in bfloat16 then."""
    set_engine("torch")
    problem = Problem(*CASES["falling rows"], dtype=torch.float32)
    expected = problem.output_and_gradients(problem.row_by_row)
    found = problem.output_and_gradients(lambda: problem.packed("bf16"))

    assert 1e-5 < largest_error(found, expected) < 0.15


def test_a_row_does_not_feel_its_neighbours(each_engine: Engine) -> None:
    """Alone, among longer rows or in another order, a row has the same features."""
    problem = Problem([4, 30, 1, 12] * 9, 6, 10)
    together = problem.packed()
    for place in (0, 7, 35):
        alone = Problem([4, 30, 1, 12] * 9, 6, 10)
        alone.rows, alone.mask = problem.rows[place : place + 1], problem.mask[place : place + 1]

        torch.testing.assert_close(alone.packed()[0], together[place], rtol=0, atol=1e-14)


@pytest.mark.parametrize("learnt", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_native_engine_repeats_itself_bit_by_bit_with_any_number_of_threads(
    precision: Precision, *, learnt: bool
) -> None:
    """Blocks of rows are fixed and sums are ordered, so threads decide nothing."""
    set_engine("native")
    problem = Problem([*range(1, 41), *([9] * 60)], 30, 24, dtype=torch.float32)
    problem.table.requires_grad_(learnt)
    if not learnt:
        problem.mask = torch.ones_like(problem.mask)  # words are projected once in either precision
    threads, runs = torch.get_num_threads(), []
    try:
        for n_threads in (1, 2, 3, 1):
            torch.set_num_threads(n_threads)
            runs.append(problem.output_and_gradients(lambda: problem.packed(precision)))
    finally:
        torch.set_num_threads(threads)

    for run in runs[1:]:
        assert all(torch.equal(a, b) for a, b in zip(runs[0], run, strict=True))


def test_no_gradient_is_kept_where_none_is_wanted(each_engine: Engine) -> None:
    """Inference gives the same features, without a graph."""
    problem = Problem([3, 1, 2], 4, 5)
    with torch.inference_mode():
        features = problem.packed()

    assert not features.requires_grad
    assert torch.equal(features, problem.packed().detach())


def test_a_layer_of_another_shape_is_refused() -> None:
    """Two layers, one direction or no biases are not what the engines run."""
    problem = Problem([3, 1], 4, 5, dtype=torch.float32)
    batch = problem.batch()
    for layer in (nn.LSTM(4, 5), nn.LSTM(4, 5, 2, bidirectional=True), nn.LSTM(4, 5, bias=False, bidirectional=True)):
        with pytest.raises(ValueError, match="not a bidirectional layer"):
            bilstm(batch, embed(batch, problem.table), layer)
        with pytest.raises(ValueError, match="not a bidirectional layer"):
            embed_bilstm(batch, problem.table, None, layer)


def test_sizes_that_do_not_fit_are_refused(each_engine: Engine) -> None:
    """The native engine reads memory by size, so nothing of a wrong size may reach it."""
    problem = Problem([3, 1], 4, 5, dtype=torch.float32)
    batch = problem.batch()
    x = embed(batch, problem.table)
    with pytest.raises(IndexError):
        embed(batch, problem.table[:2])
    with pytest.raises((ValueError, RuntimeError)):
        embed(batch, problem.table, torch.ones(2, 3))
    with pytest.raises((ValueError, RuntimeError)):
        embed_bilstm(batch, problem.table.half(), None, problem.lstm)
    with pytest.raises(ValueError, match="not one row for each of 4 tokens"):
        bilstm(batch, x[:3], problem.lstm)
    with pytest.raises((ValueError, RuntimeError)):
        bilstm(batch, x[:, :3], problem.lstm)
    with pytest.raises((ValueError, RuntimeError)):
        bilstm(batch, x, problem.lstm.double())
    with pytest.raises(ValueError, match="not one row for each of 4 tokens"):
        pool_states(batch, torch.zeros(3, 10))


def test_the_environment_chooses_engine_and_instruction_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """The fingerprint tells engines and instruction sets apart, and misspelt names are refused."""
    fingerprints = set()
    for isa in usable_isas():
        monkeypatch.setenv("TEXTCLF_ISA", isa)
        fingerprints.add(engine_fingerprint())
    monkeypatch.setenv("CXX", "c++ -O1")  # which rounds sums elsewhere
    fingerprints.add(engine_fingerprint())
    monkeypatch.setenv("TEXTCLF_ENGINE", "torch")
    assert engine_name() == "torch"
    fingerprints.add(engine_fingerprint())
    assert len(fingerprints) == len(usable_isas()) + 2

    monkeypatch.setenv("TEXTCLF_ENGINE", "cuda")
    with pytest.raises(ConfigError, match="TEXTCLF_ENGINE: 'cuda' is not one of native, torch"):
        engine_name()
    monkeypatch.setenv("TEXTCLF_ISA", "avx1024")
    with pytest.raises(ConfigError, match="TEXTCLF_ISA: 'avx1024' does not run here"):
        isa_in_use()


@pytest.mark.parametrize(("isa", "said"), [("plain", 1), ("avx2", 1), ("avx512", 1), ("avx512bf16", 0)])
def test_bfloat16_is_said_to_be_slow_where_the_processor_has_no_instructions_for_it(
    isa: Isa, said: int, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """One line; float32 says nothing anywhere."""
    monkeypatch.setattr(library, "Library", lambda *_: None)
    for storage in ("fp32", "bf16"):
        library.open_library.__wrapped__(storage, isa)

    assert ["fp32 is faster" in record.getMessage() for record in caplog.records] == [True] * said


FEATURES_IN_A_FRESH_PROCESS = """
import logging, sys, torch
from textclf.recurrent import engine_fingerprint, engine_name
from tests.textclf.test_recurrent import CASES, Problem

problem = Problem(*CASES["falling rows"], dtype=torch.float32)
features = [problem.packed().detach() for _ in range(2)][0]
torch.save({"lstm": problem.lstm.state_dict(), "gru": problem.gru.state_dict()}, sys.argv[1] + "/model.pt")
torch.save(features, sys.argv[1] + "/features.pt")
print(engine_name())
"""


def run_fresh(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the network of a test in a process of its own, its build cache in the folder."""
    folder.mkdir()
    settings = {**os.environ, "TEXTCLF_CACHE": str(folder), **environment}
    command = [sys.executable, "-c", FEATURES_IN_A_FRESH_PROCESS, str(folder)]
    return subprocess.run(command, capture_output=True, text=True, env=settings, check=False)


def test_without_a_compiler_torch_takes_over_and_says_so_once(tmp_path: Path) -> None:
    """One plain line, the same model file, the same features to 1e-5."""
    done = run_fresh(tmp_path / "bare", PATH="/nonexistent", CXX="")
    problem = Problem(*CASES["falling rows"], dtype=torch.float32)
    torch.save({"lstm": problem.lstm.state_dict(), "gru": problem.gru.state_dict()}, tmp_path / "model.pt")
    set_engine("native")

    assert done.returncode == 0, done.stderr
    assert done.stdout == "torch\n"
    assert done.stderr.count("no C++ compiler was found") == 1
    assert (tmp_path / "bare" / "model.pt").read_bytes() == (tmp_path / "model.pt").read_bytes()
    features = torch.load(tmp_path / "bare" / "features.pt")
    assert largest_error([features], [problem.packed().detach()]) < 1e-5


def test_the_native_engine_is_refused_with_the_reason_where_it_cannot_be_built(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A compiler that fails, one that is not there, and a cache folder that is a file are told apart."""
    broken = tmp_path / "broken-compiler"
    broken.write_text("#!/bin/sh\necho 'fatal error: out of luck' >&2\nexit 1\n")
    broken.chmod(0o755)
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    for settings, reason in (
        ({"CXX": str(broken), "TEXTCLF_CACHE": str(tmp_path)}, "broken-compiler failed: fatal error: out of luck"),
        ({"CXX": "nowhere-c++ -O3"}, "CXX names the C\\+\\+ compiler 'nowhere-c\\+\\+', and it was not found"),
        ({"TEXTCLF_CACHE": str(not_a_folder)}, "the cache folder cannot be written"),
    ):
        with monkeypatch.context() as patch:
            for name, value in settings.items():
                patch.setenv(name, value)
            patch.setattr(engine, "isa_in_use", lambda: usable_isas()[-1])
            patch.setattr(engine, "open_library", Library)  # which remembers nothing
            native_problem.cache_clear()
            try:
                with pytest.raises(ConfigError, match=reason):
                    set_engine("native")
            finally:
                native_problem.cache_clear()


def test_a_compiler_without_openmp_builds_an_engine_of_one_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The build falls back, says so, and the results are the same to the bit."""
    problem = Problem(*CASES["falling rows"], dtype=torch.float32)
    monkeypatch.setenv("TEXTCLF_ISA", "plain")
    set_engine("native")
    threaded = problem.packed()

    compiler = tmp_path / "without-openmp"
    compiler.write_text(
        '#!/bin/sh\ncase "$*" in *-fopenmp*) echo "error: no -fopenmp" >&2; exit 1;; esac\nexec c++ "$@"\n'
    )
    compiler.chmod(0o755)
    monkeypatch.setenv("CXX", str(compiler))
    monkeypatch.setenv("TEXTCLF_CACHE", str(tmp_path))
    alone = Library("fp32", "plain")
    assert [record.getMessage()[:43] for record in caplog.records] == ["the native engine runs on one thread (witho"]
    monkeypatch.setattr(library, "open_library", lambda *_: alone)

    assert torch.equal(problem.packed(), threaded)


def test_two_processes_that_build_at_once_share_one_library(tmp_path: Path) -> None:
    """The second waits for the first; nothing half-made is left."""
    command = [sys.executable, "-c", "from textclf.native.build import build; print(build('fp32', 'plain'))"]
    settings = {**os.environ, "TEXTCLF_CACHE": str(tmp_path)}
    both = [subprocess.Popen(command, env=settings, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    first, second = (Path(process.communicate()[0].strip()) for process in both)

    assert [process.returncode for process in both] == [0, 0]
    assert first == second
    assert sorted(path.suffix for path in first.parent.iterdir()) == [".lock", ".sha256", ".so"]


def test_a_damaged_library_is_built_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To open one that is cut short would end the process."""
    monkeypatch.setenv("TEXTCLF_CACHE", str(tmp_path))
    whole = build("fp32", "plain")
    content, compiled = whole.read_bytes(), []
    monkeypatch.setattr("textclf.native.build._compile", lambda *arguments: compiled.append(arguments[-1]))
    build("fp32", "plain")
    assert compiled == []
    for damaged in (b"", content[: len(content) // 2], content[:-1] + b"?"):
        whole.write_bytes(damaged)
        build("fp32", "plain")
    whole.unlink()
    build("fp32", "plain")

    assert compiled == [whole] * 4


def test_the_users_cache_is_used_where_it_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that cannot be written serves what it holds; else a folder of this process, as for a user without a home."""
    built: list[Path] = []
    monkeypatch.setattr("textclf.native.build._compile", lambda *arguments: built.append(arguments[-1]))
    monkeypatch.delenv("TEXTCLF_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "textclf" / "native"
    place = build("fp32", "plain")
    assert place.parent == folder
    monkeypatch.setattr("textclf.native.build._is_writable", lambda _: False)
    assert build("fp32", "plain").parent not in (folder, tmp_path)
    place.write_bytes(b"engine")
    place.with_suffix(".sha256").write_text(hashlib.sha256(b"engine").hexdigest())
    assert build("fp32", "plain") == place

    def homeless() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setattr(Path, "home", homeless)
    assert build("fp32", "plain").parent not in (folder, tmp_path)
    assert len(built) == 3


def test_a_precision_that_cannot_be_built_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before a study begins, in one line; with torch's layers there is nothing to build."""
    monkeypatch.setattr(engine, "native_problem", lambda storage="fp32": "no room" if storage == "bf16" else None)
    engine.check_engine("fp32")
    with pytest.raises(ConfigError, match="precision: bf16 is not available: no room"):
        engine.check_engine("bf16")
    set_engine("torch")
    engine.check_engine("bf16")


def test_big_buffers_are_kept_between_calls_and_given_back_when_told() -> None:
    """A trial's are gone when it ends."""
    set_engine("native")
    problem = Problem(*CASES["falling rows"], dtype=torch.float32)
    problem.output_and_gradients(problem.packed)
    assert layers._spare._free
    layers.release_buffers()
    assert not layers._spare._free
