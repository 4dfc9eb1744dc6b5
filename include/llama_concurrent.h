/*
 * libllama_concurrent: many generations at once over one GGUF model, on CPU, in your process.
 *
 *     llama_engine_params p = llama_engine_default_params();
 *     llama_engine *engine = NULL;
 *     if (llama_engine_load("model.gguf", &p, &engine) != LLAMA_INFER_STATUS_OK)
 *         return fprintf(stderr, "%s\n", llama_infer_last_error()), 1;
 *
 *     llama_infer_params q = llama_infer_default_params();
 *     llama_infer_id id;
 *     llama_infer_async(engine, "Once upon a time", &q, on_event, user_data, &id);     (returns at once)
 *     llama_infer_wait(engine, id, -1);
 *     llama_engine_free(engine);
 *
 * The contract. It holds for every function unless that says otherwise.
 *
 * Threads     Any function may be called from any thread, at any time, also from inside callbacks.
 *             Callbacks run on threads of the library. Those of one call come one after the other, in order, though not
 *             always on the same thread; those of different calls may run at the same time. A callback that blocks
 *             holds up its own call only (a batch as a whole): when as many of its events wait as `stream_buffer` says,
 *             its generation pauses. A drain or free waits for it. No lock of the library is held during a callback of
 *             a request; for those of the log and of a load's progress see there. Exceptions, longjmp, pthread_exit
 *             and cancellation must not leave a callback. Threads that compute block all signals; a callback's thread
 *             has the mask of the one that loaded the engine. After fork, only exec and _exit are safe in the child.
 * Events      An accepted prompt gets any number of TOKEN events and then exactly one FINISHED event, whatever
 *             happens, unless its queue is freed or the process exits. A refused request gets none. The texts of the
 *             events are whole UTF-8 characters.
 * Ownership   What you pass is copied: nothing that you pass needs to outlive the call, except for `user_data`, which
 *             is yours and needed until the last callback returned (`llama_infer_wait` tells). What an event points to
 *             belongs to the library and lives until the callback returns.
 * Handles     Engines and queues are handles. One that was freed, or never made, gets INVALID_HANDLE; it is never
 *             followed. Every other pointer must be NULL or valid. NULL where that is not allowed gets INVALID_ARGUMENT.
 * Errors      Every function that can fail returns a status; `llama_infer_last_error` has the words. A function that
 *             failed changed nothing and wrote nothing, except where it says so. No error ends the process, and no
 *             exception or panic comes out.
 * Text        is UTF-8 and ends with NUL, in and out. Paths are bytes.
 * Versions    Every struct that may grow starts with its size, so that programs and libraries of different versions fit
 *             together: what your version does not know keeps its default. Event types, reasons and statuses may be
 *             added: be prepared for numbers that you do not know. No number is ever used again.
 */

#ifndef LLAMA_CONCURRENT_H
#define LLAMA_CONCURRENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The version of this header; `llama_concurrent_version` has that of the library. */
#define LLAMA_CONCURRENT_VERSION "0.1.0"

/** What an event tells. More kinds may come: ignore those that you do not know. */
typedef int32_t llama_infer_event_type;
enum {
    /** The output grew. */
    LLAMA_INFER_EVENT_TYPE_TOKEN = 1,
    /** The end of one prompt's output; nothing about that prompt follows. */
    LLAMA_INFER_EVENT_TYPE_FINISHED = 2,
};

/** Why a generation ended. */
typedef int32_t llama_infer_finish_reason;
enum {
    /** The model ended its text, a stop string appeared, or nothing more can follow under the constraint. */
    LLAMA_INFER_FINISH_REASON_STOP = 1,
    /** `max_tokens` was reached, or the slot is full. */
    LLAMA_INFER_FINISH_REASON_LENGTH = 2,
    /** It was cancelled, or its engine was freed. */
    LLAMA_INFER_FINISH_REASON_CANCELLED = 3,
    /** `queue_timeout_ms` or `timeout_ms` passed. */
    LLAMA_INFER_FINISH_REASON_DEADLINE = 4,
    /** It failed; `status` and `error` say how. */
    LLAMA_INFER_FINISH_REASON_ERROR = 5,
};

/** How important a message is. */
typedef int32_t llama_concurrent_log_level;
enum {
    /** Something is broken. */
    LLAMA_CONCURRENT_LOG_LEVEL_ERROR = 1,
    /** Something is not as it was wished. */
    LLAMA_CONCURRENT_LOG_LEVEL_WARN = 2,
    /** What happens. */
    LLAMA_CONCURRENT_LOG_LEVEL_INFO = 3,
    /** What llama.cpp complains about, among others. */
    LLAMA_CONCURRENT_LOG_LEVEL_DEBUG = 4,
    /** Everything. */
    LLAMA_CONCURRENT_LOG_LEVEL_TRACE = 5,
};

/**
 * What a function returns. A number is never given a second meaning, and new ones may come: treat those that you do
 * not know as errors.
 */
typedef int32_t llama_infer_status;
enum {
    /** It worked. */
    LLAMA_INFER_STATUS_OK = 0,
    /**
     * A pointer that must not be NULL is NULL, a string is not UTF-8, or a number of elements or the size of a struct
     * is impossible.
     */
    LLAMA_INFER_STATUS_INVALID_ARGUMENT = 1,
    /** The handle was never given out, or was freed. */
    LLAMA_INFER_STATUS_INVALID_HANDLE = 2,
    /** A setting of the engine is out of range or contradicts another. */
    LLAMA_INFER_STATUS_INVALID_CONFIG = 3,
    /** The prompt, a message or a parameter of the request is out of range. */
    LLAMA_INFER_STATUS_INVALID_REQUEST = 4,
    /** Prompt and requested output do not fit into one slot. `llama_infer_last_error_detail` has the numbers. */
    LLAMA_INFER_STATUS_PROMPT_TOO_LONG = 5,
    /** The model file does not exist or cannot be opened. */
    LLAMA_INFER_STATUS_MODEL_NOT_FOUND = 6,
    /** The model file is damaged, cut short or not a GGUF file. */
    LLAMA_INFER_STATUS_MODEL_INVALID = 7,
    /** The model file is sound, but this build cannot run it. */
    LLAMA_INFER_STATUS_MODEL_UNSUPPORTED = 8,
    /** Memory for weights, KV cache, buffers or threads could not be allocated. */
    LLAMA_INFER_STATUS_OUT_OF_MEMORY = 9,
    /** The queue is full. `llama_infer_last_error_detail` has the numbers. */
    LLAMA_INFER_STATUS_OVERLOADED = 10,
    /** The model has no chat template. */
    LLAMA_INFER_STATUS_NO_CHAT_TEMPLATE = 11,
    /** The chat template could not be compiled or rendered. */
    LLAMA_INFER_STATUS_CHAT_TEMPLATE = 12,
    /** The engine is draining or shut down and takes no new requests. */
    LLAMA_INFER_STATUS_SHUTTING_DOWN = 13,
    /** llama.cpp refused or failed a computation. */
    LLAMA_INFER_STATUS_DECODE = 14,
    /** The progress callback stopped the load. */
    LLAMA_INFER_STATUS_LOAD_CANCELLED = 15,
    /** A bug in this library; load the engine again. */
    LLAMA_INFER_STATUS_INTERNAL = 16,
    /** The time ran out before what was waited for happened. */
    LLAMA_INFER_STATUS_TIMEOUT = 17,
    /** Called from inside a callback that it would wait for; nothing was done. */
    LLAMA_INFER_STATUS_IN_CALLBACK = 18,
    /** This engine never gave out that id. */
    LLAMA_INFER_STATUS_NOT_FOUND = 19,
    /** The buffer is too small; the size that is needed was written. */
    LLAMA_INFER_STATUS_BUFFER_TOO_SMALL = 20,
    /** Another thread is polling this queue. */
    LLAMA_INFER_STATUS_BUSY = 21,
};

