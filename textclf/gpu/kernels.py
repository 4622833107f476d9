# ruff: noqa: ANN001, ANN201, ANN202, PLR0917  kernel arguments are pointers and numbers of Triton's own
# mypy: disable-error-code="untyped-decorator,no-untyped-def"
"""Recurrent layers and pools in Triton: a whole recurrence in one launch, weights and states on the chip.

A program owns ROWS places of the sorted batch and one direction, and has its own time loop; programs never wait for
each other and never add to the same numbers. The tile of the next step is loaded while the present one is computed.

A tile is (rows, units). Pointers, over the tokens of a batch (textclf.ragged), gates in torch's order:

    shares, gates and their gradients   (n_tokens, 2, n_gates, hidden)
    cells, states, before               (n_tokens, 2, hidden); ``before`` is the state that a token began with
    weight                              (2, n_gates * hidden, hidden)
    lengths, order, step_start          int64, as in RaggedBatch, on the device

PRODUCT is how numbers are multiplied: "tf32x3" on the matrix units, in three terms (float32 to about 1e-6); "ieee";
"bf16", for weights of that type; "rounded" is the same for Triton's interpreter, which cannot. Sums are float32.
"""

import triton
from triton import language as tl

ROWS = 16  # rows of a program: the smallest height of a matrix product on the chip
LEAST_WIDTH = 16
STEPS = 16  # tokens that a pool reads at once
NEVER = tl.constexpr(2**30)  # a step that no row has


@triton.jit
def _squash(x):
    return 2 * tl.sigmoid(2 * x) - 1


@triton.jit
def _product(tile, weight, PRODUCT: tl.constexpr):
    if PRODUCT == "bf16":
        product = tl.dot(tile.to(tl.bfloat16), weight)
    elif PRODUCT == "rounded":
        product = tl.dot(tile.to(tl.bfloat16).to(tl.float32), weight.to(tl.float32), input_precision="ieee")
    else:
        product = tl.dot(tile, weight, input_precision=PRODUCT)
    return product


@triton.jit
def _turned(weight, gate, units, hidden):
    """The recurrent weights of a gate as (units before, units after)."""
    square = (units[:, None] < hidden) & (units[None, :] < hidden)
    return tl.load(weight + gate * hidden * hidden + units[None, :] * hidden + units[:, None], mask=square, other=0.0)


@triton.jit
def _straight(weight, gate, units, hidden):
    """The recurrent weights of a gate as (units after, units before)."""
    square = (units[:, None] < hidden) & (units[None, :] < hidden)
    return tl.load(weight + gate * hidden * hidden + units[:, None] * hidden + units[None, :], mask=square, other=0.0)


@triton.jit
def _lengths_of(places, lengths, order, n_rows):
    rows = tl.load(order + places, mask=places < n_rows, other=0)
    return tl.load(lengths + rows, mask=places < n_rows, other=0)


@triton.jit
def _token_of(step, n_steps, places, direction, step_start):
    """Where the tokens of a step lie among those of both directions; steps beyond the ends are never read."""
    inside = (step >= 0) & (step < n_steps)
    return (tl.load(step_start + step, mask=inside, other=0) + places) * 2 + direction


@triton.jit
def _mask_of(step, length, units, hidden):
    beyond = tl.where(step < 0, NEVER, step)
    return (beyond < length)[:, None] & (units < hidden)[None, :]


@triton.jit
def _read(array, at, mask):
    return tl.load(array + at, mask=mask, other=0.0).to(tl.float32)


