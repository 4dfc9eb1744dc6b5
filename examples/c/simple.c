/*
 * One prompt, printed as it grows.
 *
 *     cc simple.c -o simple $(pkg-config --cflags --libs llama_concurrent)
 *     ./simple [MODEL [PROMPT]]
 */
#include <llama_concurrent.h>
#include <stdio.h>

static int complain(void) {
    fprintf(stderr, "simple: %s\n", llama_infer_last_error());
    return 1;
}

/* Runs on a thread of the library. What `event` points to lives until this function returns. */
static void on_event(const llama_infer_event *event, void *user_data) {
    (void)user_data;
    if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN) {
        fwrite(event->text, 1, event->text_length, stdout);
        fflush(stdout);
    } else if (event->type == LLAMA_INFER_EVENT_TYPE_FINISHED) {
        const llama_infer_result *result = event->result;
        printf("\n");
        if (result->error)
            fprintf(stderr, "simple: %s\n", result->error);
        fprintf(stderr, "%u tokens in %.0f ms, the first after %.0f ms\n", result->n_output_tokens, result->e2e_ms,
                result->ttft_ms);
    }
}

int main(int argc, char **argv) {
    const char *model = argc > 1 ? argv[1] : "models/demo.gguf";
    const char *prompt = argc > 2 ? argv[2] : "Once upon a time there was a fox";

    llama_engine_params engine_params = llama_engine_default_params();
    llama_engine *engine = NULL;
    if (llama_engine_load(model, &engine_params, &engine) != LLAMA_INFER_STATUS_OK)
        return complain();

    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 100;

    printf("%s", prompt);
    llama_infer_id id = 0;
    if (llama_infer_async(engine, prompt, &params, on_event, NULL, &id) != LLAMA_INFER_STATUS_OK) {
        complain();
        llama_engine_free(engine);
        return 1;
    }
    llama_infer_wait(engine, id, -1);
    llama_engine_free(engine);
    return 0;
}
