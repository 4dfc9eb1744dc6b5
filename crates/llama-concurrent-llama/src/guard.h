// What llama.cpp reports as an exception, or as an abort of the process, made an ordinary result.
//
// ggml asserts what a model or a call must fulfil, and ends the process where it does not. Such a check that fails while a
// model is loaded, a text is cut into tokens or a graph is built comes from this thread, which holds nothing that others wait
// for, so it can be left as by any exception: see `on_abort` in guard.cpp.

#pragma once

#include <cstddef>
#include <cstdio>
#include <exception>

namespace guard {

// From here to the end of the scope, an abort on this thread is an exception.
class scope {
  public:
    scope();
    ~scope();
    scope(const scope &) = delete;
    scope & operator=(const scope &) = delete;
};

// Writes what was thrown into the caller's buffer. What ggml would have aborted with comes first: llama.cpp catches some
// exceptions itself, and only logs them.
void describe(char * message, size_t size, const char * text);

// What ggml would have aborted with in this scope, written into the buffer; whether there was any.
bool describe_abort(char * message, size_t size);

template <typename Result, typename Call>
Result call(char * message, size_t size, Result failed, Call call) noexcept {
    scope scope;
    try {
        Result result = call();
        describe_abort(message, size);
        return result;
    } catch (const std::exception & e) {
        describe(message, size, e.what());
    } catch (...) {
        describe(message, size, "an exception of unknown type");
    }
    return failed;
}

}  // namespace guard
