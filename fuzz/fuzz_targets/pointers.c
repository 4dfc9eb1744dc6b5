/*
 * Calls of the C library, made from the bytes of a fuzzer. Each object that is passed ends where its page ends, and the next
 * page cannot be touched: whoever reads or writes beyond it ends the process.
 */
#include <llama_concurrent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%d: %s; last error: %s\n", __LINE__, #condition, llama_infer_last_error());              \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

/* ---- the input ---- */

static const unsigned char *input;
static size_t left;

static void take(void *to, size_t n) {
    size_t some = n < left ? n : left;
    memcpy(to, input, some);
    memset((char *)to + some, 0, n - some);
    input += some;
    left -= some;
}

static unsigned byte(void) {
    unsigned char value;
    take(&value, 1);
    return value;
}

/* ---- objects ---- */

enum { OBJECTS = 256, ROOM = 1 << 14, GUARD = 1 << 12 };

static unsigned char *memory;
static int n_objects;

/* `size` bytes at the end of a page, as aligned as anything of that size has to be. */
static void *object(size_t size) {
    CHECK(size <= ROOM);
    if (n_objects == OBJECTS)
        return NULL;
    unsigned char *end = memory + (size_t)n_objects++ * (ROOM + GUARD) + ROOM;
    return end - (size % 8 == 0 || size < 4 ? size : size % 4 == 0 ? size : (size + 7) / 8 * 8);
}

/* Text, which need not be UTF-8; NULL now and then. */
static const char *text(void) {
    size_t n = byte();
    if (n == 255)
        return NULL;
    /* Most texts are short. */
    n = n < 128 ? n % 32 : n;
    /* One byte more aligns nothing: a text may begin anywhere. */
    if (n_objects == OBJECTS)
        return NULL;
    char *to = (char *)memory + (size_t)n_objects++ * (ROOM + GUARD) + ROOM - n - 1;
    take(to, n);
    to[n] = '\0';
    return to;
}

static size_t struct_size(size_t right) {
    switch (byte() % 8) {
    case 0: return byte();
    case 1: return right - byte() % 32;
    case 2: return right + byte() % 64;
    case 3: return right / 2;
    default: return right;
    }
}

/* A struct of any size; one that is too small for a size is as good as one that says so. */
static void *sized(size_t size) {
    void *to = object(size < sizeof size ? sizeof size : size);
    if (to) {
        memset(to, 0, size < sizeof size ? sizeof size : size);
        memcpy(to, &size, sizeof size);
    }
    return to;
}

/* ---- handles and parameters ---- */

static llama_engine *engine;
static llama_infer_queue *queue;

static llama_engine *some_engine(void) {
    unsigned which = byte();
    if (which < 240)
        return engine;
    uintptr_t value = 0;
    take(&value, which % 9);
    return (llama_engine *)value;
}

static llama_infer_queue *some_queue(void) {
    unsigned which = byte();
    if (which < 64)
        return queue;
    if (which < 224)
        return NULL;
    uintptr_t value = 0;
    take(&value, which % 9);
    return (llama_infer_queue *)value;
}

#define HAS(params, field, size)                                                                                      \
    ((size_t)((char *)&(params)->field - (char *)(params)) + sizeof(params)->field <= (size))
#define SET(params, field, size, value)                                                                               \
    do {                                                                                                              \
        if (HAS(params, field, size))                                                                                 \
            (params)->field = (value);                                                                                \
    } while (0)
#define FILL(params, field, size)                                                                                     \
    do {                                                                                                              \
        if (HAS(params, field, size))                                                                                 \
            take(&(params)->field, sizeof(params)->field);                                                            \
    } while (0)