/** How requests share the pool of contexts and slots. */
typedef int32_t llama_engine_strategy;
enum {
    /** Chosen by the library: at present `BATCHED`. */
    LLAMA_ENGINE_STRATEGY_AUTO = 0,
    /** One context with one slot: one request after the other. */
    LLAMA_ENGINE_STRATEGY_SEQUENTIAL = 1,
    /** Many contexts of one slot each, one token per context per turn: isolated and exactly reproducible. */
    LLAMA_ENGINE_STRATEGY_ROUND_ROBIN = 2,
    /** One context with many slots, decoded together: the highest throughput. */
    LLAMA_ENGINE_STRATEGY_BATCHED = 3,
};

/** Element type of a K or V cache. */
typedef int32_t llama_engine_kv_type;
enum {
    /** 16-bit floats. */
    LLAMA_ENGINE_KV_TYPE_F16 = 0,
    /** 8-bit blocks: about half the memory of F16. */
    LLAMA_ENGINE_KV_TYPE_Q8_0 = 1,
    /** 32-bit floats: twice the memory of F16. */
    LLAMA_ENGINE_KV_TYPE_F32 = 2,
};

/** Who goes first when slots or time for prompts are short. */
typedef int32_t llama_infer_priority;
enum {
    /** Somebody waits for the answer. */
    LLAMA_INFER_PRIORITY_INTERACTIVE = 0,
    /** Fills what interactive requests leave, and is never starved. */
    LLAMA_INFER_PRIORITY_BATCH = 1,
};

/** Whether the model continues the last message of a chat. */
typedef int32_t llama_infer_continuation;
enum {
    /** A last message of the assistant is continued; after any other the model begins its own. */
    LLAMA_INFER_CONTINUATION_AUTO = 0,
    /** Never: a last message of the assistant is finished. */
    LLAMA_INFER_CONTINUATION_NEVER = 1,
    /** The last message, whoever began it: its content, or its reasoning where it has nothing else. */
    LLAMA_INFER_CONTINUATION_LAST = 2,
    /** The content of the last message. */
    LLAMA_INFER_CONTINUATION_CONTENT = 3,
    /** The reasoning of the last message. */
    LLAMA_INFER_CONTINUATION_REASONING_CONTENT = 4,
};

/** How workers are laid out over the machine. */
typedef int32_t llama_engine_placement;
enum {
    /** One worker for each NUMA node that has memory and a fair share of the cores. */
    LLAMA_ENGINE_PLACEMENT_AUTO = 0,
    /** One worker for each NUMA node that has memory. */
    LLAMA_ENGINE_PLACEMENT_NODE = 1,
    /** One worker for each group of cores that share a last-level cache. */
    LLAMA_ENGINE_PLACEMENT_L3 = 2,
    /** One worker over all cores; neither its threads nor its memory are bound. */
    LLAMA_ENGINE_PLACEMENT_NONE = 3,
};

/** Whether each NUMA node gets a copy of the weights. */
typedef int32_t llama_engine_replicate;
enum {
    /** Where they fit beside the KV caches. */
    LLAMA_ENGINE_REPLICATE_AUTO = 0,
    /** Always; `OUT_OF_MEMORY` where they do not fit. */
    LLAMA_ENGINE_REPLICATE_ALWAYS = 1,
    /** Never: all workers share one copy. */
    LLAMA_ENGINE_REPLICATE_NEVER = 2,
};

/** How the compute threads of a worker wait for each other. */
typedef int32_t llama_engine_wait_policy;
enum {
    /** Active while each thread has a core to itself, passive while busy neighbours want the cores, too. */
    LLAMA_ENGINE_WAIT_POLICY_AUTO = 0,
    /** They spin. */
    LLAMA_ENGINE_WAIT_POLICY_ACTIVE = 1,
    /** They sleep. */
    LLAMA_ENGINE_WAIT_POLICY_PASSIVE = 2,
};

/**
 * A loaded model with its contexts, threads and queue.
 *
 * A handle, not an address: it is looked up in every call, so one that was freed is refused.
 */
typedef struct llama_engine llama_engine;

/**
 * A completion queue: where the events of requests wait until `llama_infer_poll` fetches them.
 *
 * A handle, not an address: it is looked up in every call, so one that was freed is refused.
 */
typedef struct llama_infer_queue llama_infer_queue;

/** Numbers of the last error of a thread; 0 where they do not apply. */
typedef struct llama_infer_error_detail {
    /** `sizeof(llama_infer_error_detail)`, set by the caller. */
    size_t size;
    /** What the function returned. */
    llama_infer_status status;
    /** `LLAMA_INFER_STATUS_OVERLOADED`: estimated milliseconds until a place in the queue becomes free. */
    uint32_t retry_after_ms;
    /** `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: tokens of the prompt. */
    uint32_t n_prompt_tokens;
    /** `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: output tokens that were asked for; 1 where `max_tokens` was 0. */
    uint32_t max_tokens;
    /** `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: tokens that a slot holds. */
    uint32_t n_ctx;
    /** 0. */
    uint32_t reserved;
} llama_infer_error_detail;

