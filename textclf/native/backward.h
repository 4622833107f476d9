// A bidirectional layer backward: first through time, block by block; then the input's gradient, token by token; then
// the weights' gradients, each summed over all tokens in one order by one task.
#pragma once

#include "cells.h"
#include "panels.h"

namespace textclf {

// Rows of a table picked by index, unit by unit as the inner loop wants them. Single rows are read where they lie,
// pairs are interleaved first.
class PickedRows {
 public:
  PickedRows(const Stored* table, i64 stride, i64 n_columns, const i64* index, i64 n)
      : n_units((n + kUnit - 1) / kUnit), table_(table), stride_(stride), n_columns_(n_columns), index_(index),
        pairs_(kUnit == 1 ? 0 : n_units * n_columns) {
    if (kUnit == 1) return;
    for (i64 k = 0; k < n; k++)
      for (i64 e = 0; e < n_columns; e++)
        reinterpret_cast<Stored*>(pairs_.get() + k / kUnit * n_columns + e)[k % kUnit] = table[index[k] * stride + e];
  }
  const Unit* row(i64 unit) const {
    if (kUnit == 1) return reinterpret_cast<const Unit*>(table_ + index_[unit] * stride_);
    return pairs_.get() + unit * n_columns_;
  }
  const i64 n_units;

 private:
  const Stored* table_;
  i64 stride_, n_columns_;
  const i64* index_;
  Buffer<Unit> pairs_;
};

// Tokens with a token before them in their row: `later` are their places, `earlier` those of their predecessors.
struct Links {
  explicit Links(const Job& job)
      : n(job.n_tokens - job.alive[0]), earlier(n), later(n), all(job.n_tokens) {
    i64 link = 0;
    for (i64 step = 1; step < job.n_steps; step++)
      for (i64 row = 0; row < job.alive[step]; row++, link++) {
        earlier.get()[link] = job.step_start[step - 1] + row;
        later.get()[link] = job.step_start[step] + row;
      }
    for (i64 token = 0; token < job.n_tokens; token++) all.get()[token] = token;
  }
  const i64 n;
  Buffer<i64> earlier, later, all;
};

template <class Cell>
class Backward {
  using Input = typename Cell::Input;
  using Hidden = typename Cell::Hidden;
  static constexpr i64 kChunkTokens = 48;
  static constexpr i64 kChunkUnits = 64;

 public:
  explicit Backward(const Job& job) : job_(job), sizes_(job) {}

  void run() const {
    through_time();
    if (job_.grad_input) to_input();
    to_weights();
  }

 private:
  void through_time() const {
    const ColumnPanels panels[2] = {{{job_.weight_hh[0], job_.n_hidden, job_.n_hidden}, Hidden()},
                                    {{job_.weight_hh[1], job_.n_hidden, job_.n_hidden}, Hidden()}};
    const i64 n_tasks = 2 * Block::count(job_);
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 task = 0; task < n_tasks; task++) {
      Block block(job_, task / 2);
      int direction = static_cast<int>(task % 2);
      Buffer<Number> grad_state(kBlockRows * sizes_.n_groups * kLanes), grad_cell(kBlockRows * sizes_.n_groups * kLanes);
      for (i64 i = 0; i < block.n_steps; i++) {
        i64 step = direction == 0 ? block.n_steps - 1 - i : i;
        retreat(block, direction, step, direction == 0 ? step - 1 : step + 1, panels[direction], grad_state.get(),
                grad_cell.get());
      }
    }
  }

