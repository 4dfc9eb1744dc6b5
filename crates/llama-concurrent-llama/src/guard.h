// Turns exceptions of llama.cpp and aborts of ggml into ordinary results.
//
// ggml asserts what a model or a call must fulfil, and aborts the process if it does not. When such a check fails while a
// model is loaded, a text is tokenized or a graph is built, it fails on this thread, which holds nothing that other threads
// wait for. It can therefore be turned into an exception: see `on_abort` in guard.cpp.

#pragma once

#include <cstddef>
#include <cstdio>
#include <exception>

namespace guard {

// From here to the end of the scope, an abort on this thread throws an exception.
class scope {
  public:
    scope();
    ~scope();
    scope(const scope &) = delete;
    scope & operator=(const scope &) = delete;
};

// Writes the message of the exception into the caller's buffer. The message of an abort comes first: llama.cpp catches
// some exceptions itself, and only logs them.
void describe(char * message, size_t size, const char * text);

// Writes the message of an abort in this scope into the buffer. Returns whether there was one.
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