/**
 * Called while a model loads, with the share that is done, 0 to 1; false stops the load. Runs on the thread that called
 * `llama_engine_load`. Other loads wait meanwhile, so loading from inside it is refused with `IN_CALLBACK`.
 */
typedef bool (*llama_engine_progress_callback)(float share, void *user_data);

/** Everything that can be set about an engine. Start from `llama_engine_default_params`. */
typedef struct llama_engine_params {
    /** `sizeof(llama_engine_params)`, set by `llama_engine_default_params`. */
    size_t size;
    /**
     * How requests share contexts and slots: the shape of the pool, whose size `slots` and `workers` set. One of
     * `llama_engine_strategy`. Default: AUTO.
     */
    int32_t strategy;
    /**
     * Number of requests that run at once, over all workers. Each costs KV memory for `n_ctx` tokens: 22 MiB per 1024
     * tokens on a 1.1B model. 0 (default): 16 per worker, halved until all KV fits in a quarter of the free memory.
     */
    uint32_t slots;
    /** Tokens of prompt and output that one slot holds. 0 (default): the model's trained length, at most 2048. */
    uint32_t n_ctx;
    /** Maximum number of tokens in one `llama_decode`; compute buffers grow with it. Default: 512. */
    uint32_t n_batch;
    /**
     * Number of compute threads over all workers. 0 (default): the physical cores that this process may use. A number
     * larger than can run at once is lowered with a warning, because llama.cpp's barriers spin.
     */
    uint32_t threads;
    /**
     * Number of threads that each own contexts and decode independently. 0 (default): as `placement` says, 1 on a
     * machine with one memory. More than one on the same memory is slower (35 instead of 45 tok/s at 16 streams on two
     * cores).
     */
    uint32_t workers;
    /**
     * How many milliseconds the prompts of other requests may hold up the next token of a running one. Smaller values
     * give smoother streams and later first tokens; at least 16 prompt tokens are always processed. Default: 200.
     */
    uint32_t max_stall_ms;
    /** Maximum number of requests waiting for a slot; further ones are refused as overload. Default: 1024. */
    uint32_t max_queued_requests;
    /** Maximum number of prompt tokens waiting for a slot; what exceeds it is refused as overload. Default: 1000000. */
    uint64_t max_queued_tokens;
    /** Requests of the batch class are served as if they had arrived this many milliseconds later. Default: 10000. */
    uint32_t batch_aging_ms;
    /**
     * Maximum number of events waiting for their reader; at that point the request pauses until the reader catches up.
     * Default: 256.
     */
    uint32_t stream_buffer;
    /** Element type of the K cache. One of `llama_engine_kv_type`. Default: F16. */
    int32_t type_k;
    /** Element type of the V cache; a quantised type needs `flash_attn`. One of `llama_engine_kv_type`. Default: F16. */
    int32_t type_v;
    /** How long idle compute threads spin before they sleep, from 0 (not at all) to 100. Default: 50. */
    uint32_t poll;
    /** Reuse the KV of equal prompt beginnings instead of computing it again. Default: true. */
    bool prefix_reuse;
    /**
     * Generate bit-identical tokens whatever else is running. Free where this library's kernels compute the whole
     * model (CPU with AVX2, architectures and formats as in DESIGN.md); elsewhere it means round-robin, fixed prefill
     * chunks and no prefix reuse. Default: false.
     */
    bool reproducible;
    /**
     * Map the model file instead of reading it into private memory; all contexts and processes share the pages.
     * Default: true.
     */
    bool mmap;
    /**
     * Repack weights for the CPU while loading: faster from about 4 requests on, at the cost of a second copy of the
     * weights in memory (the mapped pages can then be reclaimed). Default: true.
     */
    bool repack;
    /** Check every weight for NaN and infinity while loading; reads the whole file. Default: false. */
    bool check_tensors;
    /**
     * Use llama.cpp's flash attention. Without it, prompts next to running streams are computed faster (9.6 instead of
     * 11.5 ms per token in chunks of 32), but 16 short streams decode more slowly (165 instead of 135 ms per step) and
     * scratch memory grows with `n_batch` times `n_ctx`. Default: true.
     */
    bool flash_attn;
    /** Pin each compute thread to its own core. Default: true. */
    bool pin;
    /**
     * Compute matrices and attention with this library's own kernels where the CPU supports them: two to three times
     * as fast from about 4 requests on. Needs `repack`. Engines of one process that live at the same time share the
     * attention kernels, or their absence, with the first of them. Default: true.
     */
    bool kernels;
    /** Called while the model loads; may be NULL (default). */
    llama_engine_progress_callback progress;
    /** Passed to `progress`. */
    void *progress_user_data;
    /**
     * Keep the weights, as the kernels pack them, in a file as large as the model: the first load writes it, later
     * ones map it in a fraction of the time and share its pages with all processes. Either the path of an existing
     * folder, or "" for the model's own folder, where the file has the model's name with `.packed` at the end. A file
     * that does not fit the model is made anew; where none can be written, the load goes on with a warning. Needs
     * `mmap`. NULL (default): pack with each load.
     */
    const char *pack_cache;
    /**
     * How workers are laid out: one per NUMA node with a fair share of the cores (auto), one per NUMA node (node), one
     * per group of cores that share a cache (l3), or a single one that is bound to nothing (none). One of
     * `llama_engine_placement`. Default: AUTO.
     */
    int32_t placement;
    /**
     * Whether each NUMA node gets a copy of the weights, each of which takes their full size: where they fit (auto),
     * always or never. One of `llama_engine_replicate`. Default: AUTO.
     */
    int32_t replicate;
    /**
     * CPUs that compute threads may use, numbered as by the operating system; one thread per physical core among them.
     * A list such as "0-7,16"; NULL (default): all that this process may use; on machines with two kinds of cores, the
     * faster ones.
     */
    const char *cpus;
    /** NUMA nodes whose cores and memory are used. A list such as "0-7,16"; NULL (default): all. */
    const char *nodes;
    /**
     * Keep the keys and values of all tokens also in layers with a sliding window (Gemma, gpt-oss and others), which
     * otherwise keep only those of the window and of one batch. Prompts can then share a beginning long after its
     * sequence went on, for the KV memory of a model without windows: with 2,048 tokens per slot and a window of 512,
     * twice as much. Default: false.
     */
    bool swa_full;
    /** Must be zero. */
    bool reserved[7];
    /**
     * Render chats with this template instead of the one in the model file: Jinja source, or the name of one that
     * comes with this library, such as "chatml". NULL (default): the file's own, or ChatML where it has none.
     */
    const char *chat_template;
    /**
     * Variables for the chat template, such as `enable_thinking`; those of a call replace them one by one. A JSON
     * object; NULL (default): none.
     */
    const char *chat_template_kwargs;
    /**
     * How compute threads wait for each other: by spinning, which is fastest where each has a core to itself (active);
     * by sleeping, with the work left to whoever runs, which is fastest beside busy programs (passive); or as the time
     * that they wait for a core suggests, where the system tells it (auto). One of `llama_engine_wait_policy`.
     * Default: AUTO.
     */
    int32_t wait_policy;
    /** Unused. */
    bool reserved_wait_policy[4];
} llama_engine_params;

