/*
 * The contract of llama_concurrent.h, sentence by sentence. Run plainly, with sanitizers and under Valgrind by
 * tests/c_programs.rs and scripts/test-memory.sh.
 *
 *     contract MODEL DIRECTORY [TEST]...
 *
 * DIRECTORY holds broken model files. Without TEST, all run. Nothing here depends on time: who waits does so for events,
 * with a limit of a minute or two that only a defect reaches.
 */
#define _GNU_SOURCE /* memmem */
#include <llama_concurrent.h>
#include <math.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PATIENCE_MS 300000

static const char *model;
static const char *directory;
static const char *test_name = "";

#define CHECK(condition)                                                                                              \
    do {                                                                                                              \
        if (!(condition)) {                                                                                           \
            fprintf(stderr, "%s: %s:%d: %s; last error: %s\n", test_name, __FILE__, __LINE__, #condition,             \
                    llama_infer_last_error());                                                                        \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

#define CHECK_STATUS(expected, call)                                                                                  \
    do {                                                                                                              \
        llama_infer_status status_ = (call);                                                                          \
        if (status_ != LLAMA_INFER_STATUS_##expected) {                                                               \
            fprintf(stderr, "%s: %s:%d: %s gave '%s' instead of '%s'; last error: %s\n", test_name, __FILE__,         \
                    __LINE__, #call, llama_infer_status_name((int32_t)status_),                                       \
                    llama_infer_status_name(LLAMA_INFER_STATUS_##expected), llama_infer_last_error());                \
            abort();                                                                                                  \
        }                                                                                                             \
    } while (0)

#define CHECK_OK(call) CHECK_STATUS(OK, call)
#define ERROR_SAYS(words) CHECK(strstr(llama_infer_last_error(), words) != NULL)

/* ---- tools ---- */

/* A door that threads wait at until somebody opens it. */
struct gate {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    int open;
};

#define GATE_INIT {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0}

static void gate_open(struct gate *gate) {
    pthread_mutex_lock(&gate->mutex);
    gate->open = 1;
    pthread_cond_broadcast(&gate->changed);
    pthread_mutex_unlock(&gate->mutex);
}

static void gate_pass(struct gate *gate) {
    struct timespec limit;
    clock_gettime(CLOCK_REALTIME, &limit);
    limit.tv_sec += PATIENCE_MS / 1000;
    pthread_mutex_lock(&gate->mutex);
    while (!gate->open)
        CHECK(pthread_cond_timedwait(&gate->changed, &gate->mutex, &limit) == 0);
    pthread_mutex_unlock(&gate->mutex);
}

/* Between two looks at something that another thread is about to change; `i` counts them. */
static void wait_a_little(int i) {
    CHECK(i < PATIENCE_MS);
    usleep(1000);
}

/* What a request told. Its callbacks come one after the other; `inside` finds out if they do not. */
struct log {
    atomic_int inside;
    int tokens;
    int finished;
    int last;
    llama_infer_id id;
    llama_infer_finish_reason reason;
    llama_infer_status status;
    char text[1 << 15];
    size_t length;
};

static void take(struct log *log, const llama_infer_event *event) {
    CHECK(event->size == sizeof *event);
    CHECK(event->text && strlen(event->text) <= event->text_length && event->text[event->text_length] == '\0');
    CHECK(log->id == 0 || log->id == event->id);
    log->id = event->id;
    CHECK(!log->last);
    if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN) {
        CHECK(event->result == NULL && event->n_remaining >= 1);
        CHECK((event->n_tokens == 0) == (event->tokens == NULL));
        CHECK(event->n_tokens == 0 || event->position == (size_t)log->tokens);
        log->tokens += (int)event->n_tokens;
        CHECK(log->length + event->text_length < sizeof log->text);
        memcpy(log->text + log->length, event->text, event->text_length + 1);
        log->length += event->text_length;
    } else {
        const llama_infer_result *result = event->result;
        CHECK(event->type == LLAMA_INFER_EVENT_TYPE_FINISHED && result && result->size == sizeof *result);
        CHECK((result->reason == LLAMA_INFER_FINISH_REASON_ERROR) == (result->error != NULL));
        CHECK((result->status == LLAMA_INFER_STATUS_OK) == (result->error == NULL));
        CHECK((result->n_tokens == 0) == (result->tokens == NULL) && (result->n_itl == 0) == (result->itl_ms == NULL));
        CHECK(result->text && result->text[result->text_length] == '\0');
        CHECK((result->ttft_ms < 0) == (result->n_output_tokens == 0));
        CHECK(result->e2e_ms >= result->queue_ms && result->queue_ms >= 0);
        if (event->index == 0 && event->n_remaining == 0) {
            CHECK((size_t)log->tokens == result->n_tokens && log->length == result->text_length);
            CHECK(memcmp(log->text, result->text, log->length) == 0);
        }
        CHECK(result->n_tokens <= result->n_output_tokens);
        log->finished++;
        log->reason = result->reason;
        log->status = result->status;
        log->last = event->n_remaining == 0;
    }
}

static void on_event(const llama_infer_event *event, void *user_data) {
    struct log *log = user_data;
    CHECK(event->user_data == user_data);
    CHECK(atomic_fetch_add(&log->inside, 1) == 0);
    take(log, event);
    atomic_fetch_sub(&log->inside, 1);
}

static void keep_token(const llama_infer_event *event, void *user_data) {
    if (event->n_tokens > 0)
        *(int32_t *)user_data = event->tokens[0];
}

static void wait_at_gate(const llama_infer_event *event, void *user_data) {
    (void)event;
    gate_pass(user_data);
}

static void ignore(const llama_infer_event *event, void *user_data) {
    (void)event;
    (void)user_data;
}

static llama_engine *load_with(uint32_t slots) {
    llama_engine_params params = llama_engine_default_params();
    params.slots = slots;
    params.threads = 1;
    params.pin = false;
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &params, &engine));
    CHECK(engine != NULL);
    return engine;
}

static llama_engine *load(void) {
    return load_with(4);
}

static llama_infer_params of_length(uint32_t max_tokens) {
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = max_tokens;
    params.ignore_eos = true;
    return params;
}

/* ---- tests ---- */

static void test_defaults(void) {
    llama_engine_params engine_params = llama_engine_default_params();
    CHECK(engine_params.size == sizeof engine_params && engine_params.n_batch == 512 && engine_params.mmap);
    CHECK(engine_params.progress == NULL && engine_params.max_stall_ms == 200 && !engine_params.reproducible);
    llama_infer_params params = llama_infer_default_params();
    CHECK(params.size == sizeof params && params.top_k == 40 && params.parse_special && params.queue == NULL);
    CHECK(params.temperature == 0.0f && params.repetition_penalty == 1.0f && !params.ignore_eos);
    CHECK(strcmp(llama_concurrent_version(), LLAMA_CONCURRENT_VERSION) == 0);
    CHECK(strcmp(llama_infer_status_name(LLAMA_INFER_STATUS_OK), "ok") == 0);
    CHECK(strcmp(llama_infer_status_name(-7), "unknown status") == 0);
}

static void test_one_request(void) {
    llama_engine *engine = load();
    llama_infer_params params = of_length(30);
    static struct log first, second;
    llama_infer_id id = 0;
    CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, on_event, &first, &id));
    CHECK(id != 0);
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(first.finished == 1 && first.tokens == 30 && first.id == id && first.length > 0);
    CHECK(first.reason == LLAMA_INFER_FINISH_REASON_LENGTH);
    /* Greedy: the same again. And waiting for what is over is no error. */
    CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, on_event, &second, &id));
    CHECK_OK(llama_infer_wait_all(engine, -1));
    CHECK_OK(llama_infer_wait(engine, id, 0));
    CHECK(strcmp(first.text, second.text) == 0);
    CHECK_OK(llama_engine_free(engine));
}

struct many {
    llama_engine *engine;
    struct log logs[25];
};

static void *submit_many(void *argument) {
    struct many *many = argument;
    for (int i = 0; i < 25; i++) {
        llama_infer_params params = of_length(4 + (uint32_t)i);
        params.temperature = 0.9f;
        params.seed = (uint32_t)i;
        llama_infer_id id = 0;
        CHECK_OK(llama_infer_async(many->engine, i % 2 ? "A fox" : "The old boat", &params, on_event, &many->logs[i], &id));
        if (i % 5 == 0)
            CHECK_OK(llama_infer_cancel(many->engine, id));
    }
    return NULL;
}

static void test_a_hundred_requests_from_four_threads(void) {
    static struct many jobs[4];
    llama_engine *engine = load();
    pthread_t threads[4];
    for (int t = 0; t < 4; t++) {
        jobs[t].engine = engine;
        CHECK(pthread_create(&threads[t], NULL, submit_many, &jobs[t]) == 0);
    }
    for (int t = 0; t < 4; t++)
        pthread_join(threads[t], NULL);
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    for (int t = 0; t < 4; t++)
        for (int i = 0; i < 25; i++) {
            const struct log *log = &jobs[t].logs[i];
            CHECK(log->finished == 1 && log->last);
            CHECK(i % 5 == 0 || (log->tokens == 4 + i && log->reason == LLAMA_INFER_FINISH_REASON_LENGTH));
        }
    llama_engine_stats stats = {.size = sizeof stats};
    CHECK_OK(llama_engine_get_stats(engine, &stats));
    CHECK(stats.requests_submitted == 100 && stats.requests_running == 0 && stats.requests_waiting == 0);
    CHECK(stats.requests_length + stats.requests_cancelled == 100 && stats.slots == 4 && stats.n_vocab > 0);
    CHECK(strcmp(stats.pack_cache, "off") == 0);
    /* "off" and a share of nothing are one thing, and the shares are told with their formats. */
    CHECK((strcmp(stats.kernels, "off") == 0) == (stats.kernels_share == 0.0) && stats.kernels_share <= 1.0);
    CHECK(strstr(stats.products, strcmp(stats.kernels, "off") == 0 ? "ggml 100 % (" : stats.kernels) != NULL);
    CHECK_OK(llama_engine_free(engine));
}

static void cancel_at_third(const llama_infer_event *event, void *user_data) {
    struct log *log = user_data;
    take(log, event);
    if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN && log->tokens == 3)
        CHECK_OK(llama_infer_cancel(event->engine, event->id));
    CHECK(log->tokens <= 3); /* after the cancel only the end comes */
}

static void test_cancel_from_inside_callbacks(void) {
    static struct log logs[20];
    llama_engine *engine = load();
    llama_infer_params params = of_length(500);
    for (int i = 0; i < 20; i++)
        CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, cancel_at_third, &logs[i], NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    for (int i = 0; i < 20; i++)
        CHECK(logs[i].finished == 1 && logs[i].reason == LLAMA_INFER_FINISH_REASON_CANCELLED && logs[i].tokens == 3);
    CHECK_OK(llama_engine_free(engine));
}

