// Weights laid out for the inner loop: panels some vectors wide, row k after row k - 1.
#pragma once

#include "job.h"

namespace textclf {

// Write element (k, column) of a panel that is n_vectors wide.
INLINE void set_element(Unit* panel, i64 n_vectors, i64 k, i64 column, Number value) {
  assign(reinterpret_cast<Stored*>(panel)[(k / kUnit * n_vectors * kLanes + column) * kUnit + k % kUnit], value);
}

// One direction's weight matrix, (n_gates * n_hidden, n_columns) as torch has it.
struct Weight {
  const Number* data;
  i64 n_hidden, n_columns;
  Weight(const void* data, i64 n_hidden, i64 n_columns)
      : data(static_cast<const Number*>(data)), n_hidden(n_hidden), n_columns(n_columns) {}
  const Number* row(int gate, i64 unit) const { return data + (gate * n_hidden + unit) * n_columns; }
};

// For products with a vector per gate: one panel per group, rows are the matrix's columns, columns are (slot, lane).
template <class Range>
class GatePanels {
 public:
  explicit GatePanels(const Weight& weight)
      : n_units(round_up(weight.n_columns, kUnit) / kUnit),
        data_(round_up(weight.n_hidden, kLanes) * n_units * Range::kCount) {
    for (i64 unit = 0; unit < weight.n_hidden; unit++)
      for (int i = 0; i < Range::kCount; i++) {
        const Number* row = weight.row(Range::gate(Range::kFirst + i), unit);
        Unit* panel = data_.get() + unit / kLanes * size();
        for (i64 k = 0; k < weight.n_columns; k++)
          set_element(panel, Range::kCount, k, i * kLanes + unit % kLanes, row[k]);
      }
  }
  const Unit* at(i64 group) const { return data_.get() + group * size(); }
  const i64 n_units;  // rows of a panel, counted in units

 private:
  i64 size() const { return n_units * Range::kCount * kLanes; }
  Buffer<Unit> data_;
};

// For products back from the gates: rows are (group, slot, lane), columns are the matrix's columns, cut into panels
// of four vectors and a narrower last one.
class ColumnPanels {
 public:
  template <class Range>
  ColumnPanels(const Weight& weight, Range)
      : n_vectors(round_up(weight.n_columns, kLanes) / kLanes),
        n_groups_(round_up(weight.n_hidden, kLanes) / kLanes),
        first_slot_(Range::kFirst),
        group_units_(Range::kCount * kLanes / kUnit),
        data_(n_groups_ * group_units_ * n_vectors * kLanes) {
    for (i64 unit = 0; unit < weight.n_hidden; unit++)
      for (int i = 0; i < Range::kCount; i++) {
        const Number* row = weight.row(Range::gate(Range::kFirst + i), unit);
        i64 k = unit / kLanes * Range::kCount * kLanes + i * kLanes + unit % kLanes;
        for (i64 column = 0; column < weight.n_columns; column++) {
          i64 vector = column / kLanes / kWidest * kWidest;
          set_element(panel(vector), width(vector), k, column - vector * kLanes, row[column]);
        }
      }
  }

  // to (n, n_vectors * kLanes) += gates (n, gate_row apart) times the matrix.
  void multiply_add(Number* to, const Stored* gates, i64 gate_row, i64 n) const {
    for (i64 vector = 0; vector < n_vectors; vector += kWidest)
      with_constant<kWidest>(width(vector), [&](auto width) INLINE_LAMBDA {
        constexpr int C = decltype(width)::value;
        for_tiles<C>(n, [&](auto height, i64 first) INLINE_LAMBDA {
          constexpr int R = decltype(height)::value;
          Number* at = to + (first * n_vectors + vector) * kLanes;
          Vector sums[R][C];
          for (int r = 0; r < R; r++)
            for (int c = 0; c < C; c++) sums[r][c] = load(at + (r * n_vectors + c) * kLanes);
          for (i64 group = 0; group < n_groups_; group++) {
            const Stored* rows = gates + first * gate_row + (group * kSlots + first_slot_) * kLanes;
            accumulate(sums, group_units_, panel(vector) + group * group_units_ * C * kLanes,
                       [&](int r, i64 k) { return unit_at(rows + r * gate_row, k); });
          }
          for (int r = 0; r < R; r++)
            for (int c = 0; c < C; c++) store(at + (r * n_vectors + c) * kLanes, sums[r][c]);
        });
      });
  }

  const i64 n_vectors;

 private:
  static constexpr int kWidest = 4;
  i64 width(i64 vector) const { return n_vectors - vector < kWidest ? n_vectors - vector : kWidest; }
  Unit* panel(i64 vector) const { return data_.get() + vector * n_groups_ * group_units_ * kLanes; }
  i64 n_groups_;
  int first_slot_;
  i64 group_units_;
  Buffer<Unit> data_;
};

}  // namespace textclf