  // Undo one step: gates become their gradients; grad_state and grad_cell, (kBlockRows, n_groups * kLanes), move from
  // this step's state to the state before.
  void retreat(const Block& block, int direction, i64 step, i64 step_before, const ColumnPanels& panels,
               Number* grad_state, Number* grad_cell) const {
    const i64 width = sizes_.n_groups * kLanes;
    const i64 n_alive = block.n_alive(step), n_before = block.n_alive(step_before);
    const i64 token = block.token(step), before = n_before ? block.token(step_before) : 0;
    for (i64 row = 0; row < n_alive; row++)
      for (i64 group = 0; group < sizes_.n_groups; group++) {
        const i64 at = (token + row) * sizes_.state_row + sizes_.states_at(direction, group);
        const i64 at_before = (before + row) * sizes_.state_row + sizes_.states_at(direction, group);
        Number* carried = grad_state + row * width + group * kLanes;
        Vector grad = load(static_cast<const Stored*>(job_.grad_states) + at) + load(carried);
        Vector carried_cell{}, state_before{}, cell_before{}, cell{};
        if constexpr (Cell::kHasCell) {
          carried_cell = load(grad_cell + row * width + group * kLanes);
          cell = load(cells() + at);
          if (row < n_before) cell_before = load(cells() + at_before);
        } else {
          if (row < n_before) state_before = load(states() + at_before);
        }
        store(carried, Cell::backward(gates(token + row, direction, group), grad, carried_cell, state_before, cell_before, cell));
        if constexpr (Cell::kHasCell) store(grad_cell + row * width + group * kLanes, carried_cell);
      }
    const i64 n_linked = n_before < n_alive ? n_before : n_alive;
    panels.multiply_add(grad_state, gates(token, direction, 0), sizes_.gate_row, n_linked);
  }

