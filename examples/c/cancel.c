/*
 * Three ways to end a request early: from inside its callback, from another thread, and by a time limit.
 *
 *     cc cancel.c -o cancel $(pkg-config --cflags --libs llama_concurrent)
 *     ./cancel [MODEL]
 */
#include <llama_concurrent.h>
#include <stdio.h>
#include <string.h>

struct story {
    const char *name;
    const char *enough; /* cancel when this was said */
    const char *reason;
};

static const char *name_of(llama_infer_finish_reason reason) {
    switch (reason) {
    case LLAMA_INFER_FINISH_REASON_STOP: return "stop";
    case LLAMA_INFER_FINISH_REASON_LENGTH: return "length";
    case LLAMA_INFER_FINISH_REASON_CANCELLED: return "cancelled";
    case LLAMA_INFER_FINISH_REASON_DEADLINE: return "deadline";
    case LLAMA_INFER_FINISH_REASON_ERROR: return "error";
    }
    return "some new reason";
}

static void on_event(const llama_infer_event *event, void *user_data) {
    struct story *story = user_data;
    if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN && story->enough && strstr(event->text, story->enough))
        llama_infer_cancel(event->engine, event->id); /* allowed here; the next event is the last */
    if (event->type == LLAMA_INFER_EVENT_TYPE_FINISHED) {
        story->reason = name_of(event->result->reason);
        printf("%s: %s after %u tokens:%s\n", story->name, story->reason, event->result->n_output_tokens,
               event->result->text);
    }
}

int main(int argc, char **argv) {
    llama_engine *engine = NULL;
    if (llama_engine_load(argc > 1 ? argv[1] : "models/demo.gguf", NULL, &engine) != LLAMA_INFER_STATUS_OK) {
        fprintf(stderr, "cancel: %s\n", llama_infer_last_error());
        return 1;
    }
    struct story stories[3] = {{"inside", ".", NULL}, {"outside", NULL, NULL}, {"limit", NULL, NULL}};
    llama_infer_id ids[3] = {0};
    for (int i = 0; i < 3; i++) {
        llama_infer_params params = llama_infer_default_params();
        params.ignore_eos = true; /* without a cancel it goes on until the slot is full */
        if (i == 2)
            params.timeout_ms = 20;
        if (llama_infer_async(engine, "Once upon a time", &params, on_event, &stories[i], &ids[i])) {
            fprintf(stderr, "cancel: %s\n", llama_infer_last_error());
            llama_engine_free(engine);
            return 1;
        }
    }
    llama_infer_wait(engine, ids[0], -1);
    llama_infer_cancel(engine, ids[1]);
    /* From here on nothing uses `stories`. */
    llama_infer_wait_all(engine, -1);
    llama_engine_free(engine);
    return stories[0].reason && stories[1].reason && stories[2].reason ? 0 : 1;
}
