/*
 * Texts as vectors, compared with each other, and documents ranked by how well they answer a query.
 *
 *     cc vectors.c -o vectors $(pkg-config --cflags --libs llama_concurrent)
 *     ./vectors [MODEL [RERANKER]]
 */
#include <llama_concurrent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_TEXTS 4

static const char *const texts[N_TEXTS] = {
    "A fox eats mice and berries.", "The boat has a red sail.", "A fox ate the mice.", "It rained all day."};

struct found {
    float *vectors[N_TEXTS];
    size_t width;
    float scores[N_TEXTS];
};

/* Runs on a thread of the library. What `event` points to lives until this function returns. */
static void on_vector(const llama_infer_event *event, void *user_data) {
    struct found *found = user_data;
    const llama_infer_result *result = event->result;
    if (result->error) {
        fprintf(stderr, "vectors: %s\n", result->error);
        return;
    }
    found->width = result->n_embedding;
    found->vectors[event->index] = malloc(result->n_embedding * sizeof *result->embedding);
    if (found->vectors[event->index])
        memcpy(found->vectors[event->index], result->embedding, result->n_embedding * sizeof *result->embedding);
}

static void on_rank(const llama_infer_event *event, void *user_data) {
    struct found *found = user_data;
    found->scores[event->index] = event->result->error ? -INFINITY : event->result->embedding[0];
}

static int complain(void) {
    fprintf(stderr, "vectors: %s\n", llama_infer_last_error());
    return 1;
}

/* Prints how alike each text is to the first one. */
static int compare(const char *model, struct found *found) {
    llama_engine *engine = NULL;
    if (llama_engine_load(model, NULL, &engine) != LLAMA_INFER_STATUS_OK)
        return complain();
    int code = 0;
    llama_infer_pooling pooling = LLAMA_INFER_POOLING_MEAN;
    if (llama_infer_embed_async(engine, texts, N_TEXTS, pooling, true, NULL, on_vector, found, NULL) != LLAMA_INFER_STATUS_OK)
        code = complain();
    llama_infer_wait_all(engine, -1);
    llama_engine_free(engine);
    for (size_t i = 1; i < N_TEXTS && found->vectors[0] && found->vectors[i]; i++) {
        float cosine = 0; /* of vectors of length 1 */
        for (size_t j = 0; j < found->width; j++)
            cosine += found->vectors[0][j] * found->vectors[i][j];
        printf("%6.3f  %s\n", cosine, texts[i]);
    }
    for (size_t i = 0; i < N_TEXTS; i++)
        free(found->vectors[i]);
    return code;
}

static int rank(const char *reranker, struct found *found) {
    llama_engine *engine = NULL;
    if (llama_engine_load(reranker, NULL, &engine) != LLAMA_INFER_STATUS_OK)
        return complain();
    int code = 0;
    const char *query = "What does a fox eat?";
    if (llama_infer_rank_async(engine, query, texts, N_TEXTS, NULL, on_rank, found, NULL) == LLAMA_INFER_STATUS_OK) {
        llama_infer_wait_all(engine, -1);
        printf("\n%s\n", query);
        for (size_t i = 0; i < N_TEXTS; i++)
            printf("%6.2f  %s\n", found->scores[i], texts[i]);
    } else {
        code = complain(); /* a model without a rank head */
    }
    llama_engine_free(engine);
    return code;
}

int main(int argc, char **argv) {
    struct found found = {0};
    int code = compare(argc > 1 ? argv[1] : "models/demo.gguf", &found);
    return rank(argc > 2 ? argv[2] : "models/rerank.gguf", &found) || code;
}