  void to_input() const {
    const ColumnPanels panels[2] = {{{job_.weight_ih[0], job_.n_hidden, job_.n_inputs}, Input()},
                                    {{job_.weight_ih[1], job_.n_hidden, job_.n_inputs}, Input()}};
    const i64 n_tasks = (job_.n_tokens + kChunkTokens - 1) / kChunkTokens;
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 task = 0; task < n_tasks; task++) {
      const i64 token = task * kChunkTokens;
      const i64 n = job_.n_tokens - token < kChunkTokens ? job_.n_tokens - token : kChunkTokens;
      const i64 width = panels[0].n_vectors * kLanes;
      Buffer<Number> sums(n * width);
      for (int direction = 0; direction < 2; direction++)
        panels[direction].multiply_add(sums.get(), gates(token, direction, 0), sizes_.gate_row, n);
      for (i64 row = 0; row < n; row++)
        for (i64 e = 0; e < job_.n_inputs; e++)
          assign(static_cast<Stored*>(job_.grad_input)[(token + row) * job_.n_inputs + e], sums.get()[row * width + e]);
    }
  }

  void to_weights() const {
    const Links links(job_);
    const i64* index[2][2] = {{links.earlier.get(), links.later.get()}, {links.later.get(), links.earlier.get()}};
    const PickedRows inputs(static_cast<const Stored*>(job_.input), job_.input_stride, job_.n_inputs, links.all.get(), job_.n_tokens);
    const PickedRows befores[2] = {
        PickedRows(states() + sizes_.states_at(0, 0), sizes_.state_row, job_.n_hidden, index[0][0], links.n),
        PickedRows(states() + sizes_.states_at(1, 0), sizes_.state_row, job_.n_hidden, index[1][0], links.n)};
    const i64 n_panels = 2 * sizes_.n_groups;
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 task = 0; task < 2 * n_panels; task++) {
      const int direction = static_cast<int>(task % 2);
      const i64 group = task % n_panels / 2;
      if (task < n_panels) {
        to_weight<Input>(inputs, links.all.get(), job_.n_tokens, direction, group, job_.n_inputs, job_.grad_weight_ih[direction]);
        to_bias(direction, group);
      } else {
        to_weight<Hidden>(befores[direction], index[direction][1], links.n, direction, group, job_.n_hidden,
                          job_.grad_weight_hh[direction]);
      }
    }
  }

  // One group's rows of a weight matrix: the sum over k of rows(k) times the gate gradients of token gate_token[k].
  template <class Range>
  void to_weight(const PickedRows& rows, const i64* gate_token, i64 n, int direction, i64 group, i64 n_columns, void* grad) const {
    constexpr int C = Range::kCount;
    Buffer<Number> total(n_columns * C * kLanes);
    Buffer<Unit> panel(kChunkUnits * C * kLanes);
    const Unit* picked[kChunkUnits];
    for (i64 chunk = 0; chunk < rows.n_units; chunk += kChunkUnits) {
      const i64 n_units = rows.n_units - chunk < kChunkUnits ? rows.n_units - chunk : kChunkUnits;
      for (i64 k = 0; k < n_units; k++) {
        picked[k] = rows.row(chunk + k);
        pack_gates<C>(panel.get() + k * C * kLanes, gate_token + (chunk + k) * kUnit, n - (chunk + k) * kUnit, direction, group, Range::kFirst);
      }
      for_tiles<C>(n_columns, [&](auto height, i64 first) INLINE_LAMBDA {
        constexpr int R = decltype(height)::value;
        Number* at = total.get() + first * C * kLanes;
        Vector sums[R][C];
        for (int r = 0; r < R; r++)
          for (int c = 0; c < C; c++) sums[r][c] = load(at + (r * C + c) * kLanes);
        accumulate(sums, n_units, panel.get(), [&](int r, i64 k) { return picked[k][first + r]; });
        for (int r = 0; r < R; r++)
          for (int c = 0; c < C; c++) store(at + (r * C + c) * kLanes, sums[r][c]);
      });
    }
    for (i64 lane = 0; lane < kLanes && group * kLanes + lane < job_.n_hidden; lane++)
      for (int c = 0; c < C; c++) {
        Number* to = static_cast<Number*>(grad) + (Range::gate(Range::kFirst + c) * job_.n_hidden + group * kLanes + lane) * n_columns;
        for (i64 e = 0; e < n_columns; e++) to[e] = total.get()[(e * C + c) * kLanes + lane];
      }
  }

  // Copy one unit of gate gradients, side by side for C slots; n_left tokens remain.
  template <int C>
  INLINE void pack_gates(Unit* to, const i64* tokens, i64 n_left, int direction, i64 group, int first_slot) const {
    static constexpr Stored kNothing[kLanes] = {};
    for (int c = 0; c < C; c++) {
      const i64 at = (first_slot + c) * kLanes;
      const Stored* odd = kUnit > 1 && n_left > 1 ? gates(tokens[1], direction, group) + at : kNothing;
      store_units(to + c * kLanes, pair(gates(tokens[0], direction, group) + at, odd));
    }
  }

  void to_bias(int direction, i64 group) const {
    Vector sums[kSlots] = {};
    for (i64 token = 0; token < job_.n_tokens; token++)
      for (int slot = 0; slot < kSlots; slot++) sums[slot] += load(gates(token, direction, group) + slot * kLanes);
    store_bias<Input>(sums, group, job_.grad_bias_ih[direction]);
    store_bias<Hidden>(sums, group, job_.grad_bias_hh[direction]);
  }

  template <class Range>
  void store_bias(const Vector* sums, i64 group, void* grad) const {
    for (i64 lane = 0; lane < kLanes && group * kLanes + lane < job_.n_hidden; lane++)
      for (int slot = Range::kFirst; slot < Range::kFirst + Range::kCount; slot++)
        static_cast<Number*>(grad)[Range::gate(slot) * job_.n_hidden + group * kLanes + lane] = sums[slot][lane];
  }

  Stored* gates(i64 token, int direction, i64 group) const {
    return static_cast<Stored*>(job_.gates) + token * sizes_.gate_row + sizes_.gates_at(direction, group);
  }
  const Stored* states() const { return static_cast<const Stored*>(job_.states); }
  const Number* cells() const { return static_cast<const Number*>(job_.cells); }

  const Job& job_;
  Sizes sizes_;
};

}  // namespace textclf
