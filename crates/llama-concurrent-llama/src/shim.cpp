// llama.cpp reports some failures as C++ exceptions or aborts, which must not unwind into Rust or end the process.
// The functions here call llama.cpp and turn them into ordinary results (guard.h). Some also read what only its C++
// headers expose: the memory ranges of weights and KV caches, and the tensors of an architecture.

#include "gguf.h"
#include "guard.h"
#include "llama-ext.h"
#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache.h"
#include "llama.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

// Of llama-model.h, which includes half of llama.cpp.
const std::vector<std::pair<std::string, ggml_tensor *>> & llama_internal_get_tensor_map(const llama_model * model);

namespace {

struct lc_range {
    const void * data;
    uint64_t size;
};

// Ranges of memory, each buffer once.
struct range_list {
    lc_range * ranges;
    size_t max;
    size_t n = 0;

    void add(ggml_backend_buffer_t buffer) {
        if (!buffer || n == max) {
            return;
        }
        const void * data = ggml_backend_buffer_get_base(buffer);
        for (size_t i = 0; i < n; i++) {
            if (ranges[i].data == data) {
                return;
            }
        }
        ranges[n++] = {data, ggml_backend_buffer_get_size(buffer)};
    }

    void add(const llama_kv_cache * kv) {
        for (uint32_t layer : kv->get_layer_ids()) {
            const ggml_tensor * k = kv->get_k_storage((int32_t) layer);
            add(k ? k->buffer : nullptr);
        }
    }
};

}  // namespace

extern "C" {

llama_model * lc_model_load(const char * path, llama_model_params params, char * message, size_t size) {
    return guard::call<llama_model *>(message, size, nullptr, [&] { return llama_model_load_from_file(path, params); });
}

llama_context * lc_context_new(llama_model * model, llama_context_params params, char * message, size_t size) {
    return guard::call<llama_context *>(message, size, nullptr, [&] { return llama_init_from_model(model, params); });
}

// llama_decode's own results, or -100 for an exception.
int32_t lc_decode(llama_context * context, llama_batch batch, char * message, size_t size) {
    return guard::call<int32_t>(message, size, -100, [&] { return llama_decode(context, batch); });
}

// llama_tokenize's own results, or INT32_MIN for an exception.
int32_t lc_tokenize(const llama_vocab * vocab, const char * text, int32_t length, llama_token * tokens, int32_t n_max,
                    bool add_special, bool parse_special, char * message, size_t size) {
    return guard::call<int32_t>(message, size, INT32_MIN, [&] {
        return llama_tokenize(vocab, text, length, tokens, n_max, add_special, parse_special);
    });
}

// The special tokens that llama.cpp searches for, in its order. It sorts them by length with std::sort, whose order of
// equal elements can only be reproduced by the same call on the same ids. Returns their number, and writes at most n_max.
int32_t lc_special_tokens(const llama_vocab * vocab, llama_token * tokens, int32_t n_max) {
    return guard::call<int32_t>(nullptr, 0, -1, [&] {
        const int32_t n_vocab = llama_vocab_n_tokens(vocab);
        std::vector<size_t> length(n_vocab);
        std::vector<llama_token> special;
        for (llama_token id = 0; id < n_vocab; ++id) {
            if (llama_vocab_get_attr(vocab, id) &
                (LLAMA_TOKEN_ATTR_CONTROL | LLAMA_TOKEN_ATTR_USER_DEFINED | LLAMA_TOKEN_ATTR_UNKNOWN)) {
                length[id] = std::strlen(llama_vocab_get_text(vocab, id));
                special.push_back(id);
            }
        }
        std::sort(special.begin(), special.end(),
                  [&](const llama_token a, const llama_token b) { return length[a] > length[b]; });
        std::copy_n(special.begin(), std::min<size_t>(special.size(), n_max), tokens);
        return (int32_t) special.size();
    });
}

struct lc_memory {
    uint64_t repack_bytes;
    uint64_t kv_bytes;
    uint64_t compute_bytes;
};

// The memory of a context and its model besides the weights of the file. Weights in a buffer other than ordinary host
// memory (mapped or read) were repacked for the CPU.
lc_memory lc_memory_of(const llama_context * context) {
    return guard::call<lc_memory>(nullptr, 0, lc_memory{}, [&] {
        lc_memory memory = {};
        for (const auto & [buffer_type, bytes] : llama_get_memory_breakdown(context)) {
            const char * name = ggml_backend_buft_name(buffer_type);
            if (std::strcmp(name, "CPU") != 0 && std::strcmp(name, "CPU_Mapped") != 0) {
                memory.repack_bytes += bytes.model;
            }
            memory.kv_bytes += bytes.context;
            memory.compute_bytes += bytes.compute;
        }
        return memory;
    });
}

struct lc_weight {
    const char *    name;
    const char *    buffer;
    const void *    data;
    uint64_t        size;
    const int64_t * dims;
    int32_t         type;
};

// Visits each weight in memory. A matrix with two roles in two buffers is visited twice.
void lc_each_weight(const llama_model * model, void (*each)(const lc_weight *, void *), void * user_data) {
    guard::call<int>(nullptr, 0, 0, [&] {
        for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
            if (tensor->buffer) {
                const lc_weight weight{name.c_str(),         ggml_backend_buffer_name(tensor->buffer),
                                       tensor->data,         ggml_nbytes(tensor),
                                       tensor->ne,           (int32_t) tensor->type};
                each(&weight, user_data);
            }
        }
        return 0;
    });
}

// Visits each tensor, with its four dimensions, of the model that a file of metadata alone describes. Returns whether the
// model could be created. The weights are not set.
bool lc_each_tensor(const char * path, void (*each)(const char *, const int64_t *, void *), void * user_data, char * message,
                    size_t size) {
    return guard::call<bool>(message, size, false, [&] {
        gguf_context * metadata = gguf_init_from_file(path, {true, nullptr});
        if (!metadata) {
            return false;
        }
        llama_model_params params = llama_model_default_params();
        llama_model * model = llama_model_init_from_user(metadata, [](ggml_tensor *, void *) {}, nullptr, params);
        if (model) {
            for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
                each(name.c_str(), tensor->ne, user_data);
            }
            llama_model_free(model);
        }
        gguf_free(metadata);
        return model != nullptr;
    });
}

// The buffers of a model's weights: how many there are, `max` at most.
size_t lc_weight_ranges(const llama_model * model, lc_range * ranges, size_t max) {
    return guard::call<size_t>(nullptr, 0, 0, [&] {
        range_list list{ranges, max};
        for (const auto & [name, tensor] : llama_internal_get_tensor_map(model)) {
            list.add(tensor->buffer);
        }
        return list.n;
    });
}

// The same for a context's KV cache, if it is a plain one or a plain and a sliding-window one.
size_t lc_kv_ranges(const llama_context * context, lc_range * ranges, size_t max) {
    return guard::call<size_t>(nullptr, 0, 0, [&] {
        range_list list{ranges, max};
        const llama_memory_i * memory = llama_get_memory(context);
        if (const auto * kv = dynamic_cast<const llama_kv_cache *>(memory)) {
            list.add(kv);
        } else if (const auto * both = dynamic_cast<const llama_kv_cache_iswa *>(memory)) {
            list.add(both->get_base());
            list.add(both->get_swa());
        }
        return list.n;
    });
}

}  // extern "C"
