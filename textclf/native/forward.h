// A bidirectional layer forward.
//
// Every block of rows is a task of its own for each direction: it projects its tokens, then runs its own time loop.
// No task waits for another, and none adds to what another writes, so results do not depend on the thread count.
#pragma once

#include "cells.h"
#include "panels.h"
#include "words.h"

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
    const Buffer<Number> word_shares(job_.words.n_words * sizes_.gate_row, false);
    if (job_.words.n_words) project_words(word_shares.get());
    const i64 n_tasks = 2 * Block::count(job_);
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 task = 0; task < n_tasks; task++) {
      Block block(job_, task / 2);
      int direction = static_cast<int>(task % 2);
      if (job_.words.n_words) {
        look_up(block, direction, word_shares.get());
      } else {
        project(block, direction);
      }
      for (i64 i = 0; i < block.n_steps; i++) {
        i64 step = direction == 0 ? i : block.n_steps - 1 - i;
        advance(block, direction, step, direction == 0 ? step - 1 : step + 1);
      }
    }
  }

 private:
  // Fill the gates of the block's tokens with bias + input share.
  void project(const Block& block, int direction) const {
    for (i64 group = 0; group < sizes_.n_groups; group++) {
      const Number* bias = biases_.at(direction, group);
      for (i64 step = 0; step < block.n_steps; step++)
        for_tiles<Input::kCount>(block.n_alive(step), [&](auto height, i64 first) INLINE_LAMBDA {
          constexpr int R = decltype(height)::value;
          i64 token = block.token(step) + first;
          Vector sums[R][Input::kCount] = {};
          multiply(sums, token, direction, group);
          for (int r = 0; r < R; r++)
            for (int c = 0; c < Input::kCount; c++)
              store(gates(token + r, direction, group) + c * kLanes, sums[r][c] + load(bias + c * kLanes));
        });
    }
  }

  // sums += the shares of R rows of the input.
  template <int R>
  INLINE void multiply(Vector (&sums)[R][Input::kCount], i64 first_row, int direction, i64 group) const {
    const Stored* rows = input(first_row);
    accumulate(sums, input_[direction].n_units, input_[direction].at(group),
               [&](int r, i64 k) { return unit_at(rows + r * job_.input_stride, k); });
  }

  // The share of every word with all its channels, like gates but of the computing type.
  void project_words(Number* shares) const {
    const i64 n_words = job_.words.n_words;
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 chunk = 0; chunk < n_words; chunk += kBlockRows)
      for (int direction = 0; direction < 2; direction++)
        for (i64 group = 0; group < sizes_.n_groups; group++)
          for_tiles<Input::kCount>(
              n_words - chunk < kBlockRows ? n_words - chunk : kBlockRows, [&](auto height, i64 first) INLINE_LAMBDA {
                constexpr int R = decltype(height)::value;
                Vector sums[R][Input::kCount] = {};
                multiply(sums, chunk + first, direction, group);
                for (int r = 0; r < R; r++)
                  for (int c = 0; c < Input::kCount; c++)
                    store(
                        shares + (chunk + first + r) * sizes_.gate_row + sizes_.gates_at(direction, group) + c * kLanes,
                        sums[r][c]);
              });
  }

  // As project, from the words' shares: gates = bias + scale * (share of the word - share of its dropped channels).
  void look_up(const Block& block, int direction, const Number* shares) const {
    const Number scale = static_cast<Number>(job_.words.scale);
    DroppedUnits dropped(job_);
    for (i64 row = 0; row < block.n_alive(0); row++) {
      const i64 place = block.first_row + row, batch_row = job_.words.row_at[place];
      dropped.read(batch_row);
      for (i64 group = 0; group < sizes_.n_groups; group++) {
        const Number* bias = biases_.at(direction, group);
        const Unit* panel = input_[direction].at(group);
        for_tiles<Input::kCount>(job_.words.lengths[batch_row], [&](auto height, i64 first) INLINE_LAMBDA {
          constexpr int R = decltype(height)::value;
          i64 word[R];
          const Stored* rows[R];
          for (int r = 0; r < R; r++) {
            word[r] = job_.words.word_of_token[job_.step_start[first + r] + place];
            rows[r] = input(word[r]);
          }
          Vector sums[R][Input::kCount] = {};
          accumulate_rows(
              sums, dropped.n, [&](i64 k) { return panel + dropped.unit(k) * Input::kCount * kLanes; },
              [&](int r, i64 k) { return keep(unit_at(rows[r], dropped.unit(k)), dropped.mask(k)); });
          for (int r = 0; r < R; r++) {
            const Number* share = shares + word[r] * sizes_.gate_row + sizes_.gates_at(direction, group);
            Stored* to = gates(job_.step_start[first + r] + place, direction, group);
            for (int c = 0; c < Input::kCount; c++)
              store(to + c * kLanes, scale * (load(share + c * kLanes) - sums[r][c]) + load(bias + c * kLanes));
          }
        });
      }
    }
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
        Vector state =
            Cell::forward(gates(token + row, direction, group), recurrent, bias, state_before, cell_before, cell);
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

  const Stored* input(i64 row) const { return static_cast<const Stored*>(job_.input) + row * job_.input_stride; }
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