/** Something that is added to the logit of one token. */
typedef struct llama_infer_logit_bias {
    /** The token. */
    int32_t token;
    /** What is added; minus infinity forbids the token. */
    float bias;
} llama_infer_logit_bias;

/**
 * How a request is to be served. Start from `llama_infer_default_params`. Nothing that it points to is needed after the
 * call that it is passed to.
 */
typedef struct llama_infer_params {
    /** `sizeof(llama_infer_params)`, set by `llama_infer_default_params`. */
    size_t size;
    /** Maximum number of output tokens. 0 (default): until the slot is full. */
    uint32_t max_tokens;
    /** 0 takes the likeliest token each time (greedy); 1 samples the model's own distribution. Default: 0. */
    float temperature;
    /** Keep only this many of the likeliest tokens; 0 keeps all. Default: 40. */
    uint32_t top_k;
    /** Keep only the likeliest tokens whose probabilities add up to this; 1 keeps all. Default: 0.95. */
    float top_p;
    /** Drop tokens whose probability is below this fraction of the likeliest token's; 0 keeps all. Default: 0.05. */
    float min_p;
    /** Divides the logits of tokens that occur among the last `penalty_last_n`; 1 is off. Default: 1. */
    float repetition_penalty;
    /**
     * Subtracted from a token's logit for each time that it occurs among the last `penalty_last_n`; 0 is off. Default:
     * 0.
     */
    float frequency_penalty;
    /** Subtracted from a token's logit if it occurs among the last `penalty_last_n`; 0 is off. Default: 0. */
    float presence_penalty;
    /** How many tokens, of prompt and output, the three penalties look back on; 0 turns them off. Default: 64. */
    uint32_t penalty_last_n;
    /**
     * Seed of the random number generator: equal seeds draw equally from equal distributions. Of several prompts,
     * number i uses this seed + i. Default: 0.
     */
    uint32_t seed;
    /** One of `llama_infer_priority`. Default: INTERACTIVE. Batches always run as BATCH. */
    int32_t priority;
    /** Give up if no slot was found within this many milliseconds; 0 (default): wait as long as it takes. */
    uint32_t queue_timeout_ms;
    /**
     * Give up if not finished within this many milliseconds; 0 (default): no limit. Both count from the submission; in
     * a batch, for each prompt from when it was handed to the engine.
     */
    uint32_t timeout_ms;
    /**
     * Strings that end the generation; they are never part of the output. One that spells a special token, such as
     * `<|im_end|>`, ends it at that token, even where special tokens are not written. NULL (default): none.
     */
    const char *const *stop;
    /** Number of elements in `stop`. */
    size_t n_stop;
    /** Values added to the logits of individual tokens; minus infinity forbids a token. NULL (default): none. */
    const struct llama_infer_logit_bias *logit_bias;
    /** Number of elements in `logit_bias`. */
    size_t n_logit_bias;
    /** Where the events go instead of to a callback, which must be NULL then. Default: NULL. */
    struct llama_infer_queue *queue;
    /** Chats: the tools that the model may call, as the JSON that its template expects; NULL (default) for none. */
    const char *chat_tools;
    /**
     * Chats: further variables of the template, as a JSON object, such as `{"enable_thinking": false}`; NULL (default)
     * for none.
     */
    const char *chat_variables;
    /** Do not end at the model's end-of-generation tokens, which are made impossible instead. Default: false. */
    bool ignore_eos;
    /**
     * Read special tokens that are written out in a prompt, such as `<|user|>`. Default: true. Turn it off for text
     * that you do not trust.
     */
    bool parse_special;
    /** Chats: end the prompt with the opening of an answer. Default: true. */
    bool add_generation_prompt;
    /** False: for later versions. */
    bool reserved[5];
    /**
     * A JSON schema, itself in JSON: the output is JSON that is valid under it, unless it ends before. At most one of
     * `json_schema`, `regex` and `grammar`; NULL (default) for none. `{"type": "object"}` gives any JSON object.
     */
    const char *json_schema;
    /** A regular expression that the whole output matches, without look-around; NULL (default) for none. */
    const char *regex;
    /**
     * A grammar of the output in llguidance's form of Lark, with a rule `start`, or in llama.cpp's GBNF, with a rule `root`;
     * NULL (default) for none.
     */
    const char *grammar;
    /**
     * Report the log probability of each token and of this many of the likeliest tokens, at most 1000; 0 reports only
     * its own. -1 (default): no log probabilities.
     */
    int32_t logprobs;
    /** Start from what is there already of equal prompt beginnings. Default: true. */
    bool prefix_reuse;
    /**
     * Write special tokens, such as `[TOOL_CALLS]` or `<|channel|>`, into the text; otherwise they are left out. The
     * token that ends a generation is never part of it. Default: false.
     */
    bool special;
    /** False: for later versions. */
    bool reserved_2[2];
    /**
     * Tokens that end the generation as the model's own end-of-generation tokens do; they are not part of the output.
     * NULL (default): none.
     */
    const int32_t *stop_token_ids;
    /** Number of elements in `stop_token_ids`. */
    size_t n_stop_token_ids;
    /**
     * Number of output tokens before which no token may end the generation; 0 is off. A stop string still may, and so
     * may a constraint whose text is complete. Default: 0.
     */
    uint32_t min_tokens;
    /**
     * Keep the tokens whose surprise is closest to the expected one, until their probabilities add up to this; 1 is
     * off. Default: 1.
     */
    float typical_p;
    /** Drop tokens whose logit is more than this many standard deviations below the largest; 0 is off. Default: 0. */
    float top_n_sigma;
    /** Probability that XTC drops all but the least likely of the tokens above `xtc_threshold`; 0 is off. Default: 0. */
    float xtc_probability;
    /** Probability at and above which a token counts for XTC; above 0.5, XTC is off. Default: 0.1. */
    float xtc_threshold;
    /**
     * Lets the temperature vary by up to this: up where the model is undecided, down where it is sure; 0 is off.
     * Default: 0.
     */
    float dynatemp_range;
    /** How uncertainty maps to `dynatemp_range`; 1 is linear. Default: 1. */
    float dynatemp_exponent;
    /** Use Mirostat 1 or 2 in place of `top_k`, `top_p` and the other cuts; 0 is off. Default: 0. */
    uint32_t mirostat;
    /** Mirostat's target surprise, in bits. Default: 5. */
    float mirostat_tau;
    /** Mirostat's learning rate. Default: 0.1. */
    float mirostat_eta;
    /**
     * Chats: the messages as a JSON list of objects, as in OpenAI's API, with all that the template reads: contents in
     * parts, `tool_calls`, `tool_call_id`, `reasoning_content` and others. Then there is no argument `messages`: it is NULL,
     * and `n_messages` 0. NULL (default): that argument.
     */
    const char *chat_messages;
    /** Chats: one of `llama_infer_continuation`. Default: AUTO. */
    int32_t continue_final_message;
    /**
     * Chats: read special tokens also where they are written inside messages. False (default): a control token in a
     * message is plain text, so that nobody can close his message and speak as another.
     */
    bool chat_parse_special;
    /** False: for later versions. */
    bool reserved_3[3];
    /** DRY: strength of the penalty on tokens that would continue a repetition; 0 is off. Default: 0. */
    float dry_multiplier;
    /** DRY: factor by which the penalty grows with each token of repetition beyond `dry_allowed_length`. Default: 1.75. */
    float dry_base;
    /** DRY: length in tokens up to which a repetition goes unpenalised. Default: 2. */
    uint32_t dry_allowed_length;
    /** DRY: how many tokens, of prompt and output, are searched for repetitions; 0 is off. Default: 64. */
    uint32_t dry_penalty_last_n;
    /**
     * DRY: strings that no repetition extends across, of at most 40 bytes each. NULL (default): "\n", ":", "\"", "*".
     * For none, pass any other pointer and a number of 0.
     */
    const char *const *dry_sequence_breakers;
    /** Number of elements in `dry_sequence_breakers`. */
    size_t n_dry_sequence_breakers;
    /**
     * Adaptive-p, in place of the final draw: prefer tokens of about this probability among those that the cuts leave;
     * below 0 it is off. Default: -1.
     */
    float adaptive_target;
    /**
     * Adaptive-p: how slowly the probabilities of earlier tokens are forgotten; about 1 / (1 - this) of them count.
     * Default: 0.9.
     */
    float adaptive_decay;
} llama_infer_params;