@triton.jit
def lstm_forward(
    shares,
    weight,
    gates,
    cells,
    states,
    before,
    lengths,
    order,
    step_start,
    n_rows,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRODUCT: tl.constexpr,
    LEARNS: tl.constexpr,
):
    """Run an LSTM over the rows of a program; gates become i, f, g, o."""
    direction = tl.program_id(1)
    places, units = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    length = _lengths_of(places, lengths, order, n_rows)
    n_steps = tl.max(length)
    weight += direction * 4 * hidden * hidden
    w_i, w_f = _turned(weight, 0, units, hidden), _turned(weight, 1, units, hidden)
    w_g, w_o = _turned(weight, 2, units, hidden), _turned(weight, 3, units, hidden)

    step, forward = tl.where(direction == 0, 0, n_steps - 1), tl.where(direction == 0, 1, -1)
    token, mask = _token_of(step, n_steps, places, direction, step_start), _mask_of(step, length, units, hidden)
    at = token[:, None] * 4 * hidden + units[None, :]
    i, f = _read(shares, at, mask), _read(shares, at + hidden, mask)
    g, o = _read(shares, at + 2 * hidden, mask), _read(shares, at + 3 * hidden, mask)
    state, cell = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    for _ in range(n_steps):
        next_step = step + forward
        next_token = _token_of(next_step, n_steps, places, direction, step_start)
        next_mask = _mask_of(next_step, length, units, hidden)
        next_at = next_token[:, None] * 4 * hidden + units[None, :]
        next_i, next_f = _read(shares, next_at, next_mask), _read(shares, next_at + hidden, next_mask)
        next_g = _read(shares, next_at + 2 * hidden, next_mask)
        next_o = _read(shares, next_at + 3 * hidden, next_mask)

        here = token[:, None] * hidden + units[None, :]
        if LEARNS:
            tl.store(before + here, state, mask=mask)
        i, f = tl.sigmoid(i + _product(state, w_i, PRODUCT)), tl.sigmoid(f + _product(state, w_f, PRODUCT))
        g, o = _squash(g + _product(state, w_g, PRODUCT)), tl.sigmoid(o + _product(state, w_o, PRODUCT))
        cell = tl.where(mask, f * cell + i * g, cell)
        state = tl.where(mask, o * _squash(cell), state)
        tl.store(states + here, state, mask=mask)
        if LEARNS:
            tl.store(gates + at, i, mask=mask)
            tl.store(gates + at + hidden, f, mask=mask)
            tl.store(gates + at + 2 * hidden, g, mask=mask)
            tl.store(gates + at + 3 * hidden, o, mask=mask)
            tl.store(cells + here, cell, mask=mask)
        step, token, mask, at = next_step, next_token, next_mask, next_at
        i, f, g, o = next_i, next_f, next_g, next_o


@triton.jit
def lstm_backward(
    grad_states,
    weight,
    gates,
    cells,
    grads,
    lengths,
    order,
    step_start,
    n_rows,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRODUCT: tl.constexpr,
):
    """Undo an LSTM step by step; grads become the gradients of the gates' inputs."""
    direction = tl.program_id(1)
    places, units = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    length = _lengths_of(places, lengths, order, n_rows)
    n_steps = tl.max(length)
    weight += direction * 4 * hidden * hidden
    w_i, w_f = _straight(weight, 0, units, hidden), _straight(weight, 1, units, hidden)
    w_g, w_o = _straight(weight, 2, units, hidden), _straight(weight, 3, units, hidden)

    step, back = tl.where(direction == 0, n_steps - 1, 0), tl.where(direction == 0, -1, 1)
    token, mask = _token_of(step, n_steps, places, direction, step_start), _mask_of(step, length, units, hidden)
    at, here = token[:, None] * 4 * hidden + units[None, :], token[:, None] * hidden + units[None, :]
    i, f = _read(gates, at, mask), _read(gates, at + hidden, mask)
    g, o = _read(gates, at + 2 * hidden, mask), _read(gates, at + 3 * hidden, mask)
    cell, grad = _read(cells, here, mask), _read(grad_states, here, mask)
    carried, carried_cell = tl.zeros((ROWS, WIDTH), tl.float32), tl.zeros((ROWS, WIDTH), tl.float32)
    for _ in range(n_steps):
        next_step = step + back
        next_token = _token_of(next_step, n_steps, places, direction, step_start)
        next_mask = _mask_of(next_step, length, units, hidden)
        next_at = next_token[:, None] * 4 * hidden + units[None, :]
        next_here = next_token[:, None] * hidden + units[None, :]
        next_i, next_f = _read(gates, next_at, next_mask), _read(gates, next_at + hidden, next_mask)
        next_g = _read(gates, next_at + 2 * hidden, next_mask)
        next_o = _read(gates, next_at + 3 * hidden, next_mask)
        next_cell, next_grad = _read(cells, next_here, next_mask), _read(grad_states, next_here, next_mask)

        squashed = _squash(cell)
        grad += carried
        grad_cell = grad * o * (1 - squashed * squashed) + carried_cell
        grad_i, grad_f = grad_cell * g * i * (1 - i), grad_cell * next_cell * f * (1 - f)
        grad_g, grad_o = grad_cell * i * (1 - g * g), grad * squashed * o * (1 - o)
        tl.store(grads + at, grad_i, mask=mask)
        tl.store(grads + at + hidden, grad_f, mask=mask)
        tl.store(grads + at + 2 * hidden, grad_g, mask=mask)
        tl.store(grads + at + 3 * hidden, grad_o, mask=mask)
        through = (
            _product(grad_i, w_i, PRODUCT)
            + _product(grad_f, w_f, PRODUCT)
            + _product(grad_g, w_g, PRODUCT)
            + _product(grad_o, w_o, PRODUCT)
        )
        carried, carried_cell = tl.where(mask, through, carried), tl.where(mask, grad_cell * f, carried_cell)
        step, token, mask, at, here = next_step, next_token, next_mask, next_at, next_here
        i, f, g, o, cell, grad = next_i, next_f, next_g, next_o, next_cell, next_grad


