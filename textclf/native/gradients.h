// The gradients of a layer's weights: each group's part is summed over all tokens, in one order, by one task.
#pragma once

#include "panels.h"
#include "words.h"

namespace textclf {

// Rows of a table picked by index, unit by unit as the inner loop wants them. Single rows are read where they lie,
// pairs are interleaved first.
class PickedRows {
 public:
  PickedRows(const Job& job, const Stored* table, i64 stride, i64 n_columns, const i64* index, i64 n)
      : n_units((n + kUnit - 1) / kUnit),
        table_(table),
        stride_(stride),
        n_columns_(n_columns),
        index_(index),
        pairs_(kUnit == 1 ? 0 : n_units * n_columns, false) {
    if (kUnit == 1) return;
    const Buffer<Stored> nothing(n_columns);  // the partner of an odd last row
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(job.n_threads))
    for (i64 unit = 0; unit < n_units; unit++) {
      const Stored* rows[kUnit];
      for (int i = 0; i < kUnit; i++) {
        const i64 k = unit * kUnit + i;
        rows[i] = k < n ? table + index[k] * stride : nothing.get();
      }
      Unit* to = pairs_.get() + unit * n_columns;
      i64 e = 0;
      for (; e + kLanes <= n_columns; e += kLanes) store_units(to + e, pair(rows[0] + e, rows[kUnit - 1] + e));
      for (; e < n_columns; e++)
        for (int i = 0; i < kUnit; i++) reinterpret_cast<Stored*>(to + e)[i] = rows[i][e];
    }
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
  explicit Links(const Job& job) : n(job.n_tokens - job.alive[0]), earlier(n), later(n), all(job.n_tokens) {
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

// Gates hold their gradients by now.
template <class Cell>
class WeightGradients {
  using Input = typename Cell::Input;
  using Hidden = typename Cell::Hidden;
  static constexpr i64 kChunkUnits = 64;  // so much of the gates' gradients fits the first-level cache

 public:
  explicit WeightGradients(const Job& job) : job_(job), sizes_(job) {}

  void run() const {
    const Links links(job_);
    const i64* index[2][2] = {{links.earlier.get(), links.later.get()}, {links.later.get(), links.earlier.get()}};
    const i64 n_rows = job_.words.n_words ? job_.words.n_words : job_.n_tokens;
    const PickedRows inputs(job_, static_cast<const Stored*>(job_.input), job_.input_stride, job_.n_inputs,
                            links.all.get(), n_rows);
    const PickedRows befores[2] = {
        PickedRows(job_, states() + sizes_.states_at(0, 0), sizes_.state_row, job_.n_hidden, index[0][0], links.n),
        PickedRows(job_, states() + sizes_.states_at(1, 0), sizes_.state_row, job_.n_hidden, index[1][0], links.n)};
    const DroppedValues dropped(job_);
    const i64 n_panels = 2 * sizes_.n_groups;
#pragma omp parallel for schedule(dynamic, 1) num_threads(static_cast<int>(job_.n_threads))
    for (i64 task = 0; task < 2 * n_panels; task++) {
      const int direction = static_cast<int>(task % 2);
      const i64 group = task % n_panels / 2;
      if (task >= n_panels) {
        Total<Hidden> total(job_.n_hidden);
        add_products(total, befores[direction], GatesAt{*this, direction, group, index[direction][1], links.n});
        write(total, group, job_.grad_weight_hh[direction]);
        continue;
      }
      to_bias(direction, group);
      Total<Input> total(job_.n_inputs);
      if (job_.words.n_words) {
        add_products(total, inputs, GatesOfWord{*this, direction, group});
        take_off_dropped(total, dropped, direction, group);
        total.scale(static_cast<Number>(job_.words.scale));
      } else {
        add_products(total, inputs, GatesAt{*this, direction, group, links.all.get(), job_.n_tokens});
      }
      write(total, group, job_.grad_weight_ih[direction]);
    }
  }

 private:
  // One group's part of a weight's gradient, transposed: (n_columns, slots, kLanes).
  template <class Range_>
  struct Total {
    using Range = Range_;
    static constexpr int C = Range::kCount;
    explicit Total(i64 n_columns) : n_columns(n_columns), data(n_columns * C * kLanes) {}
    Number* row(i64 column) const { return data.get() + column * C * kLanes; }
    void scale(Number factor) {
      for (i64 i = 0; i < n_columns * C * kLanes; i++) data.get()[i] *= factor;
    }
    const i64 n_columns;
    const Buffer<Number> data;
  };

  // Where an inner product over tokens finds gate gradients: those of listed tokens.
  struct GatesAt {
    const WeightGradients& pass;
    int direction;
    i64 group;
    const i64* tokens;
    i64 n_tokens;
    // Copy unit k of a slot; an odd last token has no partner.
    INLINE UnitVector unit(i64 k, int slot) const {
      static constexpr Stored kNothing[kLanes] = {};
      const i64 first = k * kUnit;
      const Stored* even = pass.gates(tokens[first], direction, group) + slot * kLanes;
      if (kUnit == 1) return pair(even, even);
      return pair(even,
                  first + 1 < n_tokens ? pass.gates(tokens[first + 1], direction, group) + slot * kLanes : kNothing);
    }
  };

  // The same for words: the sum over each word's occurrences.
  struct GatesOfWord {
    const WeightGradients& pass;
    int direction;
    i64 group;
    INLINE UnitVector unit(i64 k, int slot) const {
      Stored sums[kUnit][kLanes] = {};
      for (int i = 0; i < kUnit && k * kUnit + i < pass.job_.words.n_words; i++) {
        const Words& words = pass.job_.words;
        const i64 word = k * kUnit + i;
        Vector sum{};
        for (i64 at = words.occurrence_start[word]; at < words.occurrence_start[word + 1]; at++)
          sum += load(pass.gates(words.occurrences[at], direction, group) + slot * kLanes);
        store(sums[i], sum);
      }
      return pair(sums[0], sums[kUnit - 1]);
    }
  };

  // total += the sum over k of rows(k), transposed, times the gate gradients that `source` has for k.
  template <class Total, class Source>
  void add_products(Total& total, const PickedRows& rows, const Source& source) const {
    constexpr int C = Total::C;
    Buffer<Unit> panel(kChunkUnits * C * kLanes);
    const Unit* picked[kChunkUnits];
    for (i64 chunk = 0; chunk < rows.n_units; chunk += kChunkUnits) {
      const i64 n_units = rows.n_units - chunk < kChunkUnits ? rows.n_units - chunk : kChunkUnits;
      for (i64 k = 0; k < n_units; k++) {
        picked[k] = rows.row(chunk + k);
        for (int c = 0; c < C; c++)
          store_units(panel.get() + (k * C + c) * kLanes, source.unit(chunk + k, Total::Range::kFirst + c));
      }
      for_tiles<C>(total.n_columns, [&](auto height, i64 first) INLINE_LAMBDA {
        constexpr int R = decltype(height)::value;
        Vector sums[R][C];
        for (int r = 0; r < R; r++)
          for (int c = 0; c < C; c++) sums[r][c] = load(total.row(first + r) + c * kLanes);
        accumulate(sums, n_units, panel.get(), [&](int r, i64 k) { return picked[k][first + r]; });
        for (int r = 0; r < R; r++)
          for (int c = 0; c < C; c++) store(total.row(first + r) + c * kLanes, sums[r][c]);
      });
    }
  }

  // total -= what rows have added for channels that they dropped.
  void take_off_dropped(const Total<Input>& total, const DroppedValues& dropped, int direction, i64 group) const {
    constexpr int C = Input::kCount;
    Buffer<Unit> panel((job_.n_steps + 1) * C * kLanes);
    Buffer<i64> tokens(job_.n_steps);
    for (i64 place = 0; place < dropped.n_rows; place++) {
      const i64 n_channels = dropped.n_channels(place), n_units = dropped.n_units(place);
      if (n_channels == 0) continue;
      for (i64 step = 0; step < dropped.length(place); step++) tokens.get()[step] = dropped.token(place, step);
      const GatesAt source{*this, direction, group, tokens.get(), dropped.length(place)};
      for (i64 k = 0; k < n_units; k++)
        for (int c = 0; c < C; c++) store_units(panel.get() + (k * C + c) * kLanes, source.unit(k, Input::kFirst + c));
      const Unit* values = dropped.values(place);
      const i64* channels = dropped.channels(place);
      for_tiles<C>(n_channels, [&](auto height, i64 first) INLINE_LAMBDA {
        constexpr int R = decltype(height)::value;
        Vector sums[R][C] = {};
        accumulate(sums, n_units, panel.get(), [&](int r, i64 k) { return values[k * n_channels + first + r]; });
        for (int r = 0; r < R; r++)
          for (int c = 0; c < C; c++) {
            Number* at = total.row(channels[first + r]) + c * kLanes;
            store(at, load(at) - sums[r][c]);
          }
      });
    }
  }

  // Transpose a total into one group's rows of the weight's gradient.
  template <class Total>
  void write(const Total& total, i64 group, void* grad) const {
    for (i64 lane = 0; lane < kLanes && group * kLanes + lane < job_.n_hidden; lane++)
      for (int c = 0; c < Total::C; c++) {
        const i64 gate = Total::Range::gate(Total::Range::kFirst + c);
        Number* to = static_cast<Number*>(grad) + (gate * job_.n_hidden + group * kLanes + lane) * total.n_columns;
        for (i64 e = 0; e < total.n_columns; e++) to[e] = total.row(e)[c * kLanes + lane];
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

  const Job& job_;
  Sizes sizes_;
};

}  // namespace textclf
