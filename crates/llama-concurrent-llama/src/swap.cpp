// Swaps the whole contents of two sequences of a context, in place.
//
// llama.cpp has no such operation: llama_state_seq_get_data omits what a sliding window hides from the next token, and
// llama_memory_seq_cp copies whole streams, with the next decode. Here every sequence has its own stream
// (kv_unified = false), so a swap exchanges rows of tensors and lists of cells.

#include "llama-kv-cache-dsa-iswa.h"
#include "llama-kv-cache-dsa.h"
#include "llama-kv-cache-iswa.h"
#include "llama-kv-cache-msa.h"
#include "llama-kv-cache.h"
#include "llama-kv-cells.h"
#include "llama.h"

#include <algorithm>
#include <cstring>
#include <exception>
#include <utility>
#include <vector>

// The layers of a cache are private, and so are the heads, from where each stream looks for free cells. An explicit
// instantiation may name private members, and exports them here.
auto & layers_of(llama_kv_cache & kv);
bool   v_is_transposed(llama_kv_cache & kv);
auto & heads_of(llama_kv_cache & kv);

template <auto Layers, auto VTrans, auto Heads> struct expose {
    friend auto & layers_of(llama_kv_cache & kv) { return kv.*Layers; }
    friend bool   v_is_transposed(llama_kv_cache & kv) { return kv.*VTrans; }
    friend auto & heads_of(llama_kv_cache & kv) { return kv.*Heads; }
};
template struct expose<&llama_kv_cache::layers, &llama_kv_cache::v_trans, &llama_kv_cache::v_heads>;

namespace {

// The plain caches of a memory; none if its kind is unknown.
std::vector<llama_kv_cache *> caches_of(llama_memory_i * memory) {
    if (auto * kv = dynamic_cast<llama_kv_cache *>(memory)) {
        return {kv};
    }
    if (auto * both = dynamic_cast<llama_kv_cache_iswa *>(memory)) {
        return {both->get_base(), both->get_swa()};
    }
    if (auto * both = dynamic_cast<llama_kv_cache_dsa *>(memory)) {
        return {both->get_mla(), both->get_lid()};
    }
    if (auto * all = dynamic_cast<llama_kv_cache_dsa_iswa *>(memory)) {
        return {all->get_dsa()->get_mla(), all->get_dsa()->get_lid(), all->get_swa()};
    }
    if (auto * both = dynamic_cast<llama_kv_cache_msa *>(memory)) {
        return {both->get_base(), both->get_idx()};
    }
    return {};
}

// The same cells, assigned to another sequence.
llama_kv_cells as_of(const llama_kv_cells & cells, llama_seq_id seq) {
    llama_kv_cells result;
    result.resize(cells.size());
    for (uint32_t i = cells.used_min(); i < cells.used_max_p1(); i++) {
        if (!cells.is_empty(i)) {
            result.pos_set(i, cells.pos_get(i));
            result.ext_set(i, cells.ext_get(i));
            result.seq_add(i, seq);
        }
    }
    return result;
}

void swap_bytes(char * a, char * b, size_t n) {
    char block[4096];
    for (size_t done = 0; done < n; done += sizeof(block)) {
        const size_t size = std::min(sizeof(block), n - done);
        std::memcpy(block, a + done, size);
        std::memcpy(a + done, b + done, size);
        std::memcpy(b + done, block, size);
    }
}

// The first `n_cells` cells of two streams of a tensor of [width, cells, streams], or of [cells, width] in each stream.
void swap_cells(ggml_tensor * tensor, uint32_t a, uint32_t b, uint32_t n_cells, bool transposed) {
    char * of_a = (char *) tensor->data + a * tensor->nb[2];
    char * of_b = (char *) tensor->data + b * tensor->nb[2];
    const size_t n_rows = transposed ? tensor->ne[0] : 1;
    const size_t stride = transposed ? tensor->ne[1] * tensor->nb[0] : 0;
    const size_t bytes = transposed ? n_cells * tensor->nb[0] : n_cells * tensor->nb[1];
    for (size_t row = 0; row < n_rows; row++) {
        swap_bytes(of_a + row * stride, of_b + row * stride, bytes);
    }
}

}  // namespace

extern "C" {

// Whether the sequences of a context's memory can be swapped.
bool lc_kv_can_swap(const llama_context * context) {
    const auto caches = caches_of(llama_get_memory(context));
    return !caches.empty() && std::all_of(caches.begin(), caches.end(), [](llama_kv_cache * kv) {
        const auto & layers = layers_of(*kv);
        return std::all_of(layers.begin(), layers.end(), [](const auto & layer) {
            return (!layer.k || ggml_backend_buffer_is_host(layer.k->buffer)) &&
                   (!layer.v || ggml_backend_buffer_is_host(layer.v->buffer));
        });
    });
}

// Swaps two sequences. No copy may be pending. Returns false, without effect, if memory runs out.
bool lc_kv_swap(const llama_context * context, llama_seq_id a, llama_seq_id b) {
    try {
        struct exchange {
            llama_kv_cache * kv;
            llama_kv_cells of_a;
            llama_kv_cells of_b;
        };
        std::vector<exchange> exchanges;
        for (llama_kv_cache * kv : caches_of(llama_get_memory(context))) {
            exchanges.push_back({kv, as_of(kv->get_cells(a), b), as_of(kv->get_cells(b), a)});
        }
        std::vector<const llama_kv_cells *> done;
        for (auto & [kv, of_a, of_b] : exchanges) {
            const uint32_t n_cells = std::max(of_a.used_max_p1(), of_b.used_max_p1());
            for (const auto & layer : layers_of(*kv)) {
                if (layer.k) {
                    swap_cells(layer.k, kv->get_stream(a), kv->get_stream(b), n_cells, false);
                }
                if (layer.v) {
                    swap_cells(layer.v, kv->get_stream(a), kv->get_stream(b), n_cells, v_is_transposed(*kv));
                }
            }
            // With the head of the other one, the next token would leave cells free before it. Sums over cells are grouped, so
            // that its bits would change.
            std::swap(heads_of(*kv)[kv->get_stream(a)], heads_of(*kv)[kv->get_stream(b)]);
            // Two caches may share one list of cells.
            auto & cells_of_a = const_cast<llama_kv_cells &>(kv->get_cells(a));
            auto & cells_of_b = const_cast<llama_kv_cells &>(kv->get_cells(b));
            if (std::find(done.begin(), done.end(), &cells_of_a) == done.end()) {
                done.push_back(&cells_of_a);
                std::swap(cells_of_a, of_b);
                std::swap(cells_of_b, of_a);
            }
        }
        return true;
    } catch (const std::exception &) {
        return false;
    }
}

}  // extern "C"