@triton.jit
def gru_forward(
    shares,
    weight,
    bias,
    gates,
    memory,
    states,
    before,
    lengths,
    order,
    step_start,
    n_rows,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRODUCT: tl.constexpr,
    LEARNS: tl.constexpr,
):
    """Run a GRU over the rows of a program; gates become r, z, n and memory the state's share of n.

    bias: (2, 3 * hidden) float32, what the state's share is added to
    """
    direction = tl.program_id(1)
    places, units = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    length = _lengths_of(places, lengths, order, n_rows)
    n_steps = tl.max(length)
    weight += direction * 3 * hidden * hidden
    w_r, w_z = _turned(weight, 0, units, hidden), _turned(weight, 1, units, hidden)
    w_n = _turned(weight, 2, units, hidden)
    bias += direction * 3 * hidden + units
    b_r = tl.load(bias, mask=units < hidden, other=0.0)[None, :]
    b_z = tl.load(bias + hidden, mask=units < hidden, other=0.0)[None, :]
    b_n = tl.load(bias + 2 * hidden, mask=units < hidden, other=0.0)[None, :]

    step, forward = tl.where(direction == 0, 0, n_steps - 1), tl.where(direction == 0, 1, -1)
    token, mask = _token_of(step, n_steps, places, direction, step_start), _mask_of(step, length, units, hidden)
    at = token[:, None] * 3 * hidden + units[None, :]
    r, z, n = _read(shares, at, mask), _read(shares, at + hidden, mask), _read(shares, at + 2 * hidden, mask)
    state = tl.zeros((ROWS, WIDTH), tl.float32)
    for _ in range(n_steps):
        next_step = step + forward
        next_token = _token_of(next_step, n_steps, places, direction, step_start)
        next_mask = _mask_of(next_step, length, units, hidden)
        next_at = next_token[:, None] * 3 * hidden + units[None, :]
        next_r, next_z = _read(shares, next_at, next_mask), _read(shares, next_at + hidden, next_mask)
        next_n = _read(shares, next_at + 2 * hidden, next_mask)

        here = token[:, None] * hidden + units[None, :]
        if LEARNS:
            tl.store(before + here, state, mask=mask)
        r, z = tl.sigmoid(r + _product(state, w_r, PRODUCT) + b_r), tl.sigmoid(z + _product(state, w_z, PRODUCT) + b_z)
        m = _product(state, w_n, PRODUCT) + b_n
        n = _squash(n + r * m)
        state = tl.where(mask, n + z * (state - n), state)
        tl.store(states + here, state, mask=mask)
        if LEARNS:
            tl.store(gates + at, r, mask=mask)
            tl.store(gates + at + hidden, z, mask=mask)
            tl.store(gates + at + 2 * hidden, n, mask=mask)
            tl.store(memory + here, m, mask=mask)
        step, token, mask, at = next_step, next_token, next_mask, next_at
        r, z, n = next_r, next_z, next_n


@triton.jit
def gru_backward(
    grad_states,
    weight,
    gates,
    memory,
    before,
    grads,
    state_grads,
    lengths,
    order,
    step_start,
    n_rows,
    hidden,
    ROWS: tl.constexpr,
    WIDTH: tl.constexpr,
    PRODUCT: tl.constexpr,
):
    """Undo a GRU step by step; grads and state_grads are of the input's and of the state's share of the gates."""
    direction = tl.program_id(1)
    places, units = tl.program_id(0) * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    length = _lengths_of(places, lengths, order, n_rows)
    n_steps = tl.max(length)
    weight += direction * 3 * hidden * hidden
    w_r, w_z = _straight(weight, 0, units, hidden), _straight(weight, 1, units, hidden)
    w_n = _straight(weight, 2, units, hidden)

    step, back = tl.where(direction == 0, n_steps - 1, 0), tl.where(direction == 0, -1, 1)
    token, mask = _token_of(step, n_steps, places, direction, step_start), _mask_of(step, length, units, hidden)
    at, here = token[:, None] * 3 * hidden + units[None, :], token[:, None] * hidden + units[None, :]
    r, z, n = _read(gates, at, mask), _read(gates, at + hidden, mask), _read(gates, at + 2 * hidden, mask)
    m, state, grad = _read(memory, here, mask), _read(before, here, mask), _read(grad_states, here, mask)
    carried = tl.zeros((ROWS, WIDTH), tl.float32)
    for _ in range(n_steps):
        next_step = step + back
        next_token = _token_of(next_step, n_steps, places, direction, step_start)
        next_mask = _mask_of(next_step, length, units, hidden)
        next_at = next_token[:, None] * 3 * hidden + units[None, :]
        next_here = next_token[:, None] * hidden + units[None, :]
        next_r, next_z = _read(gates, next_at, next_mask), _read(gates, next_at + hidden, next_mask)
        next_n, next_m = _read(gates, next_at + 2 * hidden, next_mask), _read(memory, next_here, next_mask)
        next_state, next_grad = _read(before, next_here, next_mask), _read(grad_states, next_here, next_mask)

        grad += carried
        grad_n = grad * (1 - z) * (1 - n * n)
        grad_z = grad * (state - n) * z * (1 - z)
        grad_r = grad_n * m * r * (1 - r)
        tl.store(grads + at, grad_r, mask=mask)
        tl.store(grads + at + hidden, grad_z, mask=mask)
        tl.store(grads + at + 2 * hidden, grad_n, mask=mask)
        tl.store(state_grads + at, grad_r, mask=mask)
        tl.store(state_grads + at + hidden, grad_z, mask=mask)
        tl.store(state_grads + at + 2 * hidden, grad_n * r, mask=mask)
        through = (
            grad * z
            + _product(grad_r, w_r, PRODUCT)
            + _product(grad_z, w_z, PRODUCT)
            + _product(grad_n * r, w_n, PRODUCT)
        )
        carried = tl.where(mask, through, carried)
        step, token, mask, at, here = next_step, next_token, next_mask, next_at, next_here
        r, z, n, m, state, grad = next_r, next_z, next_n, next_m, next_state, next_grad


