// A bidirectional layer backward: first through time, block by block; then the input's gradient, token by token; then
// the weights' gradients.
#pragma once

#include "cells.h"
#include "gradients.h"
#include "panels.h"

namespace textclf {

template <class Cell>
class Backward {
  using Input = typename Cell::Input;
  using Hidden = typename Cell::Hidden;
  static constexpr i64 kChunkTokens = 48;

 public:
  explicit Backward(const Job& job) : job_(job), sizes_(job) {}

  void run() const {
    through_time();
    if (job_.grad_input) to_input();
    WeightGradients<Cell>(job_).run();
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
      Buffer<Number> grad_state(kBlockRows * sizes_.n_groups * kLanes),
          grad_cell(kBlockRows * sizes_.n_groups * kLanes);
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
        store(carried, Cell::backward(gates(token + row, direction, group), grad, carried_cell, state_before,
                                      cell_before, cell));
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

  Stored* gates(i64 token, int direction, i64 group) const {
    return static_cast<Stored*>(job_.gates) + token * sizes_.gate_row + sizes_.gates_at(direction, group);
  }
  const Stored* states() const { return static_cast<const Stored*>(job_.states); }
  const Number* cells() const { return static_cast<const Number*>(job_.cells); }

  const Job& job_;
  Sizes sizes_;
};

}  // namespace textclf