static const llama_infer_params *infer_params(int *has_queue) {
    *has_queue = 0;
    if (byte() < 32)
        return NULL;
    size_t size = struct_size(sizeof(llama_infer_params));
    llama_infer_params *params = sized(size);
    if (!params)
        return NULL;
    if (llama_infer_params_init(params, size) != LLAMA_INFER_STATUS_OK)
        return params;
    SET(params, max_tokens, size, 1 + byte() % 3);
    for (int i = byte() % 6; i > 0; i--) {
        size_t n = byte() % 4;
        switch (byte() % 40) {
        case 0: FILL(params, max_tokens, size); break;
        case 1: FILL(params, temperature, size); break;
        case 2: FILL(params, top_k, size); break;
        case 3: FILL(params, top_p, size); break;
        case 4: FILL(params, min_p, size); break;
        case 5: FILL(params, repetition_penalty, size); break;
        case 6: FILL(params, frequency_penalty, size); break;
        case 7: FILL(params, presence_penalty, size); break;
        case 8: FILL(params, penalty_last_n, size); break;
        case 9: FILL(params, priority, size); break;
        case 10: FILL(params, queue_timeout_ms, size); break;
        case 11: FILL(params, timeout_ms, size); break;
        case 12:
            if (HAS(params, n_stop, size)) {
                const char **stop = object(n * sizeof *stop);
                for (size_t j = 0; stop && j < n; j++)
                    stop[j] = text();
                params->stop = stop;
                params->n_stop = stop ? n : 0;
            }
            break;
        case 13:
            if (HAS(params, n_logit_bias, size)) {
                llama_infer_logit_bias *bias = object(n * sizeof *bias);
                if (bias)
                    take(bias, n * sizeof *bias);
                params->logit_bias = bias;
                params->n_logit_bias = bias ? n : 0;
            }
            break;
        case 14: SET(params, chat_tools, size, text()); break;
        case 15: SET(params, chat_variables, size, text()); break;
        case 16: FILL(params, ignore_eos, size); break;
        case 17: FILL(params, parse_special, size); break;
        case 18: FILL(params, add_generation_prompt, size); break;
        case 19: FILL(params, reserved, size); break;
        case 20: SET(params, json_schema, size, text()); break;
        case 21: SET(params, regex, size, text()); break;
        case 22: SET(params, grammar, size, text()); break;
        case 23: FILL(params, logprobs, size); break;
        case 24: FILL(params, prefix_reuse, size); break;
        case 25: FILL(params, special, size); break;
        case 26:
            if (HAS(params, n_stop_token_ids, size)) {
                int32_t *ids = object(n * sizeof *ids);
                if (ids)
                    take(ids, n * sizeof *ids);
                params->stop_token_ids = ids;
                params->n_stop_token_ids = ids ? n : 0;
            }
            break;
        case 27: FILL(params, min_tokens, size); break;
        case 28: FILL(params, typical_p, size); break;
        case 29: FILL(params, top_n_sigma, size); break;
        case 30: FILL(params, xtc_probability, size); break;
        case 31: FILL(params, dynatemp_range, size); break;
        case 32: FILL(params, mirostat, size); break;
        case 33: FILL(params, mirostat_tau, size); break;
        case 34: SET(params, chat_messages, size, text()); break;
        case 35: FILL(params, continue_final_message, size); break;
        case 36: FILL(params, chat_parse_special, size); break;
        case 37: FILL(params, seed, size); break;
        /* NULL in place of a list that has entries, as a wrong program passes it. */
        case 38: SET(params, n_stop, size, n); break;
        case 39: SET(params, n_logit_bias, size, n); break;
        }
    }
    SET(params, queue, size, some_queue());
    *has_queue = HAS(params, queue, size) && params->queue != NULL;
    /* What a later version may have behind its end. */
    if (size > sizeof *params)
        take((char *)params + sizeof *params, size - sizeof *params);
    return params;
}

static const llama_engine_params *engine_params(void) {
    if (byte() < 32)
        return NULL;
    size_t size = struct_size(sizeof(llama_engine_params));
    llama_engine_params *params = sized(size);
    if (!params || llama_engine_params_init(params, size) != LLAMA_INFER_STATUS_OK)
        return params;
    for (int i = byte() % 4; i > 0; i--) {
        switch (byte() % 6) {
        case 0: FILL(params, strategy, size); break;
        case 1: SET(params, cpus, size, text()); break;
        case 2: SET(params, nodes, size, text()); break;
        case 3: FILL(params, placement, size); break;
        case 4: SET(params, chat_template, size, text()); break;
        case 5: SET(params, chat_template_kwargs, size, text()); break;
        }
    }
    return params;
}

