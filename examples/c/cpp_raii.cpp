// A small C++ wrapper: an engine that frees itself, errors as exceptions, callbacks as lambdas, results as futures.
//
//     c++ -std=c++17 cpp_raii.cpp -o cpp_raii -pthread $(pkg-config --cflags --libs llama_concurrent)
//     ./cpp_raii [MODEL]

#include <llama_concurrent.h>

#include <cstdio>
#include <functional>
#include <future>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace llama {

struct Error : std::runtime_error {
    llama_infer_status status;
    Error(llama_infer_status status, const char *message) : std::runtime_error(message), status(status) {}
};

inline void check(llama_infer_status status) {
    if (status != LLAMA_INFER_STATUS_OK)
        throw Error(status, llama_infer_last_error());
}

class Engine {
  public:
    explicit Engine(const std::string &path, const llama_engine_params &params = llama_engine_default_params()) {
        llama_engine *engine = nullptr;
        check(llama_engine_load(path.c_str(), &params, &engine));
        handle_.reset(engine);
    }

    // Calls `on_text` as the text grows, on a thread of the library; the future has the whole text, or the exception.
    std::future<std::string> generate(const std::string &prompt, const llama_infer_params &params,
                                      std::function<void(std::string_view)> on_text = {}) {
        auto request = std::make_unique<Request>();
        request->on_text = std::move(on_text);
        auto result = request->promise.get_future();
        check(llama_infer_async(handle_.get(), prompt.c_str(), &params, on_event, request.get(), nullptr));
        request.release(); // it belongs to its last event now
        return result;
    }

  private:
    struct Request {
        std::promise<std::string> promise;
        std::function<void(std::string_view)> on_text;
    };

    // Nothing may be thrown through C: what a callback throws goes into the future, and ends the request.
    static void on_event(const llama_infer_event *event, void *user_data) noexcept {
        auto *request = static_cast<Request *>(user_data);
        if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN && request->on_text) {
            try {
                request->on_text({event->text, event->text_length});
            } catch (...) {
                request->on_text = nullptr;
                request->promise.set_exception(std::current_exception());
                llama_infer_cancel(event->engine, event->id);
            }
        } else if (event->type == LLAMA_INFER_EVENT_TYPE_FINISHED) {
            const llama_infer_result *result = event->result;
            try {
                if (result->error)
                    request->promise.set_exception(std::make_exception_ptr(Error(result->status, result->error)));
                else
                    request->promise.set_value({result->text, result->text_length});
            } catch (const std::future_error &) {
                // The callback's exception is there already.
            }
            delete request;
        }
    }

    struct Free {
        void operator()(llama_engine *engine) const { llama_engine_free(engine); }
    };
    std::unique_ptr<llama_engine, Free> handle_;
};

} // namespace llama

int main(int argc, char **argv) try {
    llama::Engine engine(argc > 1 ? argv[1] : "models/demo.gguf");
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 60;

    std::vector<std::future<std::string>> stories;
    for (const char *prompt : {"A small boat", "One cold morning", "In the garden"})
        stories.push_back(engine.generate(prompt, params));
    for (auto &story : stories)
        std::printf("...%s\n\n", story.get().c_str());

    // An exception in the callback ends its own request and comes out here.
    auto broken = engine.generate("Once upon a time", params,
                                  [](std::string_view) { throw std::runtime_error("the reader had enough"); });
    try {
        broken.get();
        return 1;
    } catch (const std::runtime_error &error) {
        std::printf("as expected: %s\n", error.what());
    }

    // A refusal is an exception at once.
    try {
        params.max_tokens = 1'000'000;
        engine.generate("Too much", params);
        return 1;
    } catch (const llama::Error &error) {
        std::printf("as expected: %s\n", error.what());
    }
    return 0;
} catch (const std::exception &error) {
    std::fprintf(stderr, "cpp_raii: %s\n", error.what());
    return 1;
}
