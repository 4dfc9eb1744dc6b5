/*
 * A program of an earlier release: compiled against the header that it came with, run with the library of today. Every field
 * is where that header says, means what it meant, and nothing is written beyond the structs that it knows.
 *
 *     old_program MODEL
 */

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "llama_concurrent.h"

#define CHECK(holds)                                                                                     \
    do {                                                                                                 \
        if (!(holds)) {                                                                                  \
            fprintf(stderr, "line %d: %s; %s\n", __LINE__, #holds, llama_infer_last_error());            \
            exit(1);                                                                                     \
        }                                                                                                \
    } while (0)

static llama_engine *engine;
static size_t n_tokens;

static void on_event(const llama_infer_event *event, void *user_data) {
    (void)user_data;
    n_tokens += event->n_tokens;
}

static llama_infer_status start(const llama_infer_params *params) {
    llama_infer_id id;
    llama_infer_status status = llama_infer_async(engine, "A fox", params, on_event, NULL, &id);
    if (status == LLAMA_INFER_STATUS_OK) CHECK(llama_infer_wait(engine, id, -1) == LLAMA_INFER_STATUS_OK);
    return status;
}

/* A field of a request with a value that it cannot have is refused by its name. */
#define REFUSED(field, value, name)                                                                      \
    do {                                                                                                 \
        llama_infer_params params = llama_infer_default_params();                                        \
        params.field = value;                                                                            \
        llama_infer_status status = start(&params);                                                      \
        CHECK(status == LLAMA_INFER_STATUS_INVALID_REQUEST || status == LLAMA_INFER_STATUS_INVALID_ARGUMENT); \
        CHECK(strstr(llama_infer_last_error(), name) != NULL);                                           \
    } while (0)

static void requests(void) {
    const char *empty[] = {""};
    const int32_t outside[] = {1 << 30};
    const llama_infer_logit_bias nothing[] = {{0, NAN}};

    REFUSED(temperature, -1, "temperature");
    REFUSED(top_k, 4294967295u, "top_k");
    REFUSED(top_p, 0, "top_p");
    REFUSED(min_p, 2, "min_p");
    REFUSED(repetition_penalty, 0, "repetition_penalty");
    REFUSED(frequency_penalty, NAN, "frequency_penalty");
    REFUSED(presence_penalty, NAN, "presence_penalty");
    REFUSED(penalty_last_n, 70000, "penalty_last_n");
    REFUSED(priority, 99, "priority");
    REFUSED(n_stop, 1, "stop");
    REFUSED(n_logit_bias, 1, "logit_bias");
    REFUSED(reserved[4], 1, "reserved");
    REFUSED(json_schema, "{", "schema");
    REFUSED(regex, "(", "regular expression");
    REFUSED(grammar, "no grammar", "grammar");
    REFUSED(logprobs, 2000, "logprobs");
    REFUSED(reserved_2[1], 1, "reserved");
    REFUSED(n_stop_token_ids, 1, "stop_token_ids");
    REFUSED(typical_p, 0, "typical_p");
    REFUSED(top_n_sigma, -1, "top_n_sigma");
    REFUSED(xtc_probability, 2, "xtc_probability");
    REFUSED(xtc_threshold, 2, "xtc_threshold");
    REFUSED(dynatemp_range, -1, "dynatemp_range");
    REFUSED(dynatemp_exponent, -1, "dynatemp_exponent");
    REFUSED(mirostat, 3, "mirostat");
    REFUSED(mirostat_tau, -1, "mirostat_tau");
    REFUSED(mirostat_eta, 2, "mirostat_eta");
    REFUSED(reserved_3[2], 1, "reserved");

    llama_infer_params params = llama_infer_default_params();
    params.stop = empty, params.n_stop = 1;
    CHECK(start(&params) == LLAMA_INFER_STATUS_INVALID_REQUEST && strstr(llama_infer_last_error(), "stop string"));
    params = llama_infer_default_params();
    params.stop_token_ids = outside, params.n_stop_token_ids = 1;
    CHECK(start(&params) == LLAMA_INFER_STATUS_INVALID_REQUEST && strstr(llama_infer_last_error(), "stop_token_ids"));
    params = llama_infer_default_params();
    params.logit_bias = nothing, params.n_logit_bias = 1;
    CHECK(start(&params) == LLAMA_INFER_STATUS_INVALID_REQUEST && strstr(llama_infer_last_error(), "logit_bias"));
    params = llama_infer_default_params();
    params.max_tokens = 5, params.min_tokens = 6;
    CHECK(start(&params) == LLAMA_INFER_STATUS_INVALID_REQUEST && strstr(llama_infer_last_error(), "min_tokens is 6"));

    params.min_tokens = 0, params.ignore_eos = true, params.seed = 7, params.temperature = 1;
    n_tokens = 0;
    CHECK(start(&params) == LLAMA_INFER_STATUS_OK && n_tokens == 5);

    char text[4096];
    size_t length = 0;
    params = llama_infer_default_params();
    params.chat_messages = "[{\"role\": \"user\", \"content\": \"Hello\"}]";
    CHECK(llama_engine_chat_prompt(engine, NULL, 0, &params, text, sizeof text, &length) == LLAMA_INFER_STATUS_OK);
    params.continue_final_message = 99;
    CHECK(llama_engine_chat_prompt(engine, NULL, 0, &params, text, sizeof text, &length) ==
          LLAMA_INFER_STATUS_INVALID_REQUEST);
    params.continue_final_message = LLAMA_INFER_CONTINUATION_AUTO, params.chat_tools = "{";
    CHECK(llama_engine_chat_prompt(engine, NULL, 0, &params, text, sizeof text, &length) ==
          LLAMA_INFER_STATUS_INVALID_REQUEST);
}

/* A field of the configuration with a value that it cannot have is refused by its name. */
#define NOT_LOADED(field, value, name)                                                                   \
    do {                                                                                                 \
        llama_engine_params params = llama_engine_default_params();                                      \
        llama_engine *none = NULL;                                                                       \
        params.field = value;                                                                            \
        CHECK(llama_engine_load(model, &params, &none) == LLAMA_INFER_STATUS_INVALID_CONFIG);            \
        CHECK(strstr(llama_infer_last_error(), name) != NULL && none == NULL);                           \
    } while (0)

static void configurations(const char *model) {
    NOT_LOADED(strategy, 99, "strategy");
    NOT_LOADED(slots, 9999, "slots");
    NOT_LOADED(n_ctx, 1, "n_ctx");
    NOT_LOADED(n_batch, 1, "n_batch");
    NOT_LOADED(max_queued_requests, 0, "max_queued_requests");
    NOT_LOADED(max_queued_tokens, 0, "max_queued_tokens");
    NOT_LOADED(stream_buffer, 0, "stream_buffer");
    NOT_LOADED(type_k, 99, "type_k");
    NOT_LOADED(type_v, 99, "type_v");
    NOT_LOADED(poll, 101, "poll");
    NOT_LOADED(placement, 99, "placement");
    NOT_LOADED(replicate, 99, "replicate");
    NOT_LOADED(cpus, "first", "first");
    NOT_LOADED(nodes, "second", "second");
    NOT_LOADED(chat_template_kwargs, "{", "chat_template_kwargs");
}

int main(int argc, char **argv) {
    if (argc != 2) return fprintf(stderr, "usage: %s MODEL\n", argv[0]), 2;
    configurations(argv[1]);

    llama_engine_params params = llama_engine_default_params();
    params.slots = 3, params.n_ctx = 512, params.threads = 1, params.pin = false;
    CHECK(llama_engine_load(argv[1], &params, &engine) == LLAMA_INFER_STATUS_OK);
    requests();

    struct {
        llama_engine_stats stats;
        unsigned char beyond[64];
    } told;
    memset(&told, 0xa5, sizeof told);
    told.stats.size = sizeof told.stats;
    CHECK(llama_engine_get_stats(engine, &told.stats) == LLAMA_INFER_STATUS_OK);
    CHECK(told.stats.slots == 3 && told.stats.n_ctx == 512 && told.stats.requests_length == 1);
    CHECK(strcmp(told.stats.pack_cache, "off") == 0 && strlen(told.stats.products) > 0);
    for (size_t i = 0; i < sizeof told.beyond; i++) CHECK(told.beyond[i] == 0xa5);

    struct {
        llama_infer_params params;
        unsigned char beyond[64];
    } fresh;
    memset(&fresh, 0xa5, sizeof fresh);
    CHECK(llama_infer_params_init(&fresh.params, sizeof fresh.params) == LLAMA_INFER_STATUS_OK);
    CHECK(fresh.params.size == sizeof fresh.params && fresh.params.mirostat_eta == 0.1f);
    for (size_t i = 0; i < sizeof fresh.beyond; i++) CHECK(fresh.beyond[i] == 0xa5);

    CHECK(llama_engine_free(engine) == LLAMA_INFER_STATUS_OK);
    puts("an old program runs");
    return 0;
}
