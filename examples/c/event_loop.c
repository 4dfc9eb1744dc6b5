/*
 * No callbacks, no threads of one's own: a loop over poll(2) that serves standard input and the engine. Each line that
 * is typed becomes a prompt; the texts of all prompts grow at the same time.
 *
 *     cc event_loop.c -o event_loop $(pkg-config --cflags --libs llama_concurrent)
 *     printf 'A small boat\nOne cold morning\n' | ./event_loop [MODEL]
 */
#include <llama_concurrent.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static llama_engine *engine;
static llama_infer_queue *queue;
static int running;

static void complain(void) {
    fprintf(stderr, "event_loop: %s\n", llama_infer_last_error());
}

static void start(const char *prompt) {
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 40;
    params.queue = queue; /* instead of a callback */
    /* What belongs to a request travels with it. */
    char *name = strdup(prompt);
    if (!name || llama_infer_async(engine, prompt, &params, NULL, name, NULL) != LLAMA_INFER_STATUS_OK) {
        complain();
        free(name);
        return;
    }
    running++;
}

/* All events that are there; never waits. */
static void serve_engine(void) {
    const llama_infer_event *event;
    while (llama_infer_poll(queue, 0, &event) == LLAMA_INFER_STATUS_OK) {
        if (event->type != LLAMA_INFER_EVENT_TYPE_FINISHED)
            continue;
        const llama_infer_result *result = event->result;
        printf("%s%s\n", (const char *)event->user_data, result->error ? result->error : result->text);
        free(event->user_data);
        running--;
    }
}

/* One line at most; whether there may be more. */
static int serve_input(void) {
    static char line[1024];
    static size_t length;
    char byte;
    while (read(STDIN_FILENO, &byte, 1) == 1) {
        if (byte != '\n' && length + 1 < sizeof line) {
            line[length++] = byte;
            continue;
        }
        line[length] = '\0';
        if (length)
            start(line);
        length = 0;
        return 1;
    }
    line[length] = '\0';
    if (length)
        start(line);
    return 0;
}

int main(int argc, char **argv) {
    if (llama_engine_load(argc > 1 ? argv[1] : "models/demo.gguf", NULL, &engine) != LLAMA_INFER_STATUS_OK ||
        llama_infer_queue_new(&queue) != LLAMA_INFER_STATUS_OK) {
        complain();
        return 1;
    }
    struct pollfd sources[2] = {
        {.fd = llama_infer_queue_fd(queue), .events = POLLIN},
        {.fd = STDIN_FILENO, .events = POLLIN},
    };
    int reading = 1;
    while (reading || running) {
        if (poll(sources, reading ? 2 : 1, -1) < 0)
            break;
        if (sources[0].revents)
            serve_engine();
        if (reading && sources[1].revents)
            reading = serve_input();
    }
    llama_engine_free(engine);
    llama_infer_queue_free(queue);
    return 0;
}
