#include "guard.h"

#include "ggml-cpu.h"
#include "ggml.h"

#include <cstdint>
#include <stdexcept>
#include <string>

#if defined(__GNUC__)
#include <unwind.h>
#endif

namespace guard {

namespace {

thread_local int depth = 0;
thread_local std::string aborted_with;

ggml_abort_callback_t previous = nullptr;

// Whether this thread is computing a graph. The other threads of its pool then wait for it at their next barrier, and
// would wait forever.
bool is_computing() {
#if defined(__GNUC__)
    bool found = false;
    _Unwind_Backtrace(
        [](_Unwind_Context * frame, void * found) {
            if (_Unwind_GetRegionStart(frame) == reinterpret_cast<uintptr_t>(&ggml_graph_compute)) {
                *static_cast<bool *>(found) = true;
                return _URC_NORMAL_STOP;
            }
            return _URC_NO_REASON;
        },
        &found);
    return found;
#else
    return true;
#endif
}

// ggml calls this, and aborts when it returns.
void on_abort(const char * message) {
    if (depth > 0 && !is_computing()) {
        aborted_with = message;
        throw std::runtime_error(aborted_with);
    }
    if (previous) {
        previous(message);
    } else {
        std::fprintf(stderr, "%s\n", message);
    }
}

void install() {
    static const bool once = [] {
        previous = ggml_set_abort_callback(on_abort);
        return true;
    }();
    (void) once;
}

}  // namespace

scope::scope() {
    install();
    if (depth++ == 0) {
        aborted_with.clear();
    }
}

scope::~scope() {
    depth--;
}

bool describe_abort(char * message, size_t size) {
    if (aborted_with.empty() || message == nullptr || size == 0) {
        return false;
    }
    std::snprintf(message, size, "%s", aborted_with.c_str());
    return true;
}

void describe(char * message, size_t size, const char * text) {
    if (!describe_abort(message, size) && message != nullptr && size > 0) {
        std::snprintf(message, size, "%s", text);
    }
}

}  // namespace guard
