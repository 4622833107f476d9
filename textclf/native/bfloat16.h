// bfloat16: load, store, pairs and the dot product. Included by simd.h.
#pragma once

namespace textclf {

typedef uint16_t HalfVector __attribute__((vector_size(kLanes * 2)));
typedef uint32_t WordVector __attribute__((vector_size(kLanes * 4)));
typedef float FloatVector __attribute__((vector_size(kLanes * 4)));

INLINE float widen(uint16_t bits) {
  uint32_t word = uint32_t{bits} << 16;
  float number;
  memcpy(&number, &word, sizeof number);
  return number;
}

INLINE WordVector load_words(const bfloat16* from) {
  HalfVector halves;
  memcpy(&halves, from, sizeof halves);
  return __builtin_convertvector(halves, WordVector);
}

INLINE FloatVector load(const bfloat16* from) { return (FloatVector)(load_words(from) << 16); }

INLINE float to_number(bfloat16 value) { return widen(value.bits); }

// Round to nearest, ties to even; a NaN stays a NaN.
INLINE void assign(bfloat16& to, float value) {
  uint32_t bits;
  memcpy(&bits, &value, sizeof bits);
  to.bits = value != value ? 0x7fc0 : static_cast<uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

INLINE void store(bfloat16* to, FloatVector value) {
#if defined(__AVX512BF16__)
  __m256bh rounded = _mm512_cvtneps_pbh((__m512)value);
  memcpy(to, &rounded, sizeof rounded);
#else
  WordVector bits = (WordVector)value;
  WordVector rounded = (bits + 0x7fff + ((bits >> 16) & 1)) >> 16;
  rounded = value != value ? (WordVector{} + 0x7fc0) : rounded;
  HalfVector halves = __builtin_convertvector(rounded, HalfVector);
  memcpy(to, &halves, sizeof halves);
#endif
}

INLINE void multiply_add(FloatVector& sum, uint32_t a, WordVector b) {
#if defined(__AVX512BF16__)
  sum = (FloatVector)_mm512_dpbf16_ps((__m512)sum, (__m512bh)_mm512_set1_epi32(static_cast<int>(a)), (__m512bh)b);
#else
  sum += widen(static_cast<uint16_t>(a)) * (FloatVector)(b << 16);
  sum += widen(static_cast<uint16_t>(a >> 16)) * (FloatVector)(b & 0xffff0000u);
#endif
}

INLINE uint32_t keep(uint32_t unit, uint32_t mask) { return unit & mask; }

INLINE WordVector pair(const bfloat16* even, const bfloat16* odd) { return load_words(even) | (load_words(odd) << 16); }

}  // namespace textclf
