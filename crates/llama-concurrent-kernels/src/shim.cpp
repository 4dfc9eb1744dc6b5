// The hook into ggml's CPU backend: an "extra buffer type", like the backend's own repacked weights. llama.cpp asks each
// such type in turn whether it supports a weight, allocates the weight there, and offers it every operation. The decisions
// are made in Rust (hook.rs); this file only implements the C++ interface.

#include "ggml-cpu.h"
#include "traits.h"

#include <cstdint>
#include <cstring>
#include <new>

// The functions of hook.rs. None of them unwinds. A table, because functions found by name would be exported by every
// library that links this one.
struct lck_functions {
    int    (*format)(const ggml_tensor * weight);
    bool   (*accepts_weights)(int format);
    size_t (*packed_size)(int format, const ggml_tensor * weight);
    void   (*pack)(int format, ggml_tensor * weight, const void * data);
    bool   (*supports)(int format, const ggml_tensor * op);
    bool   (*work_size)(int format, int threads, const ggml_tensor * op, size_t * size);
    bool   (*compute)(int format, int thread, int threads, void * work, size_t work_size, ggml_threadpool * pool, ggml_tensor * op);
    bool   (*attention)(const ggml_tensor * op);
    void * (*allocate)(size_t size);
    void * (*address)(void * memory);
    void   (*free)(void * memory);
    bool   (*leaves_model_unread)();
};

namespace {

// Set before anything here is called.
lck_functions rust;

// Must equal those of hook.rs: one per weight format, and one for attention.
constexpr int max_formats = 32;
constexpr int attention   = max_formats;

struct traits : ggml::cpu::tensor_traits {
    int format = 0;

    bool work_size(int threads, const ggml_tensor * op, size_t & size) override {
        return rust.work_size(format, threads, op, &size);
    }

    bool compute_forward(ggml_compute_params * p, ggml_tensor * op) override {
        return rust.compute(format, p->ith, p->nth, p->wdata, p->wsize, p->threadpool, op);
    }
};

// Never destroyed: tensors point here while any model exists.
traits * all_traits() {
    static traits * all = [] {
        auto * made = new (std::nothrow) traits[max_formats + 1];
        for (int i = 0; made && i <= max_formats; i++) {
            made[i].format = i;
        }
        return made;
    }();
    return all;
}

ggml_backend_buffer_type_t buffer_type();

bool is_ours(const ggml_tensor * t) {
    return t && t->buffer && t->buffer->buft == buffer_type();
}

bool computes_with_weights(const ggml_tensor * op) {
    return op->op == GGML_OP_MUL_MAT || op->op == GGML_OP_MUL_MAT_ID;
}

struct extra : ggml::cpu::extra_buffer_type {
    bool supports_op(ggml_backend_dev_t, const ggml_tensor * op) override {
        const ggml_tensor * weight = op->src[0];
        if (!computes_with_weights(op) || !is_ours(weight)) {
            return false;
        }
        // Before a weight is allocated, this asks whether we want it; afterwards, whether we can compute with it.
        const bool packed = weight->extra != nullptr;
        const int  format = packed ? static_cast<traits *>(weight->extra)->format : rust.format(weight);
        if (format < 0 || (!packed && !rust.accepts_weights(format))) {
            return false;
        }
        const ggml_tensor * x = op->src[1];
        return !(x->buffer && !ggml_backend_buft_is_host(x->buffer->buft)) && rust.supports(format, op);
    }

    ggml::cpu::tensor_traits * get_tensor_traits(const ggml_tensor * op) override {
        if (computes_with_weights(op)) {
            return is_ours(op->src[0]) ? static_cast<traits *>(op->src[0]->extra) : nullptr;
        }
        return op->op == GGML_OP_FLASH_ATTN_EXT && rust.attention(op) ? all_traits() + attention : nullptr;
    }
};

ggml_status init_tensor(ggml_backend_buffer_t, ggml_tensor * t) {
    const int format = rust.format(t);
    t->extra         = format < 0 ? nullptr : all_traits() + format;
    return GGML_STATUS_SUCCESS;
}

void set_tensor(ggml_backend_buffer_t, ggml_tensor * t, const void * data, size_t offset, size_t size) {
    // llama.cpp writes weights whole. ggml's own repacking asserts the same.
    GGML_ASSERT(offset == 0 && size == ggml_nbytes(t));
    if (t->extra) {
        rust.pack(static_cast<traits *>(t->extra)->format, t, data);
    } else {
        std::memcpy(t->data, data, size);
    }
}

const char * get_name(ggml_backend_buffer_type_t) {
    return "CPU_CONCURRENT";
}

void free_buffer(ggml_backend_buffer_t buffer) {
    rust.free(buffer->context);
}

void * get_base(ggml_backend_buffer_t buffer) {
    return rust.address(buffer->context);
}

void clear(ggml_backend_buffer_t buffer, uint8_t value) {
    std::memset(get_base(buffer), value, buffer->size);
}

ggml_backend_buffer_t alloc_buffer(ggml_backend_buffer_type_t type, size_t size) {
    void * memory = rust.allocate(size);
    if (!memory) {
        return nullptr;
    }
    ggml_backend_buffer_i iface{};
    iface.free_buffer = free_buffer;
    iface.get_base    = get_base;
    iface.init_tensor = init_tensor;
    iface.set_tensor  = set_tensor;
    iface.clear       = clear;
    return ggml_backend_buffer_init(type, iface, memory, size);
}

size_t get_alignment(ggml_backend_buffer_type_t) {
    return 64;
}

size_t get_alloc_size(ggml_backend_buffer_type_t, const ggml_tensor * t) {
    const int format = rust.format(t);
    return format < 0 ? ggml_nbytes(t) : rust.packed_size(format, t);
}

ggml_backend_buffer_type_t buffer_type() {
    static ggml_backend_buffer_type type = [] {
        ggml_backend_buffer_type made{};
        made.iface.get_name       = get_name;
        made.iface.alloc_buffer   = alloc_buffer;
        made.iface.get_alignment  = get_alignment;
        made.iface.get_alloc_size = get_alloc_size;
        made.device               = ggml_backend_reg_dev_get(ggml_backend_cpu_reg(), 0);
        made.context              = new (std::nothrow) extra;
        return made;
    }();
    return &type;
}

// llama.cpp prefetches a whole model file, except on machines with several NUMA nodes. It asks this function which case
// applies. If all packed weights come from their own file, the model's weights will not be read.
void * (*proc_address)(ggml_backend_reg_t, const char *);

void * get_proc_address(ggml_backend_reg_t registry, const char * name) {
    if (std::strcmp(name, "ggml_backend_cpu_is_numa") == 0 && rust.leaves_model_unread()) {
        return reinterpret_cast<void *>(+[] { return true; });
    }
    return proc_address(registry, name);
}

}  // namespace

// Puts our type in front of ggml's own. Returns 0 on success, 1 if the backend uses AMX, 2 on failure.
extern "C" int lck_register(const lck_functions * functions) noexcept {
    try {
        rust = *functions;
        auto & types = ggml_backend_cpu_get_extra_buffer_types();
        for (auto * type : types) {
            if (std::strcmp(ggml_backend_buft_name(type), "AMX") == 0) {
                return 1;
            }
        }
        if (!all_traits() || !buffer_type()->context) {
            return 2;
        }
        types.insert(types.begin(), buffer_type());
        proc_address = ggml_backend_cpu_reg()->iface.get_proc_address;
        ggml_backend_cpu_reg()->iface.get_proc_address = get_proc_address;
        return 0;
    } catch (...) {
        return 2;
    }
}