static void test_free_while_requests_run(void) {
    static struct log logs[12];
    llama_engine *engine = load();
    llama_infer_params params = of_length(900);
    llama_infer_id ids[12];
    for (int i = 0; i < 12; i++)
        CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, on_event, &logs[i], &ids[i]));
    CHECK_STATUS(TIMEOUT, llama_infer_wait_all(engine, 0));
    CHECK_OK(llama_engine_free(engine));
    for (int i = 0; i < 12; i++)
        CHECK(logs[i].finished == 1 && logs[i].last && logs[i].reason == LLAMA_INFER_FINISH_REASON_CANCELLED);
    CHECK_STATUS(INVALID_HANDLE, llama_infer_wait(engine, ids[0], -1));
}

static struct gate being_freed = GATE_INIT;

/* Inside callbacks the handle is good until the last of them returned, whoever frees the engine meanwhile. */
static void use_what_is_being_freed(const llama_infer_event *event, void *user_data) {
    take(user_data, event);
    gate_pass(&being_freed);
    llama_infer_params params = of_length(1);
    CHECK_STATUS(SHUTTING_DOWN, llama_infer_async(event->engine, "A", &params, ignore, NULL, NULL));
    CHECK_OK(llama_infer_cancel(event->engine, event->id));
    llama_engine_stats stats = {.size = sizeof stats};
    CHECK_OK(llama_engine_get_stats(event->engine, &stats));
    CHECK_STATUS(IN_CALLBACK, llama_engine_free(event->engine));
}

static void *free_it(void *engine) {
    CHECK_OK(llama_engine_free(engine));
    return NULL;
}

static void test_callbacks_of_an_engine_that_is_being_freed(void) {
    static struct log logs[6];
    llama_engine *engine = load();
    llama_infer_params params = of_length(900);
    for (int i = 0; i < 6; i++)
        CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, use_what_is_being_freed, &logs[i], NULL));
    pthread_t owner;
    CHECK(pthread_create(&owner, NULL, free_it, engine) == 0);
    /* Whoever is refused first knows that the other thread has begun, and it cannot end before the gate is open. */
    for (int i = 0; llama_infer_async(engine, "A", &params, ignore, NULL, NULL) != LLAMA_INFER_STATUS_SHUTTING_DOWN; i++)
        wait_a_little(i);
    CHECK_STATUS(INVALID_HANDLE, llama_engine_free(engine));
    ERROR_SAYS("freeing this engine already");
    gate_open(&being_freed);
    pthread_join(owner, NULL);
    for (int i = 0; i < 6; i++)
        CHECK(logs[i].finished == 1 && logs[i].reason == LLAMA_INFER_FINISH_REASON_CANCELLED);
    CHECK_STATUS(INVALID_HANDLE, llama_engine_free(engine));
}

struct inside {
    struct log log;
    llama_engine *other;
    llama_infer_id other_id;
    int done;
};

static void try_what_would_never_end(const llama_infer_event *event, void *user_data) {
    struct inside *inside = user_data;
    take(&inside->log, event);
    if (inside->done++)
        return;
    CHECK_STATUS(IN_CALLBACK, llama_engine_free(event->engine));
    CHECK_STATUS(IN_CALLBACK, llama_engine_drain(event->engine, -1));
    CHECK_STATUS(IN_CALLBACK, llama_infer_wait_all(event->engine, -1));
    CHECK_STATUS(IN_CALLBACK, llama_infer_wait(event->engine, event->id, -1));
    ERROR_SAYS("another thread");
    /* Another request may be waited for, and another engine freed. */
    CHECK_OK(llama_infer_wait(event->engine, inside->other_id, PATIENCE_MS));
    CHECK_OK(llama_engine_free(inside->other));
}

static void test_what_callbacks_may_do(void) {
    static struct log other;
    static struct inside inside;
    llama_engine *engine = load();
    inside.other = load_with(1);
    llama_infer_params params = of_length(20);
    CHECK_OK(llama_infer_async(engine, "The other one", &params, on_event, &other, &inside.other_id));
    CHECK_OK(llama_infer_async(engine, "This one", &params, try_what_would_never_end, &inside, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(inside.log.finished == 1 && inside.log.tokens == 20 && other.finished == 1);
    CHECK_OK(llama_engine_free(engine));
}

static struct gate others_are_done = GATE_INIT;

static void block_until_others_are_done(const llama_infer_event *event, void *user_data) {
    struct log *log = user_data;
    take(log, event);
    if (log->tokens == 1 && event->type == LLAMA_INFER_EVENT_TYPE_TOKEN)
        gate_pass(&others_are_done);
}

/* The blocked callbacks end only when everybody else was served: if they held others up, this would never end. */
static void test_a_blocked_callback_delays_only_its_own_request(void) {
    static struct log blocked[6], others[10];
    llama_engine *engine = load_with(8);
    llama_infer_params params = of_length(40);
    for (int i = 0; i < 6; i++)
        CHECK_OK(llama_infer_async(engine, "Slow", &params, block_until_others_are_done, &blocked[i], NULL));
    llama_infer_id ids[10];
    for (int i = 0; i < 10; i++)
        CHECK_OK(llama_infer_async(engine, "Quick", &params, on_event, &others[i], &ids[i]));
    for (int i = 0; i < 10; i++)
        CHECK_OK(llama_infer_wait(engine, ids[i], PATIENCE_MS));
    gate_open(&others_are_done);
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    for (int i = 0; i < 6; i++)
        CHECK(blocked[i].finished == 1 && blocked[i].tokens == 40);
    CHECK_OK(llama_engine_free(engine));
}

static struct gate may_read = GATE_INIT;

static void read_late(const llama_infer_event *event, void *user_data) {
    gate_pass(&may_read);
    on_event(event, user_data);
}

static void test_a_reader_that_falls_behind_pauses_and_loses_nothing(void) {
    static struct log late;
    llama_engine_params engine_params = llama_engine_default_params();
    engine_params.slots = 2;
    engine_params.threads = 1;
    engine_params.pin = false;
    engine_params.stream_buffer = 4;
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &engine_params, &engine));
    llama_infer_params params = of_length(100);
    llama_infer_id id;
    CHECK_OK(llama_infer_async(engine, "Late", &params, read_late, &late, NULL));
    CHECK_OK(llama_infer_async(engine, "In time", &params, ignore, NULL, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    llama_engine_stats stats = {.size = sizeof stats};
    CHECK_OK(llama_engine_get_stats(engine, &stats));
    CHECK(stats.output_tokens < 120); /* 100 of the one, a few of the other */
    gate_open(&may_read);
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(late.tokens == 100 && late.finished == 1);
    CHECK_OK(llama_engine_free(engine));
}

static void test_broken_files(void) {
    static const char *const names[] = {"empty.gguf", "text.gguf", "cut.gguf", "zeros.gguf"};
    llama_engine *const untouched = (llama_engine *)&model;
    llama_engine *engine = untouched;
    char path[4096];
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s", directory, names[i]);
        CHECK_STATUS(MODEL_INVALID, llama_engine_load(path, NULL, &engine));
        CHECK(engine == untouched);
        ERROR_SAYS(":");
    }
    snprintf(path, sizeof path, "%s/missing.gguf", directory);
    CHECK_STATUS(MODEL_NOT_FOUND, llama_engine_load(path, NULL, &engine));
    ERROR_SAYS("missing.gguf");
    CHECK_STATUS(MODEL_NOT_FOUND, llama_engine_load("", NULL, &engine));
    CHECK(llama_engine_load(directory, NULL, &engine) != LLAMA_INFER_STATUS_OK);
    CHECK_STATUS(MODEL_NOT_FOUND, llama_engine_load("\xff\xfe", NULL, &engine)); /* a path is bytes */
    CHECK(engine == untouched);
}

/* Writes the demo model with the name of another pre-tokenizer, instead of "gpt-2". The name of the model gives up as many
 * bytes, so that nothing behind them moves. */
static void write_with_pre_tokenizer(const char *path, const char *name) {
    static const char old[] = "\5\0\0\0\0\0\0\0gpt-2", model_name[] = "\x15\0\0\0\0\0\0\0llama-concurrent demo";
    FILE *file = fopen(model, "rb");
    CHECK(file && fseek(file, 0, SEEK_END) == 0);
    const size_t size = (size_t)ftell(file), longer = strlen(name) - 5;
    char *bytes = malloc(size);
    rewind(file);
    CHECK(bytes && fread(bytes, 1, size, file) == size && fclose(file) == 0);
    char *at = memmem(bytes, size, model_name, sizeof model_name - 1);
    CHECK(at != NULL);
    char *from = at + sizeof model_name - 1, *pre = memmem(from, size - (size_t)(from - bytes), old, sizeof old - 1);
    CHECK(pre != NULL);
    *at = (char)(*at - (char)longer);
    memmove(from - longer, from, (size_t)(pre - from));
    char *to = pre - longer;
    memcpy(to, old, 8);
    *to = (char)strlen(name);
    memcpy(to + 8, name, strlen(name));
    file = fopen(path, "wb");
    CHECK(file && fwrite(bytes, 1, size, file) == size && fclose(file) == 0);
    free(bytes);
}

static bool is_answer(llama_infer_status status) {
    return status == LLAMA_INFER_STATUS_OK || status == LLAMA_INFER_STATUS_INVALID_REQUEST ||
           status == LLAMA_INFER_STATUS_PROMPT_TOO_LONG;
}

/* With pre-tokenizers whose regular expressions call themselves for each character. */
static void test_long_runs_of_a_character(void) {
    static const char *const names[] = {"bloom", "deepseek-llm", "falcon", "gpt-4o", "tekken"};
    static const size_t lengths[] = {6508, 100000, 1500000};
    char path[4096];
    char *text = malloc(1500001);
    for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
        snprintf(path, sizeof path, "%s/%s.gguf", directory, names[i]);
        write_with_pre_tokenizer(path, names[i]);
        llama_engine_params engine_params = llama_engine_default_params();
        engine_params.slots = engine_params.threads = 1;
        engine_params.pin = false;
        llama_engine *engine = NULL;
        CHECK_OK(llama_engine_load(path, &engine_params, &engine));
        const llama_infer_params params = of_length(1);
        for (size_t l = 0; l < sizeof lengths / sizeof *lengths; l++) {
            memset(text, 'a', lengths[l]);
            text[lengths[l]] = '\0';
            const int too_long = lengths[l] > 1000000;
            size_t n = 0;
            llama_infer_status status = llama_engine_count_tokens(engine, text, &n);
            CHECK(too_long ? status == LLAMA_INFER_STATUS_INVALID_REQUEST : status == LLAMA_INFER_STATUS_OK && n > 1);
            status = llama_infer_async(engine, text, &params, ignore, NULL, NULL);
            CHECK(is_answer(status) && (!too_long || status != LLAMA_INFER_STATUS_OK));
            const llama_infer_message message = {"user", text};
            status = llama_infer_chat_async(engine, &message, 1, &params, ignore, NULL, NULL);
            CHECK(is_answer(status) && (!too_long || status != LLAMA_INFER_STATUS_OK));
        }
        static struct log log;
        memset(&log, 0, sizeof log);
        CHECK_OK(llama_infer_async(engine, "A small boat", &params, on_event, &log, NULL));
        CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
        CHECK(log.finished == 1 && log.reason == LLAMA_INFER_FINISH_REASON_LENGTH);
        CHECK_OK(llama_engine_free(engine));
        CHECK(remove(path) == 0);
    }
    free(text);
}

