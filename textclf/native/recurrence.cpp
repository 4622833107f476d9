// The C interface, called by textclf/native/library.py through ctypes.
#include "backward.h"
#include "forward.h"
#include "rows.h"

using namespace textclf;

#define EXPORT __attribute__((visibility("default")))

extern "C" {

EXPORT i64 textclf_lanes() { return kLanes; }
EXPORT void textclf_lstm_forward(const Job* job) { Forward<LstmCell>(*job).run(); }
EXPORT void textclf_lstm_backward(const Job* job) { Backward<LstmCell>(*job).run(); }
EXPORT void textclf_gru_forward(const Job* job) { Forward<GruCell>(*job).run(); }
EXPORT void textclf_gru_backward(const Job* job) { Backward<GruCell>(*job).run(); }
EXPORT void textclf_look_up(const Lookup* job) { look_up(*job); }
EXPORT void textclf_find_words(Vocabulary* job) { find_words(*job); }
EXPORT void textclf_summarise_mask(MaskSummary* job) { summarise_mask(*job); }
EXPORT void textclf_pool(const Pooling* job) { pool(*job); }
EXPORT void textclf_pool_backward(const Pooling* job) { pool_backward(*job); }
}