/** Identifies what one `llama_infer_*` call started. Never 0, never given out twice in a process. */
typedef uint64_t llama_infer_id;

/**
 * How a generation ended, when what happened, and the whole output once more. All times count from the submission; in
 * a batch, from when the prompt was handed to the engine.
 */
typedef struct llama_infer_result {
    /** `sizeof(llama_infer_result)` in the version of the library. */
    size_t size;
    /** Why it ended. */
    llama_infer_finish_reason reason;
    /** What failed where the reason is `LLAMA_INFER_FINISH_REASON_ERROR`; `LLAMA_INFER_STATUS_OK` otherwise. */
    llama_infer_status status;
    /** What failed, in words; NULL if nothing did. */
    const char *error;
    /** The whole output as it was delivered, NUL-terminated; never NULL. After a cancel it ends where the events did. */
    const char *text;
    /** Bytes of `text` without the NUL at its end. */
    size_t text_length;
    /** The tokens of the whole output as they were delivered; NULL if there are none. */
    const int32_t *tokens;
    /** Number of `tokens`. */
    size_t n_tokens;
    /** Which string of `stop` ended it, from 0; -1 if none did. */
    int32_t stop_index;
    /** Tokens of the prompt; 0, like all times, if the prompt of a batch was refused. */
    uint32_t n_prompt_tokens;
    /** Prompt tokens that were reused from earlier or other requests instead of computed. */
    uint32_t n_cached_tokens;
    /** Output tokens that were generated, without the end-of-generation token; more than `n_tokens` after a cancel. */
    uint32_t n_output_tokens;
    /** Milliseconds until a slot was found; the whole time if none was. */
    double queue_ms;
    /** Milliseconds until the first output token, queue time included; -1 if there was none. */
    double ttft_ms;
    /** Milliseconds until the end. */
    double e2e_ms;
    /** Milliseconds of every gap between two output tokens, in order; NULL if there are none. */
    const double *itl_ms;
    /** Number of `itl_ms`. */
    size_t n_itl;
} llama_infer_result;

/** A token and its log probability. */
typedef struct llama_infer_logprob {
    /** The token. */
    int32_t token;
    /**
     * The natural logarithm of its probability in the model's own distribution, before bias, penalties, temperature and
     * constraint.
     */
    float logprob;
} llama_infer_logprob;

/**
 * One event. It and everything that it points to belong to the library: they live until the callback returns or, with
 * a queue, until the next `llama_infer_poll` on it or its end. Look at `size` before you read fields that came after
 * version 0.1.
 */
typedef struct llama_infer_event {
    /** `sizeof(llama_infer_event)` in the version of the library. */
    size_t size;
    /** What it tells. */
    llama_infer_event_type type;
    /** Which prompt of a batch it is about, from 0; 0 where there is one prompt. */
    uint32_t index;
    /** What the call returned as its id. */
    llama_infer_id id;
    /** The engine that was called, to cancel from inside the callback. */
    struct llama_engine *engine;
    /** What was passed with the callback or the queue. */
    void *user_data;
    /**
     * `TOKEN`: the text that became certain, as whole UTF-8 characters, NUL-terminated. Empty while a character or a
     * possible stop string is incomplete. Never NULL.
     */
    const char *text;
    /** Bytes of `text` without the NUL at its end. A model may generate NUL characters. */
    size_t text_length;
    /** `TOKEN`: the new tokens; NULL where text that was held back is released without one. */
    const int32_t *tokens;
    /** Number of `tokens`, 0 or more. */
    size_t n_tokens;
    /** `TOKEN`: position of the first of them in the output, from 0. */
    size_t position;
    /** `FINISHED`: how it ended; NULL otherwise. */
    const struct llama_infer_result *result;
    /** Prompts of this call that have not ended yet: 0 in the very last event of the call. */
    size_t n_remaining;
    /**
     * `TOKEN`, where `llama_infer_params.logprobs` asks for it: first the new token, then the likeliest tokens in its place,
     * the likeliest first; NULL otherwise.
     */
    const struct llama_infer_logprob *logprobs;
    /** Number of `logprobs`, 0 or more. */
    size_t n_logprobs;
} llama_infer_event;