/* A template of the caller's instead of the file's, and variables for it. */
static void test_chat_template(void) {
    llama_engine_params params = llama_engine_default_params();
    params.slots = params.threads = 1;
    params.pin = false;
    params.chat_template = "{% for m in messages %}<{{ m.role }}>{{ m.content }}{% endfor %}{{ mode }}";
    params.chat_template_kwargs = "{\"mode\": \"M\"}";
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &params, &engine));
    const llama_infer_message messages[] = {{"user", "Hi"}};
    char prompt[64];
    CHECK_OK(llama_engine_chat_prompt(engine, messages, 1, NULL, prompt, sizeof prompt, NULL));
    CHECK(strcmp(prompt, "<user>HiM") == 0);
    llama_infer_params other = llama_infer_default_params();
    other.chat_variables = "{\"mode\": \"N\"}";
    CHECK_OK(llama_engine_chat_prompt(engine, messages, 1, &other, prompt, sizeof prompt, NULL));
    CHECK(strcmp(prompt, "<user>HiN") == 0);
    CHECK_OK(llama_engine_free(engine));

    params.chat_template = "chatml"; /* one of llama.cpp's names */
    CHECK_OK(llama_engine_load(model, &params, &engine));
    CHECK_OK(llama_engine_chat_prompt(engine, messages, 1, NULL, prompt, sizeof prompt, NULL));
    CHECK(strncmp(prompt, "<|im_start|>user\nHi<|im_end|>", 29) == 0);
    CHECK_OK(llama_engine_free(engine));

    static const struct {
        const char *text, *variables, *says;
    } wrong[] = {
        {"{% if %}", NULL, "line 1"},
        {"\xff", NULL, "chat_template"},
        {"x", "[1]", "chat_template_kwargs"},
        {"x", "{", "chat_template_kwargs"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        params.chat_template = wrong[i].text;
        params.chat_template_kwargs = wrong[i].variables;
        engine = NULL;
        CHECK(llama_engine_load(model, &params, &engine) != LLAMA_INFER_STATUS_OK && engine == NULL);
        ERROR_SAYS(wrong[i].says);
    }
}