# A pool's program owns one place and reads STEPS tokens of it at once, both directions side by side: columns are
# (2 * hidden). pooled: (n_rows, 6 * hidden) float32, rows in the caller's order; step_of_top: (n_rows, 2 * hidden).


@triton.jit
def pool_forward(
    states,
    pooled,
    step_of_top,
    lengths,
    order,
    step_start,
    hidden,
    STEPS: tl.constexpr,
    COLUMNS: tl.constexpr,
    LEARNS: tl.constexpr,
):
    """Last state forward, last state backward, mean and maximum of a row's states."""
    place, columns = tl.program_id(0), tl.arange(0, COLUMNS)
    row = tl.load(order + place)
    length = tl.load(lengths + row)
    width = 2 * hidden
    real = columns < width
    total, top = tl.zeros((COLUMNS,), tl.float32), tl.full((COLUMNS,), float("-inf"), tl.float32)
    top_step = tl.zeros((COLUMNS,), tl.int32)
    for first in range(0, length, STEPS):
        steps = first + tl.arange(0, STEPS)
        token = tl.load(step_start + steps, mask=steps < length, other=0) + place
        mask = (steps < length)[:, None] & real[None, :]
        h = tl.load(states + token[:, None] * width + columns[None, :], mask=mask, other=0.0).to(tl.float32)
        total += tl.sum(h, 0)
        highest, where = tl.max(tl.where(mask, h, float("-inf")), 0, return_indices=True)
        top_step = tl.where(highest > top, (first + where).to(tl.int32), top_step)
        top = tl.maximum(highest, top)
    last = tl.load(step_start + length - 1) + place
    end = tl.where(columns < hidden, last, place)
    ends = tl.load(states + end * width + columns, mask=real, other=0.0).to(tl.float32)
    out = pooled + row * 3 * width + columns
    tl.store(out, ends, mask=real)
    tl.store(out + width, total / length.to(tl.float32), mask=real)
    tl.store(out + 2 * width, top, mask=real)
    if LEARNS:
        tl.store(step_of_top + place * width + columns, top_step, mask=real)


@triton.jit
def pool_backward(
    grad_pooled,
    step_of_top,
    grad_states,
    lengths,
    order,
    step_start,
    hidden,
    STEPS: tl.constexpr,
    COLUMNS: tl.constexpr,
):
    """Share a row's gradients out among its tokens."""
    place, columns = tl.program_id(0), tl.arange(0, COLUMNS)
    row = tl.load(order + place)
    length = tl.load(lengths + row)
    width = 2 * hidden
    real = columns < width
    given = grad_pooled + row * 3 * width + columns
    of_end = tl.load(given, mask=real, other=0.0)
    of_mean = tl.load(given + width, mask=real, other=0.0) / length.to(tl.float32)
    of_top = tl.load(given + 2 * width, mask=real, other=0.0)
    top_step = tl.load(step_of_top + place * width + columns, mask=real, other=0)
    end_step = tl.where(columns < hidden, length - 1, 0)
    for first in range(0, length, STEPS):
        steps = first + tl.arange(0, STEPS)
        token = tl.load(step_start + steps, mask=steps < length, other=0) + place
        mask = (steps < length)[:, None] & real[None, :]
        grad = of_mean[None, :] + tl.where(steps[:, None] == top_step[None, :], of_top[None, :], 0.0)
        grad += tl.where(steps[:, None] == end_step[None, :], of_end[None, :], 0.0)
        tl.store(grad_states + token[:, None] * width + columns[None, :], grad, mask=mask)
