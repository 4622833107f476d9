// Work on whole rows and tokens: looking embeddings up, and reducing a row's states to features.
#pragma once

#include "job.h"

namespace textclf {

INLINE float to_number(float value) { return value; }
INLINE double to_number(double value) { return value; }

// Mirrored by textclf/native/library.py.
struct Lookup {
  i64 n_tokens, n_channels, n_threads;
  const uint8_t* caps;      // (n_tokens,) a flag that becomes the last channel, or null
  const i64* token_ids;     // (n_tokens,) rows of the table
  const i64* row_of_token;  // (n_tokens,) rows of the mask
  const Number* table;      // (n_words, n_channels)
  const Number* mask;       // (n_rows, width), or null
  Stored* output;           // (n_tokens, width)
};

inline void look_up(const Lookup& job) {
  const i64 width = job.n_channels + (job.caps ? 1 : 0);
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(job.n_threads))
  for (i64 token = 0; token < job.n_tokens; token++) {
    const Number* from = job.table + job.token_ids[token] * job.n_channels;
    const Number* mask = job.mask ? job.mask + job.row_of_token[token] * width : nullptr;
    Stored* to = job.output + token * width;
    for (i64 e = 0; e < job.n_channels; e++) assign(to[e], mask ? from[e] * mask[e] : from[e]);
    if (job.caps) assign(to[width - 1], job.caps[token] * (mask ? mask[width - 1] : 1));
  }
}

// Mirrored by textclf/native/library.py.
struct Pooling {
  i64 n_rows, n_hidden, n_threads;
  const i64* lengths;      // (n_rows,) tokens of each row
  const i64* first_token;  // (n_rows,) where a row's first token lies in the flat sequence
  const i64* step_start;   // where each step begins in it
  const Stored* states;    // (n_tokens, 2 * n_hidden)
  Number* features;        // (n_rows, 6 * n_hidden): last forward, last backward, mean, max
  int32_t* highest;        // (n_rows, 2 * n_hidden) the first step that has the maximum
  const Number* grad_features;
  Stored* grad_states;
};

inline void pool(const Pooling& job) {
  const i64 width = 2 * job.n_hidden;
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(job.n_threads))
  for (i64 row = 0; row < job.n_rows; row++) {
    const i64 n_steps = job.lengths[row];
    auto state = [&](i64 step) { return job.states + (job.step_start[step] + job.first_token[row]) * width; };
    Number* last = job.features + row * 3 * width;
    Number *mean = last + width, *top = last + 2 * width;
    int32_t* highest = job.highest + row * width;
    for (i64 c = 0; c < width; c++) {
      last[c] = to_number(state(c < job.n_hidden ? n_steps - 1 : 0)[c]);
      mean[c] = top[c] = to_number(state(0)[c]);
      highest[c] = 0;
    }
    for (i64 step = 1; step < n_steps; step++) {
      const Stored* values = state(step);
      for (i64 c = 0; c < width; c++) {
        Number value = to_number(values[c]);
        mean[c] += value;
        highest[c] = value > top[c] ? static_cast<int32_t>(step) : highest[c];
        top[c] = value > top[c] ? value : top[c];
      }
    }
    for (i64 c = 0; c < width; c++) mean[c] /= static_cast<Number>(n_steps);
  }
}

inline void pool_backward(const Pooling& job) {
  const i64 width = 2 * job.n_hidden;
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(job.n_threads))
  for (i64 row = 0; row < job.n_rows; row++) {
    const i64 n_steps = job.lengths[row];
    const Number* last = job.grad_features + row * 3 * width;
    const Number *mean = last + width, *top = last + 2 * width;
    const int32_t* highest = job.highest + row * width;
    const Number share = Number{1} / static_cast<Number>(n_steps);
    for (i64 step = 0; step < n_steps; step++) {
      Stored* grad = job.grad_states + (job.step_start[step] + job.first_token[row]) * width;
      const Number forward = step == n_steps - 1, backward = step == 0;
      for (i64 c = 0; c < width; c++) {
        Number value = mean[c] * share + (highest[c] == step ? top[c] : 0);
        assign(grad[c], value + last[c] * (c < job.n_hidden ? forward : backward));
      }
    }
  }
}

// Mirrored by textclf/native/library.py.
struct Vocabulary {
  i64 n_tokens, n_ids;
  const i64* token_ids;   // (n_tokens,) below n_ids
  const uint8_t* caps;    // (n_tokens,) a flag that tells equal ids apart, or null
  i64* word_of_token;     // (n_tokens,) the results: words are numbered as they come
  i64* id_of_word;        // (n_tokens,) of which the first n_words are filled
  uint8_t* caps_of_word;  // likewise
  i64* occurrence_start;  // (n_tokens + 1,) likewise, n_words + 1
  i64* occurrences;       // (n_tokens,) tokens by word
  i64 n_words;
};

inline void find_words(Vocabulary& job) {
  Buffer<i64> word_of(2 * job.n_ids);  // one more than the word's number, 0 for words not yet met
  job.n_words = 0;
  for (i64 token = 0; token < job.n_tokens; token++) {
    const uint8_t caps = job.caps ? job.caps[token] != 0 : 0;
    i64& word = word_of.get()[2 * job.token_ids[token] + caps];
    if (word == 0) {
      job.id_of_word[job.n_words] = job.token_ids[token];
      job.caps_of_word[job.n_words] = caps;
      job.occurrence_start[job.n_words] = 0;
      word = ++job.n_words;
    }
    job.word_of_token[token] = word - 1;
    job.occurrence_start[word - 1]++;
  }
  i64 begin = 0;  // from counts to the place after each word's last occurrence, then back to front to its first
  for (i64 word = 0; word < job.n_words; word++) begin = job.occurrence_start[word] += begin;
  job.occurrence_start[job.n_words] = job.n_tokens;
  for (i64 token = job.n_tokens - 1; token >= 0; token--)
    job.occurrences[--job.occurrence_start[job.word_of_token[token]]] = token;
}

// Mirrored by textclf/native/library.py.
struct MaskSummary {
  i64 n_cells;
  const Number* mask;  // (n_cells,)
  i64 n_zero;          // the results: cells that are 0
  i64 n_kept;          // cells equal to the first that is not
  double scale;        // which is this, or 0
};

inline void summarise_mask(MaskSummary& job) {
  Number scale = 0;
  for (i64 i = 0; i < job.n_cells && scale == 0; i++) scale = job.mask[i];
  i64 n_zero = 0, n_kept = 0;
  for (i64 i = 0; i < job.n_cells; i++) {
    n_zero += job.mask[i] == 0;
    n_kept += job.mask[i] == scale;
  }
  job.n_zero = n_zero;
  job.n_kept = scale == 0 ? 0 : n_kept;
  job.scale = static_cast<double>(scale);
}

}  // namespace textclf
