/*
 * Twenty prompts from four threads. Each sentence is printed when it is complete, with the number of its prompt, so
 * that one can see them grow side by side.
 *
 *     cc concurrent.c -o concurrent -pthread $(pkg-config --cflags --libs llama_concurrent)
 *     ./concurrent [MODEL]
 */
#include <llama_concurrent.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 4, PROMPTS_PER_THREAD = 5 };

static const char *const subjects[THREADS * PROMPTS_PER_THREAD] = {
    "fox",    "boat", "garden", "robot", "bear", "kite",  "baker", "cat",  "river",  "dragon",
    "farmer", "bird", "storm",  "train", "mouse", "clock", "frog",  "king", "sailor", "star",
};

/* One request. Its callbacks come one after the other, so only its own thread needs no lock around it. */
struct story {
    int number;
    size_t length;
    char sentence[512];
    int failed;
};

struct job {
    llama_engine *engine;
    struct story stories[PROMPTS_PER_THREAD];
    int refused;
};

static void print_sentence(struct story *story) {
    const char *start = story->sentence + strspn(story->sentence, " \n");
    if (*start)
        printf("[%2d] %s\n", story->number, start); /* one call: lines of different threads do not mix */
    story->length = 0;
    story->sentence[0] = '\0';
}

static void on_event(const llama_infer_event *event, void *user_data) {
    struct story *story = user_data;
    if (event->type == LLAMA_INFER_EVENT_TYPE_TOKEN) {
        if (story->length + event->text_length + 1 >= sizeof story->sentence)
            print_sentence(story);
        if (event->text_length + 1 < sizeof story->sentence) {
            memcpy(story->sentence + story->length, event->text, event->text_length + 1);
            story->length += event->text_length;
        }
        if (strpbrk(event->text, ".!?\n"))
            print_sentence(story);
    } else if (event->type == LLAMA_INFER_EVENT_TYPE_FINISHED) {
        print_sentence(story);
        if (event->result->error) {
            fprintf(stderr, "[%2d] %s\n", story->number, event->result->error);
            story->failed = 1;
        }
    }
}

static void *submit(void *argument) {
    struct job *job = argument;
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 60;
    params.temperature = 0.8f;
    for (int i = 0; i < PROMPTS_PER_THREAD; i++) {
        struct story *story = &job->stories[i];
        char prompt[128];
        snprintf(prompt, sizeof prompt, "Once upon a time there was a %s", subjects[story->number]);
        params.seed = (uint32_t)story->number;
        /* Returns at once. `prompt` and `params` are copied; `story` must live until the last event. */
        if (llama_infer_async(job->engine, prompt, &params, on_event, story, NULL) != LLAMA_INFER_STATUS_OK) {
            fprintf(stderr, "concurrent: %s\n", llama_infer_last_error());
            job->refused++;
        }
    }
    return NULL;
}

int main(int argc, char **argv) {
    llama_engine *engine = NULL;
    if (llama_engine_load(argc > 1 ? argv[1] : "models/demo.gguf", NULL, &engine) != LLAMA_INFER_STATUS_OK) {
        fprintf(stderr, "concurrent: %s\n", llama_infer_last_error());
        return 1;
    }

    static struct job jobs[THREADS];
    pthread_t threads[THREADS];
    for (int t = 0; t < THREADS; t++) {
        jobs[t].engine = engine;
        for (int i = 0; i < PROMPTS_PER_THREAD; i++)
            jobs[t].stories[i].number = t * PROMPTS_PER_THREAD + i;
        if (pthread_create(&threads[t], NULL, submit, &jobs[t]) != 0)
            return 1;
    }
    int failures = 0;
    for (int t = 0; t < THREADS; t++)
        pthread_join(threads[t], NULL);
    llama_infer_wait_all(engine, -1);
    for (int t = 0; t < THREADS; t++) {
        failures += jobs[t].refused;
        for (int i = 0; i < PROMPTS_PER_THREAD; i++)
            failures += jobs[t].stories[i].failed;
    }

    llama_engine_stats stats = {.size = sizeof stats};
    llama_engine_get_stats(engine, &stats);
    fprintf(stderr, "%llu tokens of %llu requests in %llu decode calls\n", (unsigned long long)stats.output_tokens,
            (unsigned long long)stats.requests_submitted, (unsigned long long)stats.decode_calls);
    llama_engine_free(engine);
    return failures ? 1 : 0;
}
