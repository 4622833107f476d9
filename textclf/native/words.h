// Channels that rows of a batch of words have dropped.
#pragma once

#include "panels.h"

namespace textclf {

// The dropped channels of one row, as units of an inner product over channels.
class DroppedUnits {
 public:
  explicit DroppedUnits(const Job& job) : job_(job), unit_(job.n_inputs), mask_(job.n_inputs) {}

  void read(i64 row) {
    n = 0;
    const Number* mask = static_cast<const Number*>(job_.words.mask);
    if (!mask) return;
    for (i64 channel = 0; channel < job_.n_inputs; channel++) {
      if (mask[row * job_.n_inputs + channel] != 0) continue;
      const i64 unit = channel / kUnit;
      if (n == 0 || unit_.get()[n - 1] != unit) {
        unit_.get()[n] = unit;
        mask_.get()[n++] = 0;
      }
      mask_.get()[n - 1] |= 0xffffu << (channel % kUnit * 16);
    }
  }
  i64 unit(i64 k) const { return unit_.get()[k]; }
  uint32_t mask(i64 k) const { return mask_.get()[k]; }
  i64 n = 0;

 private:
  const Job& job_;
  Buffer<i64> unit_;
  Buffer<uint32_t> mask_;
};

// The dropped channels of all rows, and their values for each of a row's tokens: units of an inner product over
// tokens, as the gradient of a weight wants them.
class DroppedValues {
 public:
  explicit DroppedValues(const Job& job)
      : n_rows(job.words.n_words ? job.alive[0] : 0),
        job_(job),
        channel_start_(n_rows + 1),
        value_start_(n_rows + 1),
        channels_(count_channels()),
        values_(count_values()) {
#pragma omp parallel for schedule(static) num_threads(static_cast<int>(job.n_threads))
    for (i64 place = 0; place < n_rows; place++) fill(place);
  }
  i64 n_channels(i64 place) const { return channel_start_.get()[place + 1] - channel_start_.get()[place]; }
  i64 n_units(i64 place) const { return (length(place) + kUnit - 1) / kUnit; }
  i64 length(i64 place) const { return job_.words.lengths[job_.words.row_at[place]]; }
  i64 token(i64 place, i64 step) const { return job_.step_start[step] + place; }
  const i64* channels(i64 place) const { return channels_.get() + channel_start_.get()[place]; }
  const Unit* values(i64 place) const { return values_.get() + value_start_.get()[place]; }  // (n_units, n_channels)

  const i64 n_rows;

 private:
  const Number* mask(i64 place) const {
    return static_cast<const Number*>(job_.words.mask) + job_.words.row_at[place] * job_.n_inputs;
  }
  i64 count_channels() {
    for (i64 place = 0; place < n_rows; place++) {
      i64 n = 0;
      if (job_.words.mask)
        for (i64 channel = 0; channel < job_.n_inputs; channel++) n += mask(place)[channel] == 0;
      channel_start_.get()[place + 1] = channel_start_.get()[place] + n;
      value_start_.get()[place + 1] = value_start_.get()[place] + n * n_units(place);
    }
    return channel_start_.get()[n_rows];
  }
  i64 count_values() const { return value_start_.get()[n_rows]; }

  void fill(i64 place) {
    if (!job_.words.mask) return;
    i64* channel_at = channels_.get() + channel_start_.get()[place];
    for (i64 channel = 0; channel < job_.n_inputs; channel++)
      if (mask(place)[channel] == 0) *channel_at++ = channel;
    Unit* value = values_.get() + value_start_.get()[place];
    const i64 n = n_channels(place);
    for (i64 step = 0; step < length(place); step++) {
      const Stored* vector =
          static_cast<const Stored*>(job_.input) + job_.words.word_of_token[token(place, step)] * job_.input_stride;
      for (i64 i = 0; i < n; i++)
        reinterpret_cast<Stored*>(value + step / kUnit * n + i)[step % kUnit] = vector[channels(place)[i]];
    }
  }

  const Job& job_;
  Buffer<i64> channel_start_, value_start_;
  Buffer<i64> channels_;
  Buffer<Unit> values_;
};

}  // namespace textclf
