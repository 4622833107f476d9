// What one call works on: the ragged batch, the layer's weights in torch's own layout, and the buffers.
//
// Units are cut into groups of kLanes; hidden sizes that do not fill their last group are padded with units whose
// weights are zero, and which therefore stay zero. Buffers that only this library reads keep a group's vectors
// side by side:
//   gates   (n_tokens, 2 directions, n_groups, kSlots, kLanes)   forward: activations; backward: their gradients
//   states  (n_tokens, 2 directions, n_groups, kLanes)           the layer's output
//   cells   like states, in computing precision                  the LSTM's cell state
#pragma once

#include "simd.h"

namespace textclf {

// The structures here are mirrored by textclf/native/library.py: same fields, same order, 8 bytes each.

// Inputs that are word vectors: a batch repeats words, so each distinct one is projected once, and what its dropped
// channels would have added is taken off token by token. No words, no such inputs.
struct Words {
  i64 n_words;
  const i64* word_of_token;     // (n_tokens,) rows of the input
  const i64* occurrence_start;  // (n_words + 1,)
  const i64* occurrences;       // (n_tokens,) tokens by word
  const i64* row_at;            // (n_rows,) the row at each place of the sorted batch
  const i64* lengths;           // (n_rows,) tokens of each row
  const void* mask;             // (n_rows, n_inputs) computing type: 0 drops a channel, others are `scale`; or null
  double scale;
};

struct Job {
  i64 n_tokens, n_steps, n_inputs, n_hidden, n_threads;
  const i64* alive;       // (n_steps,) rows that still have a token at each step, never increasing
  const i64* step_start;  // (n_steps + 1,) where each step begins in the flat sequence
  const void* input;      // (n_tokens, input_stride) of the storage type; with words: one row for each of them
  i64 input_stride;
  Words words;
  const void* weight_ih[2];  // per direction: (n_gates * n_hidden, n_inputs)
  const void* weight_hh[2];  //                (n_gates * n_hidden, n_hidden)
  const void* bias_ih[2];    //                (n_gates * n_hidden,)
  const void* bias_hh[2];
  void* gates;
  void* states;
  void* cells;
  // Backward only.
  const void* grad_states;  // like states
  void* grad_input;         // (n_tokens, n_inputs) of the storage type, or null
  void* grad_weight_ih[2];
  void* grad_weight_hh[2];
  void* grad_bias_ih[2];
  void* grad_bias_hh[2];
};

constexpr int kBlockRows = 24;  // rows that run their time loop together: a whole number of tiles for each cell

// Which slots of a group get a share of the input, or of the previous state, and which gate of torch's each one is.
template <int First, int Count>
struct SlotRange {
  static constexpr int kFirst = First, kCount = Count;
};
struct Lstm {
  static constexpr int kGates = 4;  // slots i, f, g, o as torch has them
  struct Input : SlotRange<0, 4> {
    static constexpr int gate(int slot) { return slot; }
  };
  using Hidden = Input;
};
struct Gru {
  static constexpr int kGates = 3;  // torch has r, z, n; slots are n, r, z, and the state's own share of n
  struct Input : SlotRange<0, 3> {
    static constexpr int gate(int slot) { return slot == 0 ? 2 : slot - 1; }
  };
  struct Hidden : SlotRange<1, 3> {
    static constexpr int gate(int slot) { return slot - 1; }
  };
};

struct Sizes {
  i64 n_groups, gate_row, state_row;
  explicit Sizes(const Job& job)
      : n_groups(round_up(job.n_hidden, kLanes) / kLanes),
        gate_row(2 * n_groups * kSlots * kLanes),
        state_row(2 * n_groups * kLanes) {}
  i64 gates_at(int direction, i64 group) const { return (direction * n_groups + group) * kSlots * kLanes; }
  i64 states_at(int direction, i64 group) const { return (direction * n_groups + group) * kLanes; }
};

// Some neighbouring rows of the sorted batch. Rows are sorted by length, so those alive at a step come first, and
// their tokens lie side by side.
struct Block {
  const Job& job;
  i64 first_row, n_steps;

  Block(const Job& job, i64 index) : job(job), first_row(index * kBlockRows), n_steps(0) {
    while (n_steps < job.n_steps && job.alive[n_steps] > first_row) n_steps++;
  }
  static i64 count(const Job& job) { return (job.alive[0] + kBlockRows - 1) / kBlockRows; }
  int n_alive(i64 step) const {
    if (step < 0 || step >= n_steps) return 0;
    i64 n = job.alive[step] - first_row;
    return static_cast<int>(n < kBlockRows ? n : kBlockRows);
  }
  i64 token(i64 step) const { return job.step_start[step] + first_row; }  // the block's first token at a step
};

// Memory that lives as long as a call, aligned for vectors.
template <class T>
class Buffer {
 public:
  explicit Buffer(i64 size, bool clear = true) : data_(static_cast<T*>(__builtin_malloc(bytes(size) + 64))) {
    base_ = reinterpret_cast<T*>(round_up(reinterpret_cast<intptr_t>(data_), 64));
    if (clear) memset(static_cast<void*>(base_), 0, bytes(size));
  }
  ~Buffer() { __builtin_free(data_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;
  T* get() const { return base_; }

 private:
  static size_t bytes(i64 size) { return static_cast<size_t>(size) * sizeof(T); }
  T* data_;
  T* base_;
};

}  // namespace textclf
