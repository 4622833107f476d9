// Numbers, vectors of them, and the one inner loop that all matrix products share.
//
// The source is compiled once per instruction set and precision (TEXTCLF_FP32, TEXTCLF_BF16 or TEXTCLF_FP64 defined).
// Compiler vector extensions do the work; the only intrinsics are those for bfloat16, which have no portable spelling.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX512BF16__)
#include <immintrin.h>
#endif

#define INLINE inline __attribute__((always_inline))
#define INLINE_LAMBDA __attribute__((always_inline))

namespace textclf {

using i64 = int64_t;

struct bfloat16 {
  uint16_t bits;
};

// What is stored, what is computed in, and the unit of inner products.
#if defined(TEXTCLF_BF16)
using Stored = bfloat16;
using Number = float;
using Unit = uint32_t;  // two neighbours: the low half is the even element, the high half the odd one
#elif defined(TEXTCLF_FP64)
using Stored = double;
using Number = double;
using Unit = double;
#else
using Stored = float;
using Number = float;
using Unit = float;
#endif
constexpr int kUnit = sizeof(Unit) / sizeof(Stored);

#if defined(__AVX512F__)
constexpr int kVectorBytes = 64;
constexpr int kAccumulators = 24;  // of 32 registers; the others hold one row of B and one element of A
#elif defined(__AVX2__)
constexpr int kVectorBytes = 32;
constexpr int kAccumulators = 12;  // of 16 registers
#else
constexpr int kVectorBytes = 16;
constexpr int kAccumulators = 12;
#endif

constexpr int kLanes = kVectorBytes / sizeof(Number);
constexpr int kSlots = 4;  // vectors per group of kLanes units: four gates of an LSTM, four parts of a GRU

typedef Number Vector __attribute__((vector_size(kVectorBytes)));
typedef Unit UnitVector __attribute__((vector_size(kVectorBytes)));

constexpr i64 round_up(i64 n, i64 step) { return (n + step - 1) / step * step; }

// ---- load, store ----

INLINE Vector load(const Number* from) {
  Vector value;
  memcpy(&value, from, sizeof value);
  return value;
}

INLINE void store(Number* to, Vector value) { memcpy(to, &value, sizeof value); }

INLINE UnitVector load_units(const Unit* from) {
  UnitVector value;
  memcpy(&value, from, sizeof value);
  return value;
}

INLINE void store_units(Unit* to, UnitVector value) { memcpy(to, &value, sizeof value); }

INLINE void assign(Number& to, Number value) { to = value; }

// sum += a * b, contracted to one instruction where there is one.
template <class N, class V>
INLINE void multiply_add(V& sum, N a, V b) {
  sum += a * b;
}

INLINE Unit unit_at(const Stored* row, i64 k) {
  Unit value;
  memcpy(&value, row + k * kUnit, sizeof value);
  return value;
}

// The kept part of a unit; without pairs a unit is kept whole.
template <class T>
INLINE T keep(T unit, uint32_t) {
  return unit;
}

// Units of two rows, element by element; without pairs a unit is the even row's alone.
template <class T>
INLINE UnitVector pair(const T* even, const T*) {
  return load_units(even);
}

}  // namespace textclf

#if defined(TEXTCLF_BF16)
#include "bfloat16.h"
#endif

namespace textclf {

// sums[r][c] += product over k of element(r, k) and vector c of row_of(k): `element` says where A comes from, `row_of`
// where B does.
template <int R, int C, class RowOf, class Element>
INLINE void accumulate_rows(Vector (&sums)[R][C], i64 n_units, RowOf row_of, Element element) {
  for (i64 k = 0; k < n_units; k++) {
    const Unit* row = row_of(k);
    UnitVector b[C];
#pragma GCC unroll 8
    for (int c = 0; c < C; c++) b[c] = load_units(row + c * kLanes);
#pragma GCC unroll 8
    for (int r = 0; r < R; r++) {
      Unit a = element(r, k);
#pragma GCC unroll 8
      for (int c = 0; c < C; c++) multiply_add(sums[r][c], a, b[c]);
    }
  }
}

// The same over all rows of a panel.
template <int R, int C, class Element>
INLINE void accumulate(Vector (&sums)[R][C], i64 n_units, const Unit* panel, Element element) {
  accumulate_rows(sums, n_units, [&](i64 k) INLINE_LAMBDA { return panel + k * C * kLanes; }, element);
}

// Call f with the number n, 1 <= n <= Max, as a compile-time constant.
template <int N>
struct Constant {
  static constexpr int value = N;
};

template <int Max, class F>
INLINE void with_constant(i64 n, F f) {
  if constexpr (Max == 1) {
    f(Constant<1>());
  } else {
    if (n == Max) {
      f(Constant<Max>());
    } else {
      with_constant<Max - 1>(n, f);
    }
  }
}

// Cut n rows into the fewest tiles that fit the registers with C vectors a row, all nearly equally high, and call
// f(height, first row) for each.
template <int C, class F>
INLINE void for_tiles(i64 n, F f) {
  constexpr int kHighest = kAccumulators / C < 8 ? kAccumulators / C : 8;
  i64 n_tiles = (n + kHighest - 1) / kHighest;
  for (i64 tile = 0, first = 0; tile < n_tiles; tile++) {
    i64 height = (n - first + n_tiles - tile - 1) / (n_tiles - tile);
    with_constant<kHighest>(height, [&](auto rows) INLINE_LAMBDA { f(rows, first); });
    first += height;
  }
}

// ---- squashing functions ----

// tanh as a rational function, minimax on [-8, 8] and constant beyond: 4e-7 relative; a NaN stays a NaN.
template <class V>
INLINE V rational_tanh(V x) {
  const V limit = V{} + 8.0f;
  x = x > limit ? limit : x;
  x = x < -limit ? -limit : x;
  V z = x * x;
  V p = 1.5230436e-8f * z + 2.1894676e-5f;
  p = p * z + 3.5715989e-3f;
  p = p * z + 1.3444499e-1f;
  p = p * z + 0.99999999f;
  V q = 8.5224543e-7f * z + 3.4112934e-4f;
  q = q * z + 2.6164446e-2f;
  q = q * z + 4.6777826e-1f;
  q = q * z + 1.0f;
  return x * p / q;
}

INLINE Vector squash(Vector x) {
  if (sizeof(Number) == sizeof(float)) return rational_tanh(x);
  for (int lane = 0; lane < kLanes; lane++) x[lane] = __builtin_tanh(x[lane]);
  return x;
}

INLINE Vector sigmoid(Vector x) { return squash(x * 0.5f) * 0.5f + 0.5f; }

}  // namespace textclf