/** Gets the events of a request: any number of `TOKEN`, then one `FINISHED` per prompt. */
typedef void (*llama_infer_callback)(const struct llama_infer_event *event, void *user_data);

/** One message of a chat. */
typedef struct llama_infer_message {
    /** Who speaks: mostly "system", "user" or "assistant". */
    const char *role;
    /** What is said. */
    const char *content;
} llama_infer_message;

/** The state of an engine at one moment. Counts are since it was loaded. */
typedef struct llama_engine_stats {
    /** `sizeof(llama_engine_stats)`, set by the caller. */
    size_t size;
    /** How requests share contexts and slots; never "auto". One of `llama_engine_strategy`. */
    int32_t strategy;
    /** Threads that own contexts. */
    uint32_t workers;
    /** Contexts over all workers. */
    uint32_t contexts;
    /** Requests that can run at once. */
    uint32_t slots;
    /** Tokens of prompt and output that one slot holds. */
    uint32_t n_ctx;
    /** Compute threads. */
    uint32_t threads;
    /** Tokens that the model was trained to look back on. */
    uint32_t n_ctx_train;
    /** Tokens in the vocabulary. */
    uint32_t n_vocab;
    /** Bytes of the weights as they lie in the file. */
    uint64_t model_bytes;
    /** Bytes of the weights that were repacked for this CPU. */
    uint64_t repack_bytes;
    /** Bytes of the K and V caches. */
    uint64_t kv_bytes;
    /** Bytes of scratch memory. */
    uint64_t compute_bytes;
    /** Number of `llama_decode` calls that generated tokens. */
    uint64_t decode_calls;
    /** Rows in these calls, one per token. */
    uint64_t decode_rows;
    /** Time spent in these calls, in milliseconds. */
    double decode_ms;
    /** Number of `llama_decode` calls that computed prompts. */
    uint64_t prefill_calls;
    /** Rows in these calls, one per prompt token. */
    uint64_t prefill_rows;
    /** Time spent in these calls, in milliseconds. */
    double prefill_ms;
    /** Output tokens generated. */
    uint64_t output_tokens;
    /** Prompt tokens that were reused instead of computed. */
    uint64_t cached_tokens;
    /** Prompts accepted. */
    uint64_t requests_submitted;
    /** Prompts refused because the queue was full. */
    uint64_t requests_rejected;
    /** Prompts whose output was ended by the model or by a stop string. */
    uint64_t requests_stopped;
    /** Prompts whose output was ended by `max_tokens` or by a full slot. */
    uint64_t requests_length;
    /** Prompts cancelled. */
    uint64_t requests_cancelled;
    /** Prompts that ran out of time. */
    uint64_t requests_deadline;
    /** Prompts that failed. */
    uint64_t requests_failed;
    /** Prompts in a slot now. */
    uint32_t requests_running;
    /** Prompts waiting for a slot now. */
    uint32_t requests_waiting;
    /**
     * Instruction set of this library's kernels that compute weights, such as "avx512vnni"; "off" if ggml's kernels
     * compute everything. `kernels_share` says how much they compute. The text lives as long as the library.
     */
    const char *kernels;
    /** Copies of the weights in memory: more than one on machines with several NUMA nodes. */
    uint32_t weight_copies;
    /** Compute threads that the system does not keep on the CPUs planned for them; 0 where it does not tell. */
    uint32_t strayed_threads;
    /**
     * Smallest share, over all workers, of the pages of weights and KV that lie on the worker's NUMA node. -1: the
     * system does not tell.
     */
    double local_fraction;
    /**
     * Packed weights: "mapped" from the file that an earlier load wrote, "written" by this one, or "off". The text
     * lives as long as the library.
     */
    const char *pack_cache;
    /** Share of the model's matrix products that this library's kernels compute, from 0 to 1. */
    double kernels_share;
    /**
     * Which kernels compute which share of the matrix products, by weight format, such as "ggml 61 % (Q4_1), avx2 39 %
     * (Q6_K)". The text lives as long as the library.
     */
    const char *products;
    /** CPUs planned for the compute threads, as a list such as "0-3,8". The text lives as long as the library. */
    const char *cpus;
    /** Prompts that have begun, are not read, and gave their slot up to others that waited; their KV lies in memory. */
    uint32_t requests_parked;
    /** Workers whose threads wait passively now, because others want their CPUs (`wait_policy`). */
    uint32_t passive_workers;
    /**
     * Of the time of the compute threads, the share that they lately waited for a CPU which somebody else used; of the
     * worker that waited most.
     */
    double cpu_wait;
    /** How often a worker changed between waiting actively and passively. */
    uint64_t wait_switches;
} llama_engine_stats;