static void on_event(const llama_infer_event *event, void *user_data) {
    CHECK(user_data == &engine && event->size == sizeof *event && event->text);
    CHECK(strlen(event->text) <= event->text_length);
    if (event->type == LLAMA_INFER_EVENT_TYPE_FINISHED)
        CHECK(event->result && event->result->text);
}

/* ---- calls ---- */

static const int32_t *tokens(size_t *n) {
    *n = byte() % 8;
    int32_t *to = *n ? object(*n * sizeof *to) : NULL;
    if (to)
        for (size_t i = 0; i < *n; i++)
            to[i] = byte() < 200 ? (int32_t)byte() : (int32_t)(byte() << 24);
    if (!to && byte() < 250)
        *n = 0;
    return to;
}

static const llama_infer_message *messages(size_t *n) {
    *n = byte() % 4;
    llama_infer_message *to = *n ? object(*n * sizeof *to) : NULL;
    for (size_t i = 0; to && i < *n; i++) {
        static const char *const roles[] = {"system", "user", "assistant", "tool"};
        unsigned role = byte();
        to[i].role = role < 200 ? roles[role % 4] : text();
        to[i].content = text();
    }
    return to;
}

static void call(void) {
    llama_infer_status status = LLAMA_INFER_STATUS_OK;
    size_t n = 0, length = 0, capacity = 0;
    int has_queue = 0;
    llama_infer_id id = 0;
    llama_engine *of = NULL;
    unsigned what = byte() % 16;
    if (what >= 2 && what <= 7) {
        capacity = byte();
        capacity = capacity < 64 ? 0 : capacity;
    }
    /* NULL where there is no room, and a wrong program's NULL where there should be some. */
    char *buffer = capacity ? object(capacity) : NULL;
    size_t *length_of = byte() < 200 ? &length : NULL;
    switch (what) {
    case 0: {
        n = struct_size(sizeof(llama_engine_params));
        void *to = sized(n);
        status = llama_engine_params_init(byte() < 16 ? NULL : to, n);
        break;
    }
    case 1: {
        struct llama_infer_error_detail *detail = sized(struct_size(sizeof *detail));
        status = llama_infer_last_error_detail(byte() < 16 ? NULL : detail);
        /* This one is told about the error before. */
        CHECK(llama_infer_status_name(status));
        return;
    }
    case 2: {
        int ignored;
        const llama_infer_message *all = messages(&n);
        of = some_engine();
        status = llama_engine_chat_prompt(of, all, n, infer_params(&ignored), buffer, capacity, length_of);
        break;
    }
    case 3: {
        const int32_t *all = tokens(&n);
        of = some_engine();
        status = byte() % 2 ? llama_engine_detokenize(of, all, n, buffer, capacity, length_of)
                            : llama_engine_detokenize_with(of, all, n, byte() % 2, buffer, capacity, length_of);
        break;
    }
    case 4: {
        capacity /= 4;
        int32_t *to = capacity ? object(capacity * sizeof *to) : NULL;
        if (!to && byte() < 250)
            capacity = 0;
        const char *of_text = text();
        of = some_engine();
        status = llama_engine_tokenize(of, of_text, byte() % 2, byte() % 2, to, capacity, length_of);
        buffer = NULL;
        break;
    }
    case 5: of = some_engine(); status = llama_engine_warnings(of, buffer, capacity, length_of); break;
    case 6: {
        const char *of_text = text();
        of = some_engine();
        status = llama_engine_count_tokens(of, of_text, length_of);
        break;
    }
    case 7: {
        struct llama_engine_stats *stats = sized(struct_size(sizeof *stats));
        of = some_engine();
        status = llama_engine_get_stats(of, byte() < 16 ? NULL : stats);
        break;
    }
    case 8:
    case 9:
    case 10:
    case 11: {
        const char *prompt = what == 8 ? text() : NULL;
        const int32_t *ids = what == 9 ? tokens(&n) : NULL;
        const llama_infer_message *chat = what == 10 ? messages(&n) : NULL;
        const char **prompts = NULL;
        if (what == 11) {
            n = byte() % 4;
            prompts = n ? object(n * sizeof *prompts) : NULL;
            for (size_t i = 0; prompts && i < n; i++)
                prompts[i] = text();
        }
        const llama_infer_params *params = infer_params(&has_queue);
        /* Mostly as it has to be: a callback or a queue. */
        llama_infer_callback callback = has_queue != (byte() < 16) ? NULL : on_event;
        llama_infer_id *to = byte() < 200 ? &id : NULL;
        of = some_engine();
        if (what == 8)
            status = llama_infer_async(of, prompt, params, callback, &engine, to);
        else if (what == 9)
            status = llama_infer_tokens_async(of, ids, n, params, callback, &engine, to);
        else if (what == 10)
            status = llama_infer_chat_async(of, chat, n, params, callback, &engine, to);
        else
            status = llama_infer_batch_async(of, prompts, n, params, callback, &engine, to);
        CHECK(!to || (id != 0) == (status == LLAMA_INFER_STATUS_OK));
        if (status == LLAMA_INFER_STATUS_OK)
            CHECK(of == engine);
        break;
    }
    case 12:
        take(&id, sizeof id);
        of = some_engine();
        status = byte() % 2 ? llama_infer_cancel(of, id) : llama_infer_wait(of, id, 0);
        break;
    case 13: {
        const llama_infer_event *event = NULL;
        llama_infer_queue *which = some_queue();
        CHECK((llama_infer_queue_fd(which) >= 0) == (which == queue));
        status = llama_infer_poll(which, 0, byte() < 16 ? NULL : &event);
        if (status == LLAMA_INFER_STATUS_OK)
            CHECK(event && event->text);
        break;
    }
    case 14: {
        int32_t number;
        take(&number, sizeof number);
        CHECK(llama_infer_status_name(number));
        status = llama_concurrent_set_log(NULL, number, NULL);
        break;
    }
    case 15: {
        llama_engine *loaded = NULL;
        const char *path = text();
        status = llama_engine_load(path, engine_params(), byte() < 16 ? NULL : &loaded);
        CHECK(status != LLAMA_INFER_STATUS_OK && !loaded);
        break;
    }
    }
    CHECK(status != LLAMA_INFER_STATUS_INTERNAL);
    if (status != LLAMA_INFER_STATUS_OK)
        CHECK(llama_infer_last_error()[0] != '\0');
    else if (buffer && length_of && (what == 2 || what == 3 || what == 5))
        CHECK(length < capacity && buffer[length] == '\0');
}

void call_with(const unsigned char *data, size_t size) {
    if (!engine) {
        memory = mmap(NULL, OBJECTS * (size_t)(ROOM + GUARD), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        CHECK(memory != MAP_FAILED);
        for (int i = 0; i < OBJECTS; i++)
            CHECK(mprotect(memory + (size_t)i * (ROOM + GUARD) + ROOM, GUARD, PROT_NONE) == 0);
        llama_engine_params params = llama_engine_default_params();
        params.slots = 2;
        params.n_ctx = 128;
        params.threads = 1;
        params.pin = false;
        CHECK(llama_engine_load(MODEL, &params, &engine) == LLAMA_INFER_STATUS_OK);
    }
    input = data;
    left = size;
    n_objects = 0;
    CHECK(llama_infer_queue_new(&queue) == LLAMA_INFER_STATUS_OK);
    for (int i = 0; i < 12 && left; i++)
        call();
    /* What is in the queue is never over otherwise. */
    CHECK(llama_infer_queue_free(queue) == LLAMA_INFER_STATUS_OK);
    CHECK(llama_infer_wait_all(engine, -1) == LLAMA_INFER_STATUS_OK);
}
