// The arithmetic of one step of a cell, for one row and one group of units.
#pragma once

#include "job.h"

namespace textclf {

struct LstmCell : Lstm {
  static constexpr bool kHasCell = true;

  // gates holds the input's share and gets the activations; recurrent is the previous state's share.
  static INLINE Vector forward(Stored* gates, const Vector* recurrent, const Number*, Vector, Vector cell_before,
                               Vector& cell) {
    Vector i = sigmoid(load(gates) + recurrent[0]), f = sigmoid(load(gates + kLanes) + recurrent[1]);
    Vector g = squash(load(gates + 2 * kLanes) + recurrent[2]), o = sigmoid(load(gates + 3 * kLanes) + recurrent[3]);
    store(gates, i);
    store(gates + kLanes, f);
    store(gates + 2 * kLanes, g);
    store(gates + 3 * kLanes, o);
    cell = f * cell_before + i * g;
    return o * squash(cell);
  }

  // gates holds the activations and gets their gradients; returns what reaches the previous state beside the gates.
  static INLINE Vector backward(Stored* gates, Vector grad_state, Vector& grad_cell, Vector, Vector cell_before,
                                Vector cell) {
    Vector i = load(gates), f = load(gates + kLanes), g = load(gates + 2 * kLanes), o = load(gates + 3 * kLanes);
    Vector squashed = squash(cell);
    Vector total = grad_state * o * (1.0f - squashed * squashed) + grad_cell;
    store(gates, total * g * i * (1.0f - i));
    store(gates + kLanes, total * cell_before * f * (1.0f - f));
    store(gates + 2 * kLanes, total * i * (1.0f - g * g));
    store(gates + 3 * kLanes, grad_state * squashed * o * (1.0f - o));
    grad_cell = total * f;
    return Vector{};
  }
};

struct GruCell : Gru {
  static constexpr bool kHasCell = false;

  static INLINE Vector forward(Stored* gates, const Vector* recurrent, const Number* bias, Vector state_before, Vector,
                               Vector&) {
    Vector r = sigmoid(load(gates + kLanes) + recurrent[0]), z = sigmoid(load(gates + 2 * kLanes) + recurrent[1]);
    Vector m = recurrent[2] + load(bias + 3 * kLanes);
    Vector n = squash(load(gates) + r * m);
    store(gates, n);
    store(gates + kLanes, r);
    store(gates + 2 * kLanes, z);
    store(gates + 3 * kLanes, m);
    return n + z * (state_before - n);
  }

  static INLINE Vector backward(Stored* gates, Vector grad_state, Vector&, Vector state_before, Vector, Vector) {
    Vector n = load(gates), r = load(gates + kLanes), z = load(gates + 2 * kLanes), m = load(gates + 3 * kLanes);
    Vector grad_n = grad_state * (1.0f - z) * (1.0f - n * n);
    store(gates, grad_n);
    store(gates + kLanes, grad_n * m * r * (1.0f - r));
    store(gates + 2 * kLanes, grad_state * (state_before - n) * z * (1.0f - z));
    store(gates + 3 * kLanes, grad_n * r);
    return grad_state * z;
  }
};

}  // namespace textclf