/** Gets a message of the log. `target` says which part of the library speaks. Both texts live until it returns. */
typedef void (*llama_concurrent_log_callback)(llama_concurrent_log_level level,
                                              const char *target,
                                              const char *message,
                                              void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * The name of a status, such as "prompt too long"; "unknown status" for a number that is none.
 *
 * The text lives as long as the library and is never NULL.
 */
const char *llama_infer_status_name(int32_t status);

/**
 * What went wrong in the last call on this thread that failed: what was asked, which limit applied, what to do.
 *
 * Calls that succeed leave it alone. The text is never NULL, empty if nothing failed yet, and lives until the next call
 * of this library that fails on this thread, or the thread's end.
 */
const char *llama_infer_last_error(void);

/**
 * The numbers that belong to `llama_infer_last_error`.
 *
 * `detail->size` must be set. `LLAMA_INFER_STATUS_NOT_FOUND` if nothing failed on this thread yet. Does not count as
 * a failed call itself: the last error stays.
 */
llama_infer_status llama_infer_last_error_detail(struct llama_infer_error_detail *detail);

/**
 * Fills a struct of `size` bytes with the defaults. `llama_engine_default_params` is the convenient form: it passes the
 * size that the caller was compiled with, so programs and libraries of different versions fit together.
 */
llama_infer_status llama_engine_params_init(struct llama_engine_params *params, size_t size);

/** Fills a struct of `size` bytes with the defaults; see `llama_infer_default_params`. */
llama_infer_status llama_infer_params_init(struct llama_infer_params *params, size_t size);

/**
 * Makes a completion queue, for programs that have an event loop and do not want callbacks on other threads.
 *
 * Pass it in `llama_infer_params.queue`; any number of requests, also of different engines, may share one. Ends with
 * `llama_infer_queue_free`. Fails with `OUT_OF_MEMORY` if the process has no descriptors left.
 */
llama_infer_status llama_infer_queue_new(struct llama_infer_queue **queue);

/**
 * The descriptor that is readable while the queue has events, for `poll`, `epoll`, `kqueue`, `select` or any event
 * loop. -1 if the queue is NULL or was freed.
 *
 * Wait on it and nothing else: reading from it, writing and closing are left to the library. It stays readable until
 * everything was fetched (it is level-triggered), and may be readable when there is nothing to fetch; so poll the queue
 * with a timeout of 0, and until it returns `TIMEOUT`.
 */
int llama_infer_queue_fd(const struct llama_infer_queue *queue);

/**
 * Fetches the next event of a queue.
 *
 * Waits for one for `timeout_ms` milliseconds, for ever if that is negative, not at all if it is 0. `*event` belongs to
 * the library and lives until the next poll of this queue or `llama_infer_queue_free`. Events of one request come in
 * order; requests take turns.
 *
 * `TIMEOUT` if there was none. `BUSY` if another thread is polling this queue. `INVALID_HANDLE` if the queue was
 * freed, also while this function waits. `IN_CALLBACK` inside the log callback.
 */
llama_infer_status llama_infer_poll(struct llama_infer_queue *queue,
                                    int32_t timeout_ms,
                                    const struct llama_infer_event **event);

/**
 * Frees a queue and closes its descriptor. Requests whose events would still come to it are cancelled, and their
 * events are lost; nobody may still look at one. Waits for nothing but a thread that is polling it, which is woken.
 * NULL is allowed and does nothing.
 */
llama_infer_status llama_infer_queue_free(struct llama_infer_queue *queue);

/**
 * Loads a GGUF model and starts an engine on it. Blocks until that is done, which takes from milliseconds to minutes.
 *
 * `params` may be NULL for the defaults. On success `*engine` is a handle that ends with `llama_engine_free`; otherwise
 * it is as it was. Several engines may live side by side, also of one file, whose pages they share.
 * One load at a time: others wait for it.
 *
 * The file is checked before llama.cpp sees it, so a bad one never ends the process: `MODEL_NOT_FOUND`,
 * `MODEL_INVALID`, `MODEL_UNSUPPORTED`. Also `INVALID_CONFIG`, `OUT_OF_MEMORY`, and `LOAD_CANCELLED` if
 * `params->progress` returned false.
 */
llama_infer_status llama_engine_load(const char *path,
                                     const struct llama_engine_params *params,
                                     struct llama_engine **engine);

/**
 * Frees an engine: takes no more requests, cancels the running ones, waits until their last callbacks returned, ends all
 * threads and gives the memory back.
 *
 * Calls of other threads that still use the handle are no harm. Until the last callback returned it can be used, inside
 * callbacks too, to cancel, to wait and to ask; what would start something gets `SHUTTING_DOWN`. Afterwards every call
 * gets `INVALID_HANDLE`. A second free gets that at once, while the first may still be waiting.
 * Events that go to a queue can still be polled afterwards. To let requests end by themselves, call
 * `llama_engine_drain` first. Inside a callback of this engine it is refused with `IN_CALLBACK`, and nothing happens.
 * NULL is allowed and does nothing.
 *
 * When the process exits with engines left, they are stopped, no callback begins any more, and one that runs is not
 * waited for.
 */
llama_infer_status llama_engine_free(struct llama_engine *engine);

/**
 * Takes no more requests and waits until all accepted ones are over, as `llama_infer_wait` does.
 *
 * Waits for `timeout_ms` milliseconds, for ever if that is negative, not at all if it is 0: `TIMEOUT`. The engine stays
 * closed for new requests in any case. Not inside its callbacks: `IN_CALLBACK`. Not by who should poll a queue meanwhile:
 * what is not polled is never over.
 */
llama_infer_status llama_engine_drain(struct llama_engine *engine,
                                      int32_t timeout_ms);

/**
 * What was wished in the parameters and not granted, one sentence per line; empty if nothing was.
 *
 * Written as `llama_engine_chat_prompt` does.
 */
llama_infer_status llama_engine_warnings(struct llama_engine *engine, char *buffer, size_t capacity, size_t *length);

/**
 * Starts a generation and returns at once.
 *
 * `prompt` is a UTF-8 text to continue. `params` may be NULL for the defaults. `on_event` gets the events, on a thread
 * of the library, with `user_data`; the first may come before this function returns, but not before `*id` is written.
 * It must be NULL if `params->queue` is set, and must not be NULL otherwise. `id` may be NULL if nobody will ask. Prompt
 * and parameters are copied.
 *
 * Refused with `INVALID_REQUEST`, `PROMPT_TOO_LONG`, `OVERLOADED`, `SHUTTING_DOWN` or as bad arguments are; then
 * nothing was started, no event will come, and `*id` is as it was.
 */
llama_infer_status llama_infer_async(struct llama_engine *engine,
                                     const char *prompt,
                                     const struct llama_infer_params *params,
                                     llama_infer_callback on_event,
                                     void *user_data,
                                     llama_infer_id *id);

/** As `llama_infer_async`, with a prompt of `n_tokens` tokens, used as they are: nothing is added. */
llama_infer_status llama_infer_tokens_async(struct llama_engine *engine,
                                            const int32_t *tokens,
                                            size_t n_tokens,
                                            const struct llama_infer_params *params,
                                            llama_infer_callback on_event,
                                            void *user_data,
                                            llama_infer_id *id);

/**
 * As `llama_infer_async`, with `n_messages` messages of a chat, rendered with the model's own template.
 *
 * Refused also with `NO_CHAT_TEMPLATE` and `CHAT_TEMPLATE`.
 */
llama_infer_status llama_infer_chat_async(struct llama_engine *engine,
                                          const struct llama_infer_message *messages,
                                          size_t n_messages,
                                          const struct llama_infer_params *params,
                                          llama_infer_callback on_event,
                                          void *user_data,
                                          llama_infer_id *id);

/**
 * The prompt that the model's template makes of messages, as `llama_infer_chat_async` uses it.
 *
 * It is one text: special tokens that are written inside a message count again when this text is sent as a prompt. To have
 * messages answered that others wrote, use `llama_infer_chat_async`, which keeps them apart.
 *
 * Written to `buffer` with a NUL, if `capacity` bytes suffice for both; its length without the NUL goes to `*length` in
 * any case. `BUFFER_TOO_SMALL` otherwise: ask with a capacity of 0 first. `params` may be NULL, and so may `length`, and
 * `buffer` if `capacity` is 0.
 */
llama_infer_status llama_engine_chat_prompt(struct llama_engine *engine,
                                            const struct llama_infer_message *messages,
                                            size_t n_messages,
                                            const struct llama_infer_params *params,
                                            char *buffer,
                                            size_t capacity,
                                            size_t *length);

/**
 * Starts a generation for each of `n_prompts` prompts, as many as you like, and returns at once.
 *
 * They are handed to the engine in order, in the class `LLAMA_INFER_PRIORITY_BATCH`: about twice as many at a time as
 * there are slots, so that the queue has room for others, and no more before their ends were delivered. One `id`
 * stands for all of them, and all their events go to the one `on_event` or queue, one at a time: `event->index` says
 * which prompt it is about, and `event->n_remaining` is 0 in the last one. A prompt that cannot be served gets its
 * `FINISHED` event with an error and does not disturb the others. Prompt i uses the seed `params->seed + i`.
 *
 * Refused only for bad arguments, parameters out of range, an engine that is shutting down, or if its thread cannot be
 * started: `OUT_OF_MEMORY`.
 */
llama_infer_status llama_infer_batch_async(struct llama_engine *engine,
                                           const char *const *prompts,
                                           size_t n_prompts,
                                           const struct llama_infer_params *params,
                                           llama_infer_callback on_event,
                                           void *user_data,
                                           llama_infer_id *id);

/**
 * Ends what a call started: all of its prompts, where it is a batch. Allowed inside callbacks.
 *
 * Returns at once; the last event comes as always, mostly with the reason `CANCELLED`, or with another if it had ended
 * just then. After a cancel inside its own callback no more `TOKEN` event comes, and after one elsewhere at most the
 * one that is being delivered. An id that is over already is none of your worries: `OK`. `NOT_FOUND` for one that this
 * engine never gave out.
 */
llama_infer_status llama_infer_cancel(struct llama_engine *engine, llama_infer_id id);

/**
 * Waits until a call is over: its last callback returned, or its last event was polled. Then nothing uses its
 * `user_data` any more.
 *
 * Waits for `timeout_ms` milliseconds, for ever if that is negative, not at all if it is 0. Inside a callback other
 * requests may be waited for (then only this request stands still), but not its own: `IN_CALLBACK`. Who polls a queue
 * should not wait for its requests on the same thread. `TIMEOUT`, `NOT_FOUND`; `OK` for ids that were over already.
 */
llama_infer_status llama_infer_wait(struct llama_engine *engine, llama_infer_id id, int32_t timeout_ms);

/**
 * As `llama_infer_wait`, for everything that was started on the engine before. Not inside its callbacks, and not by who
 * should poll a queue meanwhile: what is not polled is never over.
 */
llama_infer_status llama_infer_wait_all(struct llama_engine *engine, int32_t timeout_ms);

/**
 * The tokens of a text.
 *
 * `add_special` adds BOS and the like where the model wants them; `parse_special` reads special tokens that are written
 * out in the text. With `add_special`, the tokens are those of `llama_infer_async` with the same `parse_special`, and
 * behind them what some models want at the end of a text that is complete.
 * They are written to `tokens` if `capacity` of them suffice; their number goes to `*n_tokens` in any case.
 * `BUFFER_TOO_SMALL` otherwise. `n_tokens` may be NULL, and so may `tokens` if `capacity` is 0.
 */
llama_infer_status llama_engine_tokenize(struct llama_engine *engine,
                                         const char *text,
                                         bool add_special,
                                         bool parse_special,
                                         int32_t *tokens,
                                         size_t capacity,
                                         size_t *n_tokens);

/** The number of tokens that a text has as a prompt of `llama_infer_async`, with `parse_special`. */
llama_infer_status llama_engine_count_tokens(struct llama_engine *engine, const char *text, size_t *n_tokens);

/**
 * The text of tokens, as a reader of an answer sees it: special tokens have none; incomplete characters become U+FFFD, and NUL
 * becomes U+2400.
 *
 * Written as `llama_engine_chat_prompt` does.
 */
llama_infer_status llama_engine_detokenize(struct llama_engine *engine,
                                           const int32_t *tokens,
                                           size_t n_tokens,
                                           char *buffer,
                                           size_t capacity,
                                           size_t *length);

/**
 * As `llama_engine_detokenize`; with `special`, special tokens are written out, such as `<|im_end|>`: then a prompt
 * comes back as it was written.
 */
llama_infer_status llama_engine_detokenize_with(struct llama_engine *engine,
                                                const int32_t *tokens,
                                                size_t n_tokens,
                                                bool special,
                                                char *buffer,
                                                size_t capacity,
                                                size_t *length);

/** Fills `*stats`, whose `size` must be set. Cheap: no worker is asked. */
llama_infer_status llama_engine_get_stats(struct llama_engine *engine, struct llama_engine_stats *stats);

/**
 * Sets who gets the messages of the library and of llama.cpp, up to a level; one for the whole process.
 *
 * `callback` is called on any thread, also on several at once, and should be quick. NULL turns the log off, as it is at
 * first. After this function returned, the one before is not called any more, and its `user_data` is not needed.
 *
 * The library may have to wait for the callback, and hold locks meanwhile. So functions that load, wait, poll, drain or
 * free, and this one, are refused inside of it with `IN_CALLBACK`; others are allowed, and what they log is not told.
 */
llama_infer_status llama_concurrent_set_log(llama_concurrent_log_callback callback, int32_t level, void *user_data);

/** The version of the library, such as "0.1.0". `LLAMA_CONCURRENT_VERSION` is that of the header. */
const char *llama_concurrent_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#ifdef __cplusplus
extern "C" {
#endif

/** The defaults, in a struct of the size that this header knows. */
static inline llama_engine_params llama_engine_default_params(void) {
    llama_engine_params params;
    llama_engine_params_init(&params, sizeof params);
    return params;
}

/** The defaults, in a struct of the size that this header knows. */
static inline llama_infer_params llama_infer_default_params(void) {
    llama_infer_params params;
    llama_infer_params_init(&params, sizeof params);
    return params;
}

#ifdef __cplusplus
}
#endif

#endif /* LLAMA_CONCURRENT_H */
