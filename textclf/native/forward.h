// A bidirectional layer forward.
//
// Every block of rows is a task of its own for each direction: it projects its tokens, then runs its own time loop.
// No task waits for another, and none adds to what another writes, so results do not depend on the thread count.
#pragma once

#include "cells.h"
#include "panels.h"

namespace textclf {

// Biases as vectors (direction, group, slot): LSTM slots and the GRU's r and z add both of torch's biases up.
template <class Cell>
class Biases {
 public:
  explicit Biases(const Job& job) : sizes_(job), data_(sizes_.gate_row) {
    for (int direction = 0; direction < 2; direction++) {
      add<typename Cell::Input>(job, direction, job.bias_ih[direction]);
      add<typename Cell::Hidden>(job, direction, job.bias_hh[direction]);
    }
  }
  const Number* at(int direction, i64 group) const { return data_.get() + sizes_.gates_at(direction, group); }

 private:
  template <class Range>
  void add(const Job& job, int direction, const void* bias) {
    for (int slot = Range::kFirst; slot < Range::kFirst + Range::kCount; slot++)
      for (i64 unit = 0; unit < job.n_hidden; unit++)
        data_.get()[sizes_.gates_at(direction, unit / kLanes) + slot * kLanes + unit % kLanes] +=
            static_cast<const Number*>(bias)[Range::gate(slot) * job.n_hidden + unit];
  }
  Sizes sizes_;
  Buffer<Number> data_;
};

template <class Cell>
class Forward {
  using Input = typename Cell::Input;
  using Hidden = typename Cell::Hidden;

 public:
  explicit Forward(const Job& job)
      : job_(job),
        sizes_(job),
        biases_(job),
        input_{GatePanels<Input>({job.weight_ih[0], job.n_hidden, job.n_inputs}),
               GatePanels<Input>({job.weight_ih[1], job.n_hidden, job.n_inputs})},
        hidden_{GatePanels<Hidden>({job.weight_hh[0], job.n_hidden, job.n_hidden}),
                GatePanels<Hidden>({job.weight_hh[1], job.n_hidden, job.n_hidden})} {}

  void run() const {
    const i64 n_tasks = 2 * Block::count(job_);
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 task = 0; task < n_tasks; task++) {
      Block block(job_, task / 2);
      int direction = static_cast<int>(task % 2);
      for (i64 group = 0; group < sizes_.n_groups; group++) project(block, direction, group);
      for (i64 i = 0; i < block.n_steps; i++) {
        i64 step = direction == 0 ? i : block.n_steps - 1 - i;
        advance(block, direction, step, direction == 0 ? step - 1 : step + 1);
      }
    }
  }

 private:
  // Fill the gates of the block's tokens with bias + input share.
  void project(const Block& block, int direction, i64 group) const {
    const Stored* input = static_cast<const Stored*>(job_.input);
    const Number* bias = biases_.at(direction, group);
    for (i64 step = 0; step < block.n_steps; step++)
      for_tiles<Input::kCount>(block.n_alive(step), [&](auto height, i64 first) INLINE_LAMBDA {
        constexpr int R = decltype(height)::value;
        i64 token = block.token(step) + first;
        const Stored* rows = input + token * job_.input_stride;
        Vector sums[R][Input::kCount];
        for (int r = 0; r < R; r++)
          for (int c = 0; c < Input::kCount; c++) sums[r][c] = load(bias + c * kLanes);
        accumulate(sums, input_[direction].n_units, input_[direction].at(group),
                      [&](int r, i64 k) { return unit_at(rows + r * job_.input_stride, k); });
        for (int r = 0; r < R; r++)
          for (int c = 0; c < Input::kCount; c++) store(gates(token + r, direction, group) + c * kLanes, sums[r][c]);
      });
  }

  // Run one step of the block's rows; rows that were not alive at the step before start from zero.
  void advance(const Block& block, int direction, i64 step, i64 step_before) const {
    const i64 n_alive = block.n_alive(step), n_before = block.n_alive(step_before);
    const i64 token = block.token(step), before = n_before ? block.token(step_before) : 0;
    const Vector zero{};
    for (i64 group = 0; group < sizes_.n_groups; group++) {
      const Number* bias = biases_.at(direction, group);
      const i64 column = sizes_.states_at(direction, group);
      auto finish = [&](i64 row, const Vector* recurrent, Vector state_before, Vector cell_before) INLINE_LAMBDA {
        Vector cell;
        Vector state = Cell::forward(gates(token + row, direction, group), recurrent, bias, state_before, cell_before, cell);
        if constexpr (Cell::kHasCell) store(cells(token + row) + column, cell);
        store(states(token + row) + column, state);
      };
      for_tiles<Hidden::kCount>(n_before < n_alive ? n_before : n_alive, [&](auto height, i64 first) INLINE_LAMBDA {
        constexpr int R = decltype(height)::value;
        const Stored* rows = states(before + first) + sizes_.states_at(direction, 0);
        Vector sums[R][Hidden::kCount] = {};
        accumulate(sums, hidden_[direction].n_units, hidden_[direction].at(group),
                      [&](int r, i64 k) { return unit_at(rows + r * sizes_.state_row, k); });
        for (int r = 0; r < R; r++) {
          i64 row = first + r;
          Vector cell_before = zero;
          if constexpr (Cell::kHasCell) cell_before = load(cells(before + row) + column);
          finish(row, sums[r], load(states(before + row) + column), cell_before);
        }
      });
      const Vector nothing[Hidden::kCount] = {};
      for (i64 row = n_before; row < n_alive; row++) finish(row, nothing, zero, zero);
    }
  }

  Stored* gates(i64 token, int direction, i64 group) const {
    return static_cast<Stored*>(job_.gates) + token * sizes_.gate_row + sizes_.gates_at(direction, group);
  }
  Stored* states(i64 token) const { return static_cast<Stored*>(job_.states) + token * sizes_.state_row; }
  Number* cells(i64 token) const { return static_cast<Number*>(job_.cells) + token * sizes_.state_row; }

  const Job& job_;
  Sizes sizes_;
  Biases<Cell> biases_;
  GatePanels<Input> input_[2];
  GatePanels<Hidden> hidden_[2];
};

}  // namespace textclf