static void test_null_everywhere(void) {
    llama_engine *engine = load();
    llama_infer_queue *queue = NULL;
    CHECK_OK(llama_infer_queue_new(&queue));
    llama_infer_params params = of_length(4), queued = params;
    queued.queue = queue;
    static struct log log;
    const char *prompts[] = {"A", "B"};
    const char *with_null[] = {"A", NULL};
    const int32_t tokens[] = {1, 2};
    llama_infer_message messages[] = {{"user", "Hello"}}, no_role[] = {{NULL, "Hello"}}, no_content[] = {{"user", NULL}};
    const llama_infer_event *event = NULL;
    llama_infer_id id = 77;
    size_t n = 0;
    char text[4096];
    int32_t ids[64];

    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_params_init(NULL, sizeof(llama_engine_params)));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_params_init(NULL, sizeof params));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_load(NULL, NULL, &engine));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_load(model, NULL, NULL));
    CHECK_OK(llama_engine_free(NULL));
    CHECK_OK(llama_infer_queue_free(NULL));
    CHECK(llama_infer_queue_fd(NULL) == -1);
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_queue_new(NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_poll(NULL, 0, &event));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_poll(queue, 0, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_drain(NULL, 0));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_cancel(NULL, 1));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_wait(NULL, 1, 0));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_wait_all(NULL, 0));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_get_stats(engine, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_get_stats(NULL, NULL));

    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(NULL, "A", &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, NULL, &params, on_event, &log, &id));
    ERROR_SAYS("prompt is NULL");
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, NULL, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &queued, on_event, &log, &id)); /* both */
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_tokens_async(NULL, tokens, 2, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_tokens_async(engine, NULL, 2, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_REQUEST, llama_infer_tokens_async(engine, NULL, 0, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(NULL, messages, 1, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, NULL, 1, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_REQUEST, llama_infer_chat_async(engine, NULL, 0, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, no_role, 1, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, no_content, 1, &params, on_event, &log, &id));
    ERROR_SAYS("messages[0].content");
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_batch_async(NULL, prompts, 2, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_batch_async(engine, NULL, 2, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_batch_async(engine, prompts, 0, &params, on_event, &log, &id));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_batch_async(engine, with_null, 2, &params, on_event, &log, &id));
    ERROR_SAYS("prompts[1] is NULL");
    CHECK(id == 77 && log.id == 0); /* nothing was started, nothing written */

    params.n_stop = 1;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, on_event, &log, &id));
    params.stop = &with_null[1];
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, on_event, &log, &id));
    params.n_stop = 0;
    params.n_logit_bias = 3;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, on_event, &log, &id));
    params.n_logit_bias = SIZE_MAX / 4;
    params.logit_bias = (const llama_infer_logit_bias *)tokens;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, on_event, &log, &id));
    params.n_logit_bias = 0;

    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_tokenize(NULL, "A", true, true, ids, 64, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_tokenize(engine, NULL, true, true, ids, 64, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_tokenize(engine, "A", true, true, NULL, 64, &n));
    CHECK_OK(llama_engine_tokenize(engine, "A", true, true, ids, 64, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_count_tokens(NULL, "A", &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_count_tokens(engine, NULL, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_count_tokens(engine, "A", NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_detokenize(NULL, tokens, 2, text, sizeof text, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_detokenize(engine, NULL, 2, text, sizeof text, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_detokenize(engine, tokens, 2, NULL, sizeof text, &n));
    CHECK_OK(llama_engine_detokenize(engine, NULL, 0, text, sizeof text, NULL));
    CHECK(text[0] == '\0');
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_chat_prompt(NULL, messages, 1, NULL, text, sizeof text, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_chat_prompt(engine, NULL, 1, NULL, text, sizeof text, &n));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_chat_prompt(engine, messages, 1, NULL, NULL, sizeof text, &n));
    CHECK_OK(llama_engine_chat_prompt(engine, messages, 1, NULL, text, sizeof text, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_warnings(NULL, text, sizeof text, &n));
    CHECK_OK(llama_engine_warnings(engine, text, sizeof text, NULL));
    CHECK_OK(llama_concurrent_set_log(NULL, 0, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_last_error_detail(NULL));

    /* What may be NULL. */
    params = of_length(4);
    CHECK_OK(llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK_OK(llama_infer_async(engine, "A", NULL, ignore, NULL, NULL));
    CHECK_OK(llama_infer_queue_free(queue));
    CHECK_OK(llama_engine_free(engine));
}

static void test_handles_and_ids(void) {
    llama_engine *engine = load(), *other = load_with(1);
    llama_infer_queue *queue = NULL;
    CHECK_OK(llama_infer_queue_new(&queue));
    llama_infer_params params = of_length(4);
    llama_infer_id id = 0;
    CHECK_OK(llama_infer_async(engine, "A", &params, ignore, NULL, &id));
    CHECK_STATUS(NOT_FOUND, llama_infer_wait(engine, 0, -1));
    CHECK_STATUS(NOT_FOUND, llama_infer_wait(engine, id + 1, -1));
    CHECK_STATUS(NOT_FOUND, llama_infer_cancel(engine, UINT64_MAX));
    CHECK_STATUS(NOT_FOUND, llama_infer_cancel(other, id));
    CHECK_STATUS(INVALID_HANDLE, llama_infer_wait((llama_engine *)queue, id, -1));
    CHECK_STATUS(INVALID_HANDLE, llama_infer_wait((llama_engine *)&id, id, -1));
    params.queue = (llama_infer_queue *)engine;
    CHECK_STATUS(INVALID_HANDLE, llama_infer_async(engine, "A", &params, NULL, NULL, NULL));
    CHECK_OK(llama_engine_free(engine));
    CHECK_STATUS(INVALID_HANDLE, llama_engine_free(engine));
    CHECK_STATUS(INVALID_HANDLE, llama_infer_cancel(engine, id));
    CHECK_OK(llama_infer_queue_free(queue));
    CHECK_STATUS(INVALID_HANDLE, llama_infer_queue_free(queue));
    CHECK(llama_infer_queue_fd(queue) == -1);
    params.queue = queue;
    CHECK_STATUS(INVALID_HANDLE, llama_infer_async(other, "A", &params, NULL, NULL, NULL));
    CHECK_OK(llama_engine_free(other));
}

static void test_structs_of_other_versions(void) {
    llama_engine *engine = load();
    static struct log log;

    /* Of an older header: it ends before `seed`. What follows in memory must not be read. */
    struct {
        llama_infer_params params;
        char after[64];
    } newer;
    memset(&newer, 0xff, sizeof newer);
    char *old = malloc(offsetof(llama_infer_params, seed));
    CHECK_OK(llama_infer_params_init((llama_infer_params *)old, offsetof(llama_infer_params, seed)));
    size_t size;
    memcpy(&size, old, sizeof size);
    CHECK(size == offsetof(llama_infer_params, seed));
    uint32_t max_tokens = 7;
    memcpy(old + offsetof(llama_infer_params, max_tokens), &max_tokens, sizeof max_tokens);
    CHECK_OK(llama_infer_async(engine, "A", (const llama_infer_params *)old, on_event, &log, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(log.finished == 1 && log.tokens <= 7);
    free(old);

    /* Of a newer header: fine while what is not known here is 0. */
    CHECK_OK(llama_infer_params_init(&newer.params, sizeof newer));
    CHECK(newer.params.size == sizeof newer && newer.after[0] == 0 && newer.after[63] == 0);
    newer.params.max_tokens = 3;
    CHECK_OK(llama_infer_async(engine, "A", &newer.params, ignore, NULL, NULL));
    newer.after[10] = 1;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &newer.params, ignore, NULL, NULL));
    ERROR_SAYS("update the library");

    /* Never initialised. */
    newer.params.size = 0;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &newer.params, ignore, NULL, NULL));
    ERROR_SAYS("llama_infer_default_params");
    newer.params.size = (size_t)-1;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &newer.params, ignore, NULL, NULL));

    /* Structs that are filled: only as far as they go. */
    char *stats = malloc(offsetof(llama_engine_stats, model_bytes));
    size = offsetof(llama_engine_stats, model_bytes);
    memcpy(stats, &size, sizeof size);
    CHECK_OK(llama_engine_get_stats(engine, (llama_engine_stats *)stats));
    CHECK(((llama_engine_stats *)stats)->slots == 4);
    size = 0;
    memcpy(stats, &size, sizeof size);
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_get_stats(engine, (llama_engine_stats *)stats));
    free(stats);

    llama_engine_params engine_params = llama_engine_default_params();
    engine_params.size = 3;
    llama_engine *none = NULL;
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_load(model, &engine_params, &none));
    CHECK(none == NULL);
    CHECK_OK(llama_engine_free(engine));
}

/* Sums up probabilities: those of the likeliest tokens in a token's place are at most 1, and in order. */
static void check_logprobs(const llama_infer_event *event, void *user_data) {
    int *n_tokens = user_data;
    if (event->n_tokens == 0) {
        CHECK(event->logprobs == NULL && event->n_logprobs == 0);
        return;
    }
    CHECK(event->n_logprobs == 1 + 3 && event->logprobs[0].token == event->tokens[0]);
    /* Greedy and free, the token is the likeliest. */
    CHECK(event->logprobs[1].token == event->tokens[0] && event->logprobs[1].logprob == event->logprobs[0].logprob);
    for (size_t i = 1; i < event->n_logprobs; i++)
        CHECK(event->logprobs[i].logprob <= (i == 1 ? 0 : event->logprobs[i - 1].logprob));
    ++*n_tokens;
}

static void test_constraints_and_logprobs(void) {
    llama_engine *engine = load();
    llama_infer_params params = of_length(64);
    llama_infer_id id;
    params.json_schema = "{\"type\": \"object\", \"properties\": {\"n\": {\"enum\": [7, 8]}}, \"required\": [\"n\"], "
                         "\"additionalProperties\": false, \"x-guidance\": {\"whitespace_flexible\": false}}";
    struct log log = {0};
    CHECK_OK(llama_infer_async(engine, "A fox", &params, on_event, &log, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(strcmp(log.text, "{\"n\":7}") == 0 || strcmp(log.text, "{\"n\":8}") == 0);
    params.json_schema = NULL;
    params.regex = "(left|right)";
    memset(&log, 0, sizeof log);
    CHECK_OK(llama_infer_async(engine, "A fox", &params, on_event, &log, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(strcmp(log.text, "left") == 0 || strcmp(log.text, "right") == 0);
    params.grammar = "start: \"a\"";
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    ERROR_SAYS("one of them");
    params.regex = NULL;
    memset(&log, 0, sizeof log);
    CHECK_OK(llama_infer_async(engine, "A fox", &params, on_event, &log, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(strcmp(log.text, "a") == 0);
    params.grammar = "start: nothing";
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    ERROR_SAYS("nothing");

    params = of_length(3);
    int32_t first[8];
    memset(&log, 0, sizeof log);
    CHECK_OK(llama_infer_async(engine, "A fox", &params, on_event, &log, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    size_t n_first = 0;
    CHECK_OK(llama_engine_tokenize(engine, log.text, false, false, first, 8, &n_first));
    char whole[sizeof log.text];
    strcpy(whole, log.text);
    // The very token that would come next ends the text, unless more have to come before.
    params.stop_token_ids = first;
    params.n_stop_token_ids = 1;
    memset(&log, 0, sizeof log);
    CHECK_OK(llama_infer_async(engine, "A fox", &params, on_event, &log, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(strlen(log.text) < strlen(whole));
    params.min_tokens = 4;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    ERROR_SAYS("min_tokens");
    params = of_length(3);
    params.mirostat = 3;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    ERROR_SAYS("mirostat");
    params.mirostat = 0;
    params.typical_p = 2;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    ERROR_SAYS("typical_p");

    params = of_length(10);
    params.logprobs = -2;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    params.logprobs = 3;
    int n_tokens = 0;
    CHECK_OK(llama_infer_async(engine, "A fox", &params, check_logprobs, &n_tokens, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(n_tokens > 0);
    params.reserved_2[1] = true;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    CHECK_OK(llama_engine_free(engine));
}

static void keep_ids(const llama_infer_event *event, void *user_data) {
    int32_t *ids = user_data;
    for (size_t i = 0; i < event->n_tokens; i++) ids[event->position + i] = event->tokens[i];
}

static void generate_ids(llama_engine *engine, const llama_infer_params *params, int32_t *ids) {
    llama_infer_id id;
    CHECK_OK(llama_infer_async(engine, "A fox", params, keep_ids, ids, &id));
    CHECK_OK(llama_infer_wait(engine, id, -1));
}

static void test_repetitions_and_targets(void) {
    enum { N = 8 };
    static const char *const breakers[] = {"#"};
    llama_engine *engine = load();
    int32_t ids[N], others[N];
    llama_infer_params params = of_length(N);
    generate_ids(engine, &params, ids);

    llama_infer_logit_bias always = {ids[0], 100};
    params.logit_bias = &always, params.n_logit_bias = 1;
    generate_ids(engine, &params, ids);
    for (int i = 0; i < N; i++) CHECK(ids[i] == always.token);
    params.dry_multiplier = 1000, params.dry_sequence_breakers = breakers, params.n_dry_sequence_breakers = 1;
    generate_ids(engine, &params, others);
    CHECK(memcmp(ids, others, sizeof ids) != 0);
    params.dry_penalty_last_n = 0;
    generate_ids(engine, &params, others);
    CHECK(memcmp(ids, others, sizeof ids) == 0);

    params = of_length(N);
    params.temperature = 1, params.top_k = 0, params.top_p = 1, params.min_p = 0, params.seed = 1;
    generate_ids(engine, &params, ids);
    params.adaptive_target = 0.1f;
    generate_ids(engine, &params, others);
    CHECK(memcmp(ids, others, sizeof ids) != 0);
    params.adaptive_decay = 2;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", &params, on_event, NULL, NULL));
    ERROR_SAYS("adaptive_decay is 2");
    CHECK_OK(llama_engine_free(engine));
}

static void test_values_out_of_range(void) {
    llama_engine *engine = load(), *none = NULL;
    llama_infer_params params = of_length(4);
    params.temperature = NAN;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    ERROR_SAYS("temperature");
    const char *prompts[] = {"A", "B"};
    CHECK_STATUS(INVALID_REQUEST, llama_infer_batch_async(engine, prompts, 2, &params, ignore, NULL, NULL));
    params = of_length(4);
    params.reserved[4] = true;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    params = of_length(4);
    params.priority = 9;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    ERROR_SAYS("llama_infer_priority");
    params = of_length(4);
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "", &params, ignore, NULL, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_async(engine, "caf\xe9", &params, ignore, NULL, NULL));
    ERROR_SAYS("UTF-8");
    const int32_t wild[] = {1, 1 << 30};
    CHECK_STATUS(INVALID_REQUEST, llama_infer_tokens_async(engine, wild, 2, &params, ignore, NULL, NULL));
    char text[16];
    CHECK_STATUS(INVALID_REQUEST, llama_engine_detokenize(engine, wild, 2, text, sizeof text, NULL));
    params.chat_tools = "not json";
    llama_infer_message message = {"user", "Hello"};
    CHECK_STATUS(INVALID_REQUEST, llama_infer_chat_async(engine, &message, 1, &params, ignore, NULL, NULL));
    ERROR_SAYS("chat_tools");
    params.chat_tools = NULL;
    params.chat_variables = "[1]";
    CHECK_STATUS(INVALID_REQUEST, llama_infer_chat_async(engine, &message, 1, &params, ignore, NULL, NULL));

    params = of_length(1000000);
    CHECK_STATUS(PROMPT_TOO_LONG, llama_infer_async(engine, "A fox", &params, ignore, NULL, NULL));
    llama_infer_error_detail detail = {.size = sizeof detail};
    CHECK_OK(llama_infer_last_error_detail(&detail));
    CHECK(detail.status == LLAMA_INFER_STATUS_PROMPT_TOO_LONG && detail.max_tokens == 1000000);
    CHECK(detail.n_prompt_tokens > 0 && detail.n_ctx > 0 && detail.retry_after_ms == 0);
    CHECK_OK(llama_engine_free(engine));

    llama_engine_params engine_params = llama_engine_default_params();
    engine_params.strategy = 17;
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    engine_params = llama_engine_default_params();
    engine_params.type_k = -1;
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    engine_params = llama_engine_default_params();
    engine_params.slots = 100000;
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    ERROR_SAYS("slots");
    engine_params = llama_engine_default_params();
    engine_params.placement = 9;
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    ERROR_SAYS("placement");
    engine_params = llama_engine_default_params();
    engine_params.replicate = -1;
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    engine_params = llama_engine_default_params();
    engine_params.cpus = "first";
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    ERROR_SAYS("0-3,8");
    engine_params.cpus = "60000";
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
    engine_params.cpus = NULL;
    engine_params.nodes = "60000";
    CHECK_STATUS(INVALID_CONFIG, llama_engine_load(model, &engine_params, &none));
}

static void test_overload(void) {
    llama_engine_params engine_params = llama_engine_default_params();
    engine_params.slots = 1;
    engine_params.threads = 1;
    engine_params.pin = false;
    engine_params.max_queued_requests = 2;
    engine_params.park_after_ms = 3600000;
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &engine_params, &engine));
    llama_infer_params params = of_length(900);
    static struct gate refused = GATE_INIT;
    CHECK_OK(llama_infer_async(engine, "A", &params, wait_at_gate, &refused, NULL));
    for (int i = 0; i < 2; i++)
        CHECK_OK(llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    CHECK_STATUS(OVERLOADED, llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    llama_infer_error_detail detail = {.size = sizeof detail};
    CHECK_OK(llama_infer_last_error_detail(&detail));
    CHECK(detail.status == LLAMA_INFER_STATUS_OVERLOADED && detail.retry_after_ms > 0);
    gate_open(&refused);
    CHECK_OK(llama_engine_free(engine));
}

static void test_deadlines(void) {
    static struct log late, queued;
    llama_engine *engine = load_with(1);
    llama_infer_params params = of_length(900);
    params.timeout_ms = 1;
    CHECK_OK(llama_infer_async(engine, "A", &params, on_event, &late, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    /* A request whose reader stands still keeps the only slot until the one that waits for it gave up. */
    static struct gate gave_up = GATE_INIT;
    llama_infer_id id, blocked;
    params = of_length(900);
    CHECK_OK(llama_infer_async(engine, "A", &params, wait_at_gate, &gave_up, &blocked));
    params.queue_timeout_ms = 1;
    CHECK_OK(llama_infer_async(engine, "A", &params, on_event, &queued, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK_OK(llama_infer_cancel(engine, blocked));
    gate_open(&gave_up);
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(late.reason == LLAMA_INFER_FINISH_REASON_DEADLINE && late.finished == 1);
    CHECK(queued.reason == LLAMA_INFER_FINISH_REASON_DEADLINE && queued.tokens == 0 && queued.finished == 1);
    CHECK_OK(llama_engine_free(engine));
}

struct batch {
    atomic_int inside;
    int tokens[60], finished[60];
    llama_infer_status status[60];
    size_t remaining;
    int ended;
};

static void on_batch(const llama_infer_event *event, void *user_data) {
    struct batch *batch = user_data;
    CHECK(atomic_fetch_add(&batch->inside, 1) == 0);
    CHECK(event->index < 60 && batch->finished[event->index] == 0);
    if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN) {
        batch->tokens[event->index] += (int)event->n_tokens;
    } else {
        batch->finished[event->index]++;
        batch->status[event->index] = event->result->status;
        batch->remaining--;
        CHECK(event->n_remaining == batch->remaining);
        batch->ended = event->n_remaining == 0;
    }
    atomic_fetch_sub(&batch->inside, 1);
}

/* More prompts than slots and queue have room for. */
static void test_batch(void) {
    static struct batch batch = {.remaining = 60}, cancelled = {.remaining = 60};
    llama_engine_params engine_params = llama_engine_default_params();
    engine_params.slots = 4;
    engine_params.threads = 1;
    engine_params.pin = false;
    engine_params.max_queued_requests = 3;
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &engine_params, &engine));
    const char *prompts[60];
    for (int i = 0; i < 60; i++)
        prompts[i] = i == 13 ? "" : i % 2 ? "A fox" : "The old boat";
    llama_infer_params params = of_length(5);
    llama_infer_id id;
    CHECK_OK(llama_infer_batch_async(engine, prompts, 60, &params, on_batch, &batch, &id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    CHECK(batch.ended);
    for (int i = 0; i < 60; i++) {
        CHECK(batch.finished[i] == 1 && batch.tokens[i] == (i == 13 ? 0 : 5));
        CHECK(batch.status[i] == (i == 13 ? LLAMA_INFER_STATUS_INVALID_REQUEST : LLAMA_INFER_STATUS_OK));
    }
    params = of_length(500);
    CHECK_OK(llama_infer_batch_async(engine, prompts, 60, &params, on_batch, &cancelled, &id));
    CHECK_OK(llama_infer_cancel(engine, id));
    CHECK_OK(llama_infer_wait(engine, id, PATIENCE_MS));
    for (int i = 0; i < 60; i++)
        CHECK(cancelled.finished[i] == 1);
    /* A batch leaves room in the queue for others. */
    llama_engine *roomy = load();
    memset(&batch, 0, sizeof batch);
    batch.remaining = 60;
    CHECK_OK(llama_infer_batch_async(roomy, prompts, 60, &params, on_batch, &batch, &id));
    for (int i = 0; i < 100; i++)
        CHECK_OK(llama_infer_async(roomy, "Me too", &params, ignore, NULL, NULL));
    CHECK_OK(llama_engine_free(roomy));

    /* And one that is under way when its engine is freed. */
    memset(&batch, 0, sizeof batch);
    batch.remaining = 60;
    CHECK_OK(llama_infer_batch_async(engine, prompts, 60, &params, on_batch, &batch, &id));
    CHECK_OK(llama_engine_free(engine));
    for (int i = 0; i < 60; i++)
        CHECK(batch.finished[i] == 1);
}

static void test_chat_and_tokens(void) {
    static struct log chat, plain, by_tokens;
    llama_engine *engine = load();
    llama_infer_message messages[] = {{"user", "What is the capital of France?"}};
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 30;
    CHECK_OK(llama_infer_chat_async(engine, messages, 1, &params, on_event, &chat, NULL));

    size_t length = 0;
    CHECK_STATUS(BUFFER_TOO_SMALL, llama_engine_chat_prompt(engine, messages, 1, &params, NULL, 0, &length));
    CHECK(length > strlen(messages[0].content));
    char *prompt = malloc(length + 1);
    CHECK_STATUS(BUFFER_TOO_SMALL, llama_engine_chat_prompt(engine, messages, 1, &params, prompt, length, &length));
    CHECK_OK(llama_engine_chat_prompt(engine, messages, 1, &params, prompt, length + 1, &length));
    CHECK(strlen(prompt) == length);
    CHECK_OK(llama_infer_async(engine, prompt, &params, on_event, &plain, NULL));

    /* The same messages as JSON, and what only JSON can say. */
    char again[1024];
    llama_infer_params json = llama_infer_default_params();
    json.chat_messages = "[{\"role\": \"user\", \"content\": [{\"type\": \"text\", \"text\": \"What is the capital of France?\"}]}]";
    CHECK_OK(llama_engine_chat_prompt(engine, NULL, 0, &json, again, sizeof again, NULL));
    CHECK(strcmp(prompt, again) == 0);
    CHECK_STATUS(INVALID_REQUEST, llama_engine_chat_prompt(engine, messages, 1, &json, again, sizeof again, NULL));
    json.chat_messages = "[{\"role\": \"user\", \"content\": \"Hi\"}, {\"role\": \"assistant\", \"content\": \"So\"}]";
    CHECK_OK(llama_engine_chat_prompt(engine, NULL, 0, &json, again, sizeof again, NULL));
    CHECK(strcmp(again + strlen(again) - 2, "So") == 0);
    json.continue_final_message = LLAMA_INFER_CONTINUATION_NEVER;
    CHECK_OK(llama_engine_chat_prompt(engine, NULL, 0, &json, again, sizeof again, NULL));
    CHECK(strcmp(again + strlen(again) - 2, "So") != 0);
    json.continue_final_message = 9;
    CHECK_STATUS(INVALID_REQUEST, llama_engine_chat_prompt(engine, NULL, 0, &json, again, sizeof again, NULL));
    json.continue_final_message = LLAMA_INFER_CONTINUATION_AUTO;
    json.chat_messages = "{}";
    CHECK_STATUS(INVALID_REQUEST, llama_engine_chat_prompt(engine, NULL, 0, &json, again, sizeof again, NULL));
    json.chat_messages = NULL;
    json.reserved_3[0] = true;
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_chat_prompt(engine, messages, 1, &json, again, sizeof again, NULL));

    size_t n = 0, counted = 0;
    CHECK_STATUS(BUFFER_TOO_SMALL, llama_engine_tokenize(engine, prompt, true, true, NULL, 0, &n));
    CHECK_OK(llama_engine_count_tokens(engine, prompt, &counted));
    CHECK(n == counted && n > 0 && n <= length + 8);
    int32_t *tokens = malloc(n * sizeof *tokens);
    CHECK_STATUS(BUFFER_TOO_SMALL, llama_engine_tokenize(engine, prompt, true, true, tokens, n - 1, &n));
    CHECK_OK(llama_engine_tokenize(engine, prompt, true, true, tokens, n, &n));
    CHECK_OK(llama_infer_tokens_async(engine, tokens, n, &params, on_event, &by_tokens, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(chat.length > 0 && strcmp(chat.text, plain.text) == 0 && strcmp(chat.text, by_tokens.text) == 0);

    CHECK_OK(llama_engine_tokenize(engine, "A small boat", false, false, tokens, n, &counted));
    char text[64];
    CHECK_OK(llama_engine_detokenize(engine, tokens, counted, text, sizeof text, &length));
    CHECK(strstr(text, "small boat") && strlen(text) == length);
    CHECK_STATUS(BUFFER_TOO_SMALL, llama_engine_detokenize(engine, tokens, counted, text, 3, &length));

    /* Special tokens are text where one asks for it, and a stop string of one ends a text in any case. */
    const char *user = "<|user|>";
    CHECK_OK(llama_engine_tokenize(engine, user, false, true, tokens, n, &counted));
    CHECK(counted == 1);
    CHECK_OK(llama_engine_detokenize(engine, tokens, 1, text, sizeof text, &length));
    CHECK(length == 0 && text[0] == 0);
    CHECK_OK(llama_engine_detokenize_with(engine, tokens, 1, true, text, sizeof text, &length));
    CHECK(strcmp(text, user) == 0 && length == strlen(user));
    static struct log hidden, shown, ended;
    llama_infer_logit_bias likely = {tokens[0], 1000.0f};
    llama_infer_params marked = llama_infer_default_params();
    CHECK(!marked.special);
    marked.max_tokens = 2;
    marked.logit_bias = &likely;
    marked.n_logit_bias = 1;
    CHECK_OK(llama_infer_async(engine, "A", &marked, on_event, &hidden, NULL));
    marked.special = true;
    CHECK_OK(llama_infer_async(engine, "A", &marked, on_event, &shown, NULL));
    marked.stop = &user;
    marked.n_stop = 1;
    CHECK_OK(llama_infer_async(engine, "A", &marked, on_event, &ended, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(hidden.length == 0 && strcmp(shown.text, "<|user|><|user|>") == 0 && ended.length == 0);

    /* Stop strings, and a token that is forbidden. */
    static struct log stopped;
    const char *stop[] = {"nothing like it", "."};
    params = of_length(200);
    params.stop = stop;
    params.n_stop = 2;
    CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, on_event, &stopped, NULL));
    int32_t free_choice = -1, other_choice = -1;
    params = of_length(1);
    CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, keep_token, &free_choice, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(stopped.reason == LLAMA_INFER_FINISH_REASON_STOP && !strchr(stopped.text, '.'));
    llama_infer_logit_bias never = {free_choice, -INFINITY};
    params.logit_bias = &never;
    params.n_logit_bias = 1;
    CHECK_OK(llama_infer_async(engine, "Once upon a time", &params, keep_token, &other_choice, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(free_choice >= 0 && other_choice >= 0 && free_choice != other_choice);
    free(tokens);
    free(prompt);
    CHECK_OK(llama_engine_free(engine));
}

/* What an answer with a call of a tool told. */
struct call_log {
    atomic_int finished;
    int calls, tokens;
    char id[64], name[64], arguments[512], content[512], message[1024];
    llama_infer_finish_reason reason;
};

static void append(char *text, size_t size, const char *piece) {
    CHECK(strlen(text) + strlen(piece) < size);
    strcat(text, piece);
}

static void on_call_event(const llama_infer_event *event, void *user_data) {
    struct call_log *log = user_data;
    CHECK(event->text && event->text[event->text_length] == '\0');
    CHECK(event->n_tokens == 0 || event->position == (size_t)log->tokens);
    log->tokens += (int)event->n_tokens;
    switch (event->type) {
    case LLAMA_INFER_EVENT_TYPE_TOKEN:
        CHECK(!event->tool_call);
        append(log->content, sizeof log->content, event->text);
        break;
    case LLAMA_INFER_EVENT_TYPE_TOOL_CALL:
        CHECK(event->tool_call && event->tool_call->id && event->tool_call->name);
        append(log->id, sizeof log->id, event->tool_call->id);
        append(log->name, sizeof log->name, event->tool_call->name);
        log->calls++;
        break;
    case LLAMA_INFER_EVENT_TYPE_ARGUMENTS:
        CHECK(log->calls > 0 && event->tool_call && strcmp(event->tool_call->name, log->name) == 0);
        append(log->arguments, sizeof log->arguments, event->text);
        break;
    case LLAMA_INFER_EVENT_TYPE_FINISHED: {
        const llama_infer_result *result = event->result;
        CHECK(result && result->status == LLAMA_INFER_STATUS_OK && result->reasoning && result->message);
        CHECK(result->n_tool_calls == (size_t)log->calls && (log->calls == 0) == (result->tool_calls == NULL));
        if (log->calls == 1) {
            CHECK(strcmp(result->tool_calls[0].id, log->id) == 0 && strcmp(result->tool_calls[0].name, log->name) == 0);
            CHECK(strcmp(result->tool_calls[0].arguments, log->arguments) == 0);
            CHECK(strstr(result->message, log->id) && strstr(result->message, "\"tool_calls\""));
        }
        CHECK(strcmp(result->text, log->content) == 0);
        append(log->message, sizeof log->message, result->message);
        log->reason = result->reason;
        atomic_fetch_add(&log->finished, 1);
        break;
    }
    default: CHECK(!"an event of a type that was not asked for");
    }
}

/* Calls of tools: in events, in the result, back in the chat as structs and as JSON, and what is no such thing. */
static void test_chats_with_tools(void) {
    static struct call_log called, cut, none;
    llama_engine *engine = load();
    llama_infer_chat_message question = {.size = sizeof question, .role = "user", .content = "Switch the lamp on."};
    const llama_infer_chat_message *chat[3] = {&question};
    llama_infer_params params = llama_infer_default_params();
    CHECK(params.chat_parallel_tool_calls && params.chat_thinking_budget == -1 && !params.chat && !params.chat_tool_choice);
    params.max_tokens = 300;
    params.chat = chat;
    params.n_chat = 1;
    params.chat_tools =
        "[{\"type\": \"function\", \"function\": {\"name\": \"lamp\", \"parameters\": {\"type\": \"object\","
        " \"properties\": {\"state\": {\"enum\": [\"on\", \"off\"]}}, \"required\": [\"state\"],"
        " \"additionalProperties\": false}}}]";
    params.chat_tool_choice = "required";
    params.chat_parallel_tool_calls = false;
    CHECK_OK(llama_infer_chat_async(engine, NULL, 0, &params, on_call_event, &called, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(called.finished == 1 && called.calls == 1 && strcmp(called.name, "lamp") == 0);
    CHECK(called.arguments[0] == '{' && called.arguments[strlen(called.arguments) - 1] == '}');
    CHECK(strstr(called.arguments, "\"state\"") && (strstr(called.arguments, "\"on\"") || strstr(called.arguments, "\"off\"")));

    /* An answer that is cut off says so, and what there is of it is there. */
    params.max_tokens = 3;
    CHECK_OK(llama_infer_chat_async(engine, NULL, 0, &params, on_call_event, &cut, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(cut.finished == 1 && cut.reason == LLAMA_INFER_FINISH_REASON_LENGTH && cut.tokens <= 3);

    /* The next turn, as structs and as JSON: the same prompt, with the call and its result in it. */
    llama_infer_tool_call call = {.id = called.id, .name = called.name, .arguments = called.arguments};
    llama_infer_chat_message answer = {
        .size = sizeof answer, .role = "assistant", .tool_calls = &call, .n_tool_calls = 1};
    llama_infer_chat_message result = {
        .size = sizeof result, .role = "tool", .tool_call_id = called.id, .content = "It shines."};
    chat[1] = &answer;
    chat[2] = &result;
    params.max_tokens = 40;
    params.n_chat = 3;
    params.chat_tool_choice = "none";
    static char prompt[8192], again[8192], messages[4096];
    CHECK_OK(llama_engine_chat_prompt(engine, NULL, 0, &params, prompt, sizeof prompt, NULL));
    CHECK(strstr(prompt, "It shines.") && strstr(prompt, "\"state\"") && strstr(prompt, "Switch the lamp on."));
    snprintf(messages, sizeof messages,
             "[{\"role\": \"user\", \"content\": \"Switch the lamp on.\"}, %s,"
             " {\"role\": \"tool\", \"tool_call_id\": \"%s\", \"content\": \"It shines.\"}]",
             called.message, called.id);
    llama_infer_params json = params;
    json.chat = NULL;
    json.n_chat = 0;
    json.chat_messages = messages;
    CHECK_OK(llama_engine_chat_prompt(engine, NULL, 0, &json, again, sizeof again, NULL));
    CHECK(strcmp(prompt, again) == 0);
    CHECK_OK(llama_infer_chat_async(engine, NULL, 0, &params, on_call_event, &none, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(none.finished == 1 && none.calls == 0);

    /* What is wrong is refused with words, and nothing starts. */
    json.chat = chat;
    json.n_chat = 3;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_chat_async(engine, NULL, 0, &json, ignore, NULL, NULL));
    ERROR_SAYS("chat_messages");
    static const struct {
        const char *choice, *says;
    } choices[] = {
        {"sometimes", "chat_tool_choice"},
        {"{\"type\": \"function\", \"function\": {\"name\": \"door\"}}", "door"},
        {"{", "chat_tool_choice"},
        {"\xff", "UTF-8"},
    };
    for (size_t i = 0; i < sizeof choices / sizeof *choices; i++) {
        llama_infer_params wrong = params;
        wrong.chat_tool_choice = choices[i].choice;
        llama_infer_status status = llama_infer_chat_async(engine, NULL, 0, &wrong, ignore, NULL, NULL);
        CHECK(status == LLAMA_INFER_STATUS_INVALID_REQUEST || status == LLAMA_INFER_STATUS_INVALID_ARGUMENT);
        ERROR_SAYS(choices[i].says);
    }
    llama_infer_params wrong = params;
    wrong.chat_tools = NULL;
    wrong.chat_tool_choice = "required";
    CHECK_STATUS(INVALID_REQUEST, llama_infer_chat_async(engine, NULL, 0, &wrong, ignore, NULL, NULL));
    wrong = params;
    wrong.chat_thinking_budget = -2;
    CHECK_STATUS(INVALID_REQUEST, llama_infer_chat_async(engine, NULL, 0, &wrong, ignore, NULL, NULL));
    ERROR_SAYS("chat_thinking_budget");
    chat[1] = NULL;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, NULL, 0, &params, ignore, NULL, NULL));
    chat[1] = &answer;
    answer.size = 0;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, NULL, 0, &params, ignore, NULL, NULL));
    answer.size = sizeof answer;
    answer.tool_calls = NULL;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, NULL, 0, &params, ignore, NULL, NULL));
    answer.tool_calls = &call;
    call.name = NULL;
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_chat_async(engine, NULL, 0, &params, ignore, NULL, NULL));
    call.name = "lamp";
    call.arguments = "no JSON";
    llama_infer_status status = llama_infer_chat_async(engine, NULL, 0, &params, ignore, NULL, NULL);
    CHECK(status == LLAMA_INFER_STATUS_OK || status == LLAMA_INFER_STATUS_INVALID_REQUEST);
    CHECK_OK(llama_engine_free(engine));
}

/* Vectors, ranks and scores of several texts, by index. */
struct found {
    atomic_int finished, failed;
    float first[4], last[4];
    size_t n_embedding[4], n_vectors[4], n_logprobs[4];
    double logprob[4];
    bool is_greedy[4];
    uint32_t n_prompt_tokens[4];
    llama_infer_finish_reason reason[4];
};

static void on_found(const llama_infer_event *event, void *user_data) {
    struct found *found = user_data;
    const llama_infer_result *result = event->result;
    if (event->type != LLAMA_INFER_EVENT_TYPE_FINISHED)
        return; /* the one token behind a continuation */
    CHECK(event->index < 4 && result != NULL);
    uint32_t i = event->index;
    CHECK((result->n_embedding == 0) == (result->embedding == NULL) && (result->n_vectors == 0) == (result->n_embedding == 0));
    if (result->n_embedding > 0) {
        found->first[i] = result->embedding[0];
        found->last[i] = result->embedding[result->n_embedding - 1];
    }
    double sum = 0;
    for (size_t j = 0; j < event->n_logprobs; j++)
        sum += event->logprobs[j].logprob;
    CHECK(event->n_logprobs == 0 || (sum - result->logprob < 1e-3 && result->logprob - sum < 1e-3));
    found->n_embedding[i] = result->n_embedding;
    found->n_vectors[i] = result->n_vectors;
    found->n_logprobs[i] = event->n_logprobs;
    found->logprob[i] = result->logprob;
    found->is_greedy[i] = result->is_greedy;
    found->n_prompt_tokens[i] = result->n_prompt_tokens;
    found->reason[i] = result->reason;
    found->failed += result->status != LLAMA_INFER_STATUS_OK;
    found->finished++;
}

static void test_vectors_ranks_and_scores(void) {
    llama_engine *engine = load();
    static struct found mean, each, scored, ranked, refused;
    const char *texts[] = {"A fox", "A boat on the sea", "A fox"};
    CHECK_OK(llama_infer_embed_async(engine, texts, 3, LLAMA_INFER_POOLING_AUTO, true, NULL, on_found, &mean, NULL));
    CHECK_OK(llama_infer_embed_async(engine, texts, 3, LLAMA_INFER_POOLING_NONE, true, NULL, on_found, &each, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(mean.finished == 3 && mean.failed == 0 && each.finished == 3);
    CHECK(mean.n_vectors[1] == 1 && mean.n_embedding[0] == mean.n_embedding[1] && mean.first[0] != mean.first[1]);
    CHECK(mean.first[0] == mean.first[2] && mean.reason[0] == LLAMA_INFER_FINISH_REASON_STOP);
    CHECK(each.n_vectors[1] == each.n_prompt_tokens[1] && each.n_embedding[1] == each.n_vectors[1] * mean.n_embedding[1]);

    /* By a queue, with what is wrong with one text. */
    llama_infer_queue *queue = NULL;
    CHECK_OK(llama_infer_queue_new(&queue));
    llama_infer_params params = llama_infer_default_params();
    params.queue = queue;
    char *long_text = malloc(1 << 16);
    memset(long_text, 'a', (1 << 16) - 1);
    for (size_t i = 0; i < (1 << 16) - 1; i += 2)
        long_text[i] = ' ';
    long_text[(1 << 16) - 1] = '\0';
    const char *mixed[] = {"A fox", long_text, ""};
    CHECK_OK(llama_infer_embed_async(engine, mixed, 3, LLAMA_INFER_POOLING_LAST, false, &params, NULL, &refused, NULL));
    for (const llama_infer_event *event = NULL; refused.finished < 3;) {
        CHECK_OK(llama_infer_poll(queue, PATIENCE_MS, &event));
        if (event->index == 1)
            CHECK(event->result->status == LLAMA_INFER_STATUS_PROMPT_TOO_LONG && event->result->error);
        on_found(event, event->user_data);
    }
    CHECK(refused.n_vectors[0] == 1 && refused.failed >= 1);
    CHECK_OK(llama_infer_queue_free(queue));
    free(long_text);

    const char *continuations[] = {" time", " xylophone"};
    CHECK_OK(llama_infer_score_async(engine, "Once upon a", continuations, 2, NULL, on_found, &scored, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(scored.finished == 2 && scored.failed == 0 && scored.is_greedy[0] && !scored.is_greedy[1]);
    CHECK(scored.logprob[0] > scored.logprob[1] && scored.logprob[0] <= 0 && scored.n_logprobs[1] > 1);

    CHECK_STATUS(INVALID_REQUEST, llama_infer_embed_async(engine, texts, 3, 17, true, NULL, on_found, &mean, NULL));
    ERROR_SAYS("llama_infer_pooling");
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_embed_async(engine, texts, 0, 0, true, NULL, on_found, &mean, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_embed_async(engine, NULL, 3, 0, true, NULL, on_found, &mean, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_embed_async(engine, texts, 3, 0, true, NULL, NULL, NULL, NULL));
    CHECK_STATUS(INVALID_REQUEST, llama_infer_rank_async(engine, "fox", texts, 3, NULL, on_found, &mean, NULL));
    ERROR_SAYS("no head that ranks");
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_rank_async(engine, NULL, texts, 3, NULL, on_found, &mean, NULL));
    CHECK_STATUS(INVALID_ARGUMENT, llama_infer_score_async(engine, NULL, texts, 3, NULL, on_found, &mean, NULL));
    CHECK_OK(llama_engine_free(engine));

    /* An encoder with a rank head lies beside the model. */
    char path[4096];
    snprintf(path, sizeof path, "%s", model);
    char *name = strrchr(path, '/');
    snprintf(name ? name + 1 : path, 32, "rerank.gguf");
    CHECK_OK(llama_engine_load(path, NULL, &engine));
    const char *documents[] = {"The boat has a red sail.", "A fox eats mice and berries.", "It rained all day."};
    CHECK_OK(llama_infer_rank_async(engine, "What does a fox eat?", documents, 3, NULL, on_found, &ranked, NULL));
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK(ranked.finished == 3 && ranked.failed == 0 && ranked.n_embedding[1] == 1);
    CHECK(ranked.first[1] > ranked.first[0] && ranked.first[1] > ranked.first[2]);
    CHECK_STATUS(INVALID_REQUEST, llama_infer_async(engine, "A fox", NULL, ignore, NULL, NULL));
    ERROR_SAYS("encoder");
    CHECK_OK(llama_engine_free(engine));
}

/* The descriptor is readable while there are events, and polling until TIMEOUT makes it unreadable. */
static void test_queue(void) {
    static struct log logs[6];
    llama_engine *engine = load(), *other = load_with(2);
    llama_infer_queue *queue = NULL;
    CHECK_OK(llama_infer_queue_new(&queue));
    const int fd = llama_infer_queue_fd(queue);
    CHECK(fd >= 0);
    struct pollfd source = {.fd = fd, .events = POLLIN};
    const llama_infer_event *event = NULL;
    CHECK(poll(&source, 1, 0) == 0);
    CHECK_STATUS(TIMEOUT, llama_infer_poll(queue, 0, &event));
    CHECK_STATUS(TIMEOUT, llama_infer_poll(queue, 1, &event));
    CHECK(event == NULL);

    llama_infer_params params = of_length(20);
    params.queue = queue;
    llama_infer_id id = 0;
    for (int i = 0; i < 6; i++)
        CHECK_OK(llama_infer_async(i % 2 ? other : engine, "A small boat", &params, NULL, &logs[i], &id));
    for (int ended = 0; ended < 6;) {
        CHECK(poll(&source, 1, PATIENCE_MS) == 1);
        while (llama_infer_poll(queue, 0, &event) == LLAMA_INFER_STATUS_OK) {
            take(event->user_data, event);
            ended += event->type == LLAMA_INFER_EVENT_TYPE_FINISHED;
        }
    }
    CHECK(poll(&source, 1, 0) == 0);
    CHECK_OK(llama_infer_wait(other, id, 0));
    for (int i = 0; i < 6; i++)
        CHECK(logs[i].finished == 1 && logs[i].tokens == 20 && strcmp(logs[i].text, logs[0].text) == 0);

    /* A batch, waiting inside of poll. */
    const char *prompts[] = {"A", "", "B"};
    static struct batch batch = {.remaining = 3};
    CHECK_OK(llama_infer_batch_async(engine, prompts, 3, &params, NULL, &batch, &id));
    while (!batch.ended) {
        CHECK_OK(llama_infer_poll(queue, PATIENCE_MS, &event));
        on_batch(event, event->user_data);
    }
    CHECK(batch.status[1] == LLAMA_INFER_STATUS_INVALID_REQUEST && batch.tokens[0] == 20 && batch.tokens[2] == 20);

    /* The engine goes first: what it still had to say can be polled. */
    memset(logs, 0, sizeof logs);
    params = of_length(500);
    params.queue = queue;
    CHECK_OK(llama_infer_async(engine, "A small boat", &params, NULL, &logs[0], NULL));
    CHECK_OK(llama_engine_free(engine));
    while (!logs[0].finished) {
        CHECK_OK(llama_infer_poll(queue, PATIENCE_MS, &event));
        take(event->user_data, event);
    }
    CHECK(logs[0].reason == LLAMA_INFER_FINISH_REASON_CANCELLED);

    /* What was refused has nothing to do with the queue. */
    params.max_tokens = 1000000;
    for (int i = 0; i < 100; i++)
        CHECK_STATUS(PROMPT_TOO_LONG, llama_infer_async(other, "A small boat", &params, NULL, NULL, NULL));
    params.max_tokens = 500;
    CHECK_STATUS(TIMEOUT, llama_infer_poll(queue, 0, &event));

    /* The queue goes first: its requests are cancelled. */
    CHECK_OK(llama_infer_async(other, "A small boat", &params, NULL, &logs[1], &id));
    CHECK_OK(llama_infer_queue_free(queue));
    CHECK_OK(llama_infer_wait(other, id, PATIENCE_MS));
    CHECK_STATUS(INVALID_HANDLE, llama_infer_poll(queue, 0, &event));
    CHECK_OK(llama_engine_free(other));
}

static atomic_int enough_polled;

static void *poll_for_ever(void *argument) {
    const llama_infer_event *event;
    llama_infer_status status;
    /* Both may come: the other thread may be polling just now. */
    do
        status = llama_infer_poll(argument, -1, &event);
    while (status == LLAMA_INFER_STATUS_BUSY);
    CHECK(status == LLAMA_INFER_STATUS_INVALID_HANDLE);
    return NULL;
}

static void test_a_queue_that_is_freed_wakes_who_polls_it(void) {
    llama_infer_queue *queue = NULL;
    CHECK_OK(llama_infer_queue_new(&queue));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, poll_for_ever, queue) == 0);
    /* Only one thread at a time: this becomes BUSY as soon as the other one waits. */
    const llama_infer_event *event;
    for (int i = 0; llama_infer_poll(queue, 0, &event) != LLAMA_INFER_STATUS_BUSY; i++)
        wait_a_little(i);
    CHECK_OK(llama_infer_queue_free(queue));
    pthread_join(thread, NULL);
}

static void *poll_and_count(void *argument) {
    const llama_infer_event *event;
    size_t events = 0;
    llama_infer_status status;
    /* `size` is read only while the queue is sure to live: the other thread frees it after 10 events. */
    while ((status = llama_infer_poll(argument, -1, &event)) == LLAMA_INFER_STATUS_OK)
        if (events++ < 10)
            CHECK(event->size == sizeof *event);
        else
            atomic_store(&enough_polled, 1);
    CHECK(status == LLAMA_INFER_STATUS_INVALID_HANDLE);
    return NULL;
}

static void test_a_queue_that_is_freed_while_events_come(void) {
    llama_engine *engine = load();
    for (int round = 0; round < 10; round++) {
        llama_infer_queue *queue = NULL;
        CHECK_OK(llama_infer_queue_new(&queue));
        atomic_store(&enough_polled, 0);
        llama_infer_params params = of_length(500);
        params.queue = queue;
        const char *prompts[] = {"A", "B", "C", "D", "E", "F", "G", "H"};
        CHECK_OK(llama_infer_batch_async(engine, prompts, 8, &params, NULL, NULL, NULL));
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, poll_and_count, queue) == 0);
        while (!atomic_load(&enough_polled))
            sched_yield();
        CHECK_OK(llama_infer_queue_free(queue));
        pthread_join(thread, NULL);
    }
    CHECK_OK(llama_infer_wait_all(engine, PATIENCE_MS));
    CHECK_OK(llama_engine_free(engine));
}

static void test_drain(void) {
    static struct log logs[8];
    llama_engine *engine = load_with(2);
    llama_infer_params params = of_length(30);
    for (int i = 0; i < 8; i++)
        CHECK_OK(llama_infer_async(engine, "A", &params, on_event, &logs[i], NULL));
    CHECK_STATUS(TIMEOUT, llama_engine_drain(engine, 0));
    CHECK_STATUS(SHUTTING_DOWN, llama_infer_async(engine, "A", &params, ignore, NULL, NULL));
    CHECK_OK(llama_engine_drain(engine, PATIENCE_MS));
    for (int i = 0; i < 8; i++)
        CHECK(logs[i].finished == 1 && logs[i].tokens == 30);
    CHECK_OK(llama_engine_free(engine));
}

static void *submit_until_refused(void *argument) {
    llama_engine *engine = argument;
    llama_infer_params params = of_length(50);
    for (;;) {
        llama_infer_id id = 0;
        llama_infer_status status = llama_infer_async(engine, "A fox", &params, ignore, NULL, &id);
        if (status == LLAMA_INFER_STATUS_INVALID_HANDLE || status == LLAMA_INFER_STATUS_SHUTTING_DOWN)
            return NULL;
        CHECK(status == LLAMA_INFER_STATUS_OK || status == LLAMA_INFER_STATUS_OVERLOADED);
        if (id % 3 == 0)
            llama_infer_cancel(engine, id);
        if (id % 7 == 0)
            llama_infer_wait(engine, id, -1);
    }
}

static atomic_int frees;

static void *free_engine(void *argument) {
    llama_infer_status status = llama_engine_free(argument);
    CHECK(status == LLAMA_INFER_STATUS_OK || status == LLAMA_INFER_STATUS_INVALID_HANDLE);
    atomic_fetch_add(&frees, status == LLAMA_INFER_STATUS_OK);
    return NULL;
}

/* Four threads submit, cancel and wait until two others free the engine under them. */
static void test_submit_cancel_wait_and_free_at_once(void) {
    for (int round = 0; round < 3; round++) {
        llama_engine *engine = load();
        pthread_t users[4], owners[2];
        atomic_store(&frees, 0);
        for (int t = 0; t < 4; t++)
            CHECK(pthread_create(&users[t], NULL, submit_until_refused, engine) == 0);
        llama_engine_stats stats = {.size = sizeof stats};
        do
            CHECK_OK(llama_engine_get_stats(engine, &stats));
        while (stats.output_tokens < 100);
        for (int t = 0; t < 2; t++)
            CHECK(pthread_create(&owners[t], NULL, free_engine, engine) == 0);
        for (int t = 0; t < 4; t++)
            pthread_join(users[t], NULL);
        for (int t = 0; t < 2; t++)
            pthread_join(owners[t], NULL);
        CHECK(atomic_load(&frees) == 1);
    }
}

static void test_two_engines(void) {
    static struct log logs[2][4];
    llama_engine *engines[2] = {load(), load_with(2)};
    CHECK(engines[0] != engines[1]);
    llama_infer_params params = of_length(40);
    for (int i = 0; i < 8; i++)
        CHECK_OK(llama_infer_async(engines[i % 2], "Once upon a time", &params, on_event, &logs[i % 2][i / 2], NULL));
    CHECK_OK(llama_infer_wait_all(engines[0], PATIENCE_MS));
    CHECK_OK(llama_engine_free(engines[0]));
    CHECK_OK(llama_infer_wait_all(engines[1], PATIENCE_MS));
    CHECK_OK(llama_engine_free(engines[1]));
    for (int i = 0; i < 8; i++)
        CHECK(logs[i % 2][i / 2].finished == 1 && strcmp(logs[i % 2][i / 2].text, logs[0][0].text) == 0);
}

struct progress {
    int calls;
    float last;
    pthread_t thread;
};

static bool count_progress(float share, void *user_data) {
    struct progress *progress = user_data;
    llama_engine *nested = NULL;
    CHECK_STATUS(IN_CALLBACK, llama_engine_load(model, NULL, &nested));
    CHECK(nested == NULL);
    CHECK(share >= progress->last && share <= 1.0f && pthread_equal(progress->thread, pthread_self()));
    progress->last = share;
    progress->calls++;
    return true;
}

static bool stop_at_once(float share, void *user_data) {
    (void)share;
    (void)user_data;
    return false;
}

static void test_progress(void) {
    struct progress progress = {0, 0.0f, pthread_self()};
    llama_engine_params params = llama_engine_default_params();
    params.threads = 1;
    params.pin = false;
    params.progress = count_progress;
    params.progress_user_data = &progress;
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &params, &engine));
    CHECK(progress.calls > 0 && progress.last == 1.0f);
    CHECK_OK(llama_engine_free(engine));
    params.progress = stop_at_once;
    engine = NULL;
    CHECK_STATUS(LOAD_CANCELLED, llama_engine_load(model, &params, &engine));
    CHECK(engine == NULL);
}

static void *fresh_thread(void *argument) {
    (void)argument;
    CHECK(llama_infer_last_error()[0] == '\0');
    llama_infer_error_detail detail = {.size = sizeof detail};
    CHECK_STATUS(NOT_FOUND, llama_infer_last_error_detail(&detail));
    CHECK_STATUS(INVALID_ARGUMENT, llama_engine_load(NULL, NULL, NULL));
    ERROR_SAYS("NULL");
    return NULL;
}

static void test_last_errors_belong_to_threads(void) {
    llama_engine *engine = NULL;
    CHECK_STATUS(MODEL_NOT_FOUND, llama_engine_load("no such file", NULL, &engine));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fresh_thread, NULL) == 0);
    pthread_join(thread, NULL);
    ERROR_SAYS("no such file");
    CHECK_OK(llama_engine_free(load()));
    ERROR_SAYS("no such file"); /* a success leaves it alone */
}

static atomic_int messages_logged;
static llama_engine *log_engine;

static void on_log(llama_concurrent_log_level level, const char *target, const char *message, void *user_data) {
    CHECK(level >= LLAMA_CONCURRENT_LOG_LEVEL_ERROR && level <= LLAMA_CONCURRENT_LOG_LEVEL_TRACE);
    CHECK(target && *target && message && user_data == &messages_logged);
    atomic_fetch_add(&messages_logged, 1);
    CHECK_STATUS(IN_CALLBACK, llama_concurrent_set_log(NULL, 0, NULL));
    llama_engine *nested = NULL;
    CHECK_STATUS(IN_CALLBACK, llama_engine_load(model, NULL, &nested));
    CHECK(nested == NULL && llama_concurrent_version() != NULL);
    if (log_engine) {
        llama_infer_id id;
        CHECK_STATUS(IN_CALLBACK, llama_engine_free(log_engine));
        CHECK_STATUS(IN_CALLBACK, llama_engine_drain(log_engine, -1));
        CHECK_STATUS(IN_CALLBACK, llama_infer_wait_all(log_engine, -1));
        llama_infer_params params = of_length(1);
        CHECK_OK(llama_infer_async(log_engine, "From the log", &params, ignore, NULL, &id));
        CHECK_STATUS(IN_CALLBACK, llama_infer_wait(log_engine, id, -1));
    }
}

static void test_log(void) {
    CHECK_STATUS(INVALID_ARGUMENT, llama_concurrent_set_log(on_log, 77, &messages_logged));
    log_engine = load();
    CHECK_OK(llama_concurrent_set_log(on_log, LLAMA_CONCURRENT_LOG_LEVEL_TRACE, &messages_logged));
    CHECK_OK(llama_engine_free(load()));
    CHECK_OK(llama_concurrent_set_log(NULL, 0, NULL));
    const int logged = atomic_load(&messages_logged);
    CHECK(logged > 0);
    CHECK_OK(llama_engine_free(load()));
    CHECK(atomic_load(&messages_logged) == logged);
    /* A setting that cannot be applied is a warning, in the log and to read. */
    CHECK_OK(llama_concurrent_set_log(on_log, LLAMA_CONCURRENT_LOG_LEVEL_WARN, &messages_logged));
    llama_engine_params params = llama_engine_default_params();
    params.threads = 100000;
    params.pin = false;
    llama_engine *engine = NULL;
    CHECK_OK(llama_engine_load(model, &params, &engine));
    CHECK(atomic_load(&messages_logged) > logged);
    char text[1024];
    CHECK_OK(llama_engine_warnings(engine, text, sizeof text, NULL));
    CHECK(strstr(text, "100000"));
    CHECK_OK(llama_concurrent_set_log(NULL, 0, NULL));
    CHECK_OK(llama_engine_free(engine));
    CHECK_OK(llama_engine_free(log_engine));
    log_engine = NULL;
}

static atomic_int exiting, late_callbacks;

/* Slow, so that many ends are still to be told when the process exits. One callback may be just about to begin then. */
static void check_few_are_late(const llama_infer_event *event, void *user_data) {
    (void)user_data;
    if (atomic_load(&exiting))
        CHECK(atomic_fetch_add(&late_callbacks, 1) == 0);
    if (event->type == LLAMA_INFER_EVENT_TYPE_FINISHED)
        usleep(2000);
}

/* Runs after the library's own handler, since that was registered later, at the first load. */
static void expect_silence(void) {
    atomic_store(&exiting, 1);
    usleep(100000);
}

static void *tokenize_for_ever(void *argument) {
    size_t n;
    static char text[1 << 20];
    memset(text, 'a', sizeof text - 1);
    while (llama_engine_count_tokens(argument, text, &n) == LLAMA_INFER_STATUS_OK)
        continue;
    return NULL;
}

/* Ends the process with a batch under way, whose thread and another one are inside the tokenizer: it must end well, and no
   callback may begin after the library knows of the end. */
static void exit_with_requests_under_way(void) {
    llama_engine *engine = load();
    llama_infer_params params = of_length(900);
    static char text[1 << 18];
    memset(text, 'a', sizeof text - 1);
    const char *prompts[60];
    for (int i = 0; i < 60; i++)
        prompts[i] = i < 40 ? "A fox" : text;
    CHECK_OK(llama_infer_batch_async(engine, prompts, 60, &params, check_few_are_late, NULL, NULL));
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, tokenize_for_ever, engine) == 0);
    exit(0);
}

static const struct {
    const char *name;
    void (*run)(void);
} tests[] = {
#define TEST(name) {#name, test_##name}
    TEST(defaults),
    TEST(one_request),
    TEST(a_hundred_requests_from_four_threads),
    TEST(cancel_from_inside_callbacks),
    TEST(free_while_requests_run),
    TEST(callbacks_of_an_engine_that_is_being_freed),
    TEST(what_callbacks_may_do),
    TEST(a_blocked_callback_delays_only_its_own_request),
    TEST(a_reader_that_falls_behind_pauses_and_loses_nothing),
    TEST(broken_files),
    TEST(long_runs_of_a_character),
    TEST(chat_template),
    TEST(null_everywhere),
    TEST(handles_and_ids),
    TEST(structs_of_other_versions),
    TEST(values_out_of_range),
    TEST(constraints_and_logprobs),
    TEST(repetitions_and_targets),
    TEST(overload),
    TEST(deadlines),
    TEST(batch),
    TEST(chat_and_tokens),
    TEST(chats_with_tools),
    TEST(vectors_ranks_and_scores),
    TEST(queue),
    TEST(a_queue_that_is_freed_wakes_who_polls_it),
    TEST(a_queue_that_is_freed_while_events_come),
    TEST(drain),
    TEST(submit_cancel_wait_and_free_at_once),
    TEST(two_engines),
    TEST(progress),
    TEST(last_errors_belong_to_threads),
    TEST(log),
    /* Last, as it does not return. */
    {"exit_with_requests_under_way", exit_with_requests_under_way},
};

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: contract MODEL DIRECTORY [TEST]...\n");
        return 2;
    }
    model = argv[1];
    directory = argv[2];
    setvbuf(stdout, NULL, _IOLBF, 0);
    CHECK(atexit(expect_silence) == 0);
    int ran = 0;
    for (size_t t = 0; t < sizeof tests / sizeof *tests; t++) {
        int wanted = argc == 3;
        for (int i = 3; i < argc; i++)
            wanted |= strcmp(argv[i], tests[t].name) == 0;
        if (!wanted)
            continue;
        test_name = tests[t].name;
        printf("%s\n", test_name);
        tests[t].run();
        ran++;
    }
    return ran ? 0 : 2;
}
