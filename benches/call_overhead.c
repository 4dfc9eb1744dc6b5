/*
 * How long llama_infer_async holds its caller while 64 requests are in flight: before each timed call the oldest request
 * is cancelled and waited for, so that it is always the 64th. The same with a prompt of tokens shows what is left
 * without the tokenizer.
 *
 *     cc -O2 call_overhead.c -o call_overhead $(pkg-config --cflags --libs llama_concurrent)
 *     ./call_overhead [MODEL [CALLS]]
 */
#include <llama_concurrent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { IN_FLIGHT = 64 };

static double microseconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e6 + (double)now.tv_nsec / 1e3;
}

static int ascending(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static void ignore(const llama_infer_event *event, void *user_data) {
    (void)event;
    (void)user_data;
}

static void check(llama_infer_status status) {
    if (status == LLAMA_INFER_STATUS_OK)
        return;
    fprintf(stderr, "call_overhead: %s\n", llama_infer_last_error());
    exit(1);
}

enum form { TEXT, TOKENS };

enum { MAX_TOKENS = 1024 };

struct prompt {
    const char *text;
    int32_t tokens[MAX_TOKENS];
    size_t n_tokens;
};

static llama_infer_status start(llama_engine *engine, const struct prompt *prompt, enum form form, llama_infer_id *id) {
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 100;
    params.ignore_eos = true;
    if (form == TEXT)
        return llama_infer_async(engine, prompt->text, &params, ignore, NULL, id);
    return llama_infer_tokens_async(engine, prompt->tokens, prompt->n_tokens, &params, ignore, NULL, id);
}

static void measure(llama_engine *engine, const char *text, enum form form, size_t calls) {
    struct prompt prompt = {.text = text};
    check(llama_engine_tokenize(engine, text, true, true, prompt.tokens, MAX_TOKENS, &prompt.n_tokens));
    llama_infer_id ids[IN_FLIGHT];
    for (size_t i = 0; i < IN_FLIGHT; i++)
        check(start(engine, &prompt, form, &ids[i]));

    double *times = malloc(calls * sizeof *times);
    for (size_t i = 0; i < calls; i++) {
        llama_infer_id *oldest = &ids[i % IN_FLIGHT];
        check(llama_infer_cancel(engine, *oldest));
        check(llama_infer_wait(engine, *oldest, -1));
        const double before = microseconds();
        const llama_infer_status status = start(engine, &prompt, form, oldest);
        times[i] = microseconds() - before;
        check(status);
    }
    for (size_t i = 0; i < IN_FLIGHT; i++)
        check(llama_infer_cancel(engine, ids[i]));
    check(llama_infer_wait_all(engine, -1));

    qsort(times, calls, sizeof *times, ascending);
    printf("prompt of %4zu tokens given as %s: %5zu calls, median %6.1f us, p95 %6.1f us, p99 %6.1f us\n", prompt.n_tokens,
           form == TEXT ? "text" : "tokens", calls, times[calls / 2], times[calls * 95 / 100], times[calls * 99 / 100]);
    free(times);
}

int main(int argc, char **argv) {
    const size_t calls = argc > 2 ? strtoul(argv[2], NULL, 10) : 1000;
    if (calls == 0) {
        fprintf(stderr, "usage: call_overhead [MODEL [CALLS]]\n");
        return 2;
    }
    llama_engine_params params = llama_engine_default_params();
    params.n_ctx = 1024;
    llama_engine *engine = NULL;
    check(llama_engine_load(argc > 1 ? argv[1] : "models/demo.gguf", &params, &engine));

    char longer[2100] = "";
    while (strlen(longer) < 2000)
        strcat(longer, "Once upon a time there was a fox. ");
    for (int form = TEXT; form <= TOKENS; form++) {
        measure(engine, "Once upon a time there was a fox.", (enum form)form, calls);
        measure(engine, longer, (enum form)form, calls / 4 + 1);
    }
    check(llama_engine_free(engine));
    return 0;
}
