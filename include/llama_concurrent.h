/*
 * libllama_concurrent: concurrent text generation with one GGUF model, on CPU, inside your process.
 *
 *     llama_engine_params p = llama_engine_default_params();
 *     llama_engine *engine = NULL;
 *     if (llama_engine_load("model.gguf", &p, &engine) != LLAMA_INFER_STATUS_OK)
 *         return fprintf(stderr, "%s\n", llama_infer_last_error()), 1;
 *
 *     llama_infer_params q = llama_infer_default_params();
 *     llama_infer_id id;
 *     llama_infer_async(engine, "Once upon a time", &q, on_event, user_data, &id);     (returns immediately)
 *     llama_infer_wait(engine, id, -1);
 *     llama_engine_free(engine);
 *
 * General contract. It applies to every function unless its description says otherwise.
 *
 * Threads     Every function may be called from any thread at any time, including from callbacks. Callbacks run on
 *             threads of the library. The callbacks of one request run one at a time and in order, but not necessarily
 *             on the same thread. Callbacks of different requests may run at the same time. After fork, the child may
 *             only call exec or _exit.
 * Callbacks   A callback may block. It delays only its own request or batch: once `stream_buffer` events are pending, the
 *             generation pauses. Draining or freeing the engine waits for it. The library holds no lock during an event
 *             callback; for the log and progress callbacks, see there. Exceptions, longjmp, pthread_exit
 *             and thread cancellation must not leave a callback. Compute threads block all signals. A callback thread
 *             has the signal mask of the thread that loaded the engine.
 * Events      An accepted prompt gets any number of TOKEN events, followed by exactly one FINISHED event, unless its
 *             queue is freed or the process exits first. A refused request gets no events. The text of an event
 *             consists of complete UTF-8 characters.
 * Ownership   Arguments are copied and need not outlive the call. The exception is `user_data`, which must stay valid
 *             until the last callback has returned; `llama_infer_wait` waits for that. An event and everything it points
 *             to are owned by the library and are valid until the callback returns.
 * Handles     Engines and queues are handles. Using a handle that was freed or never issued is safe and returns
 *             INVALID_HANDLE. Every other pointer must be NULL or valid. NULL returns INVALID_ARGUMENT where it is not
 *             allowed.
 * Errors      Every function that can fail returns a status; `llama_infer_last_error` returns the message. A function
 *             that fails has no effect and writes no output, unless its description says otherwise. No error terminates
 *             the process, and no exception or panic leaves the library.
 * Strings     All strings are UTF-8 and NUL-terminated. Paths are byte strings.
 * Versions    Every struct that may grow starts with its size, so programs and libraries of different versions work
 *             together. Fields unknown to the caller's version keep their defaults. Later versions may add event types,
 *             finish reasons and status codes, so programs must accept unknown numbers. Numbers are never reused.
 */

#ifndef LLAMA_CONCURRENT_H
#define LLAMA_CONCURRENT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/** The version of this header. `llama_concurrent_version` returns the version of the library. */
#define LLAMA_CONCURRENT_VERSION "0.1.0"

/** The type of an event. Later versions may add types: ignore unknown ones. */
typedef int32_t llama_infer_event_type;
enum {
    /** New output. */
    LLAMA_INFER_EVENT_TYPE_TOKEN = 1,
    /** The generation of one prompt has ended. It is the last event of that prompt. */
    LLAMA_INFER_EVENT_TYPE_FINISHED = 2,
    /** Chats: more of a thought. */
    LLAMA_INFER_EVENT_TYPE_REASONING = 3,
    /** Chats: a call of a tool begins. */
    LLAMA_INFER_EVENT_TYPE_TOOL_CALL = 4,
    /** Chats: more of the arguments of a call. */
    LLAMA_INFER_EVENT_TYPE_ARGUMENTS = 5,
};

/** Why a generation ended. */
typedef int32_t llama_infer_finish_reason;
enum {
    /**
     * An end-of-generation token or one of `stop_token_ids` was generated, a stop string matched, or the constraint allows
     * no further token.
     */
    LLAMA_INFER_FINISH_REASON_STOP = 1,
    /** `max_tokens` was reached, or the slot is full. */
    LLAMA_INFER_FINISH_REASON_LENGTH = 2,
    /** The request was cancelled, or its engine was freed. */
    LLAMA_INFER_FINISH_REASON_CANCELLED = 3,
    /** `queue_timeout_ms` or `timeout_ms` expired. */
    LLAMA_INFER_FINISH_REASON_DEADLINE = 4,
    /** The generation failed; see `status` and `error`. */
    LLAMA_INFER_FINISH_REASON_ERROR = 5,
};

/** The level of a log message. */
typedef int32_t llama_concurrent_log_level;
enum {
    /** A failure of the library. */
    LLAMA_CONCURRENT_LOG_LEVEL_ERROR = 1,
    /** A problem that the library works around, such as a setting that could not be applied. */
    LLAMA_CONCURRENT_LOG_LEVEL_WARN = 2,
    /** Normal operation. */
    LLAMA_CONCURRENT_LOG_LEVEL_INFO = 3,
    /** Details for debugging, including warnings and errors of llama.cpp. */
    LLAMA_CONCURRENT_LOG_LEVEL_DEBUG = 4,
    /** All messages, including those of llama.cpp. */
    LLAMA_CONCURRENT_LOG_LEVEL_TRACE = 5,
};

/**
 * Status codes. A number is never reused for another meaning. Later versions may add codes: treat an unknown one as an
 * error.
 */
typedef int32_t llama_infer_status;
enum {
    /** Success. */
    LLAMA_INFER_STATUS_OK = 0,
    /** A required pointer is NULL, a string is not UTF-8, or an element count or struct size is impossible. */
    LLAMA_INFER_STATUS_INVALID_ARGUMENT = 1,
    /** The handle was never issued, or was freed. */
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
    /** The operation did not complete within `timeout_ms`. */
    LLAMA_INFER_STATUS_TIMEOUT = 17,
    /** Called in a callback where the function would deadlock; it had no effect. */
    LLAMA_INFER_STATUS_IN_CALLBACK = 18,
    /** This engine never issued the id, or there is no last error. */
    LLAMA_INFER_STATUS_NOT_FOUND = 19,
    /** The buffer is too small; the required size was written. */
    LLAMA_INFER_STATUS_BUFFER_TOO_SMALL = 20,
    /** Another thread is polling this queue. */
    LLAMA_INFER_STATUS_BUSY = 21,
};

/** How requests share contexts and slots. */
typedef int32_t llama_engine_strategy;
enum {
    /** Chosen by the library; currently `BATCHED`. */
    LLAMA_ENGINE_STRATEGY_AUTO = 0,
    /** One context with one slot: requests run one after the other. */
    LLAMA_ENGINE_STRATEGY_SEQUENTIAL = 1,
    /** Many contexts with one slot each, decoded in turn, one token at a time: isolated and exactly reproducible. */
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
    /** 4-bit blocks: about a quarter of the memory of F16, and noticeably less exact. */
    LLAMA_ENGINE_KV_TYPE_Q4_0 = 3,
};

/** Scheduling priority: which requests go first when slots or prompt-processing time are short. */
typedef int32_t llama_infer_priority;
enum {
    /** A user is waiting for the output. */
    LLAMA_INFER_PRIORITY_INTERACTIVE = 0,
    /** Uses the capacity that interactive requests leave. Never starved. */
    LLAMA_INFER_PRIORITY_BATCH = 1,
};

/** Whether the model continues the last message of a chat. */
typedef int32_t llama_infer_continuation;
enum {
    /** Continue the last message if it is the assistant's; otherwise start a new one. */
    LLAMA_INFER_CONTINUATION_AUTO = 0,
    /** Always start a new message. */
    LLAMA_INFER_CONTINUATION_NEVER = 1,
    /** Continue the last message of any role: its content, or its reasoning if it has no content. */
    LLAMA_INFER_CONTINUATION_LAST = 2,
    /** Continue the content of the last message. */
    LLAMA_INFER_CONTINUATION_CONTENT = 3,
    /** Continue the reasoning of the last message. */
    LLAMA_INFER_CONTINUATION_REASONING_CONTENT = 4,
};

/** How the vectors of a text's tokens become one. */
typedef int32_t llama_infer_pooling;
enum {
    /** As the model's file says, and the mean where it says nothing. */
    LLAMA_INFER_POOLING_AUTO = 0,
    /** Their mean. */
    LLAMA_INFER_POOLING_MEAN = 1,
    /** The vector of the first token. */
    LLAMA_INFER_POOLING_CLS = 2,
    /** The vector of the last token. */
    LLAMA_INFER_POOLING_LAST = 3,
    /** Not at all: the vectors of all tokens are wanted. They are never scaled. */
    LLAMA_INFER_POOLING_NONE = 4,
};

/** How workers are placed on the machine. */
typedef int32_t llama_engine_placement;
enum {
    /** One worker per NUMA node that has memory and a fair share of the cores. */
    LLAMA_ENGINE_PLACEMENT_AUTO = 0,
    /** One worker per NUMA node that has memory. */
    LLAMA_ENGINE_PLACEMENT_NODE = 1,
    /** One worker per group of cores that share a last-level cache. */
    LLAMA_ENGINE_PLACEMENT_L3 = 2,
    /** One worker on all cores; neither its threads nor its memory are bound. */
    LLAMA_ENGINE_PLACEMENT_NONE = 3,
};

/** Whether each NUMA node gets a copy of the weights. */
typedef int32_t llama_engine_replicate;
enum {
    /** If the copies and the KV caches fit into memory. */
    LLAMA_ENGINE_REPLICATE_AUTO = 0,
    /** Always; loading fails with `OUT_OF_MEMORY` if the copies do not fit. */
    LLAMA_ENGINE_REPLICATE_ALWAYS = 1,
    /** Never: all workers share one copy. */
    LLAMA_ENGINE_REPLICATE_NEVER = 2,
};

/** How the compute threads of a worker wait for each other. */
typedef int32_t llama_engine_wait_policy;
enum {
    /** Active while each thread has its own core, passive while other programs need the cores. */
    LLAMA_ENGINE_WAIT_POLICY_AUTO = 0,
    /** Waiting threads spin. */
    LLAMA_ENGINE_WAIT_POLICY_ACTIVE = 1,
    /** Waiting threads sleep. */
    LLAMA_ENGINE_WAIT_POLICY_PASSIVE = 2,
};

/** Whether the next tokens of a request are guessed and computed beforehand. What is generated is the same in any case. */
typedef int32_t llama_speculation;
enum {
    /**
     * For an engine: where it is expected to be faster, by how often guesses were right and what computing them costs. For a
     * request: as the engine is set.
     */
    LLAMA_SPECULATION_AUTO = 0,
    /** Not at all. */
    LLAMA_SPECULATION_OFF = 1,
    /** Whenever there is a guess and room in the call: what followed when the last tokens occurred before. */
    LLAMA_SPECULATION_LOOKUP = 2,
    /** Whenever there is room in the call: what the draft model guesses. */
    LLAMA_SPECULATION_DRAFT = 3,
};

/**
 * An engine: a loaded model with its contexts, threads and request queue.
 *
 * The pointer is an opaque handle and is never dereferenced. Every function validates it, so a freed handle is detected.
 */
typedef struct llama_engine llama_engine;

/**
 * A completion queue: holds the events of requests until `llama_infer_poll` retrieves them.
 *
 * The pointer is an opaque handle and is never dereferenced. Every function validates it, so a freed handle is detected.
 */
typedef struct llama_infer_queue llama_infer_queue;

/** Details of the last error of a thread. Fields that do not apply are 0. */
typedef struct llama_infer_error_detail {
    /** `sizeof(llama_infer_error_detail)`, set by the caller. */
    size_t size;
    /** The status that the function returned. */
    llama_infer_status status;
    /** `LLAMA_INFER_STATUS_OVERLOADED`: estimated milliseconds until the queue has room. */
    uint32_t retry_after_ms;
    /** `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: tokens of the prompt. */
    uint32_t n_prompt_tokens;
    /** `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: output tokens requested; 1 if `max_tokens` was 0. */
    uint32_t max_tokens;
    /** `LLAMA_INFER_STATUS_PROMPT_TOO_LONG`: tokens that a slot holds. */
    uint32_t n_ctx;
    /** Reserved; always 0. */
    uint32_t reserved;
} llama_infer_error_detail;

/**
 * Reports the progress of a load: `fraction` rises from 0 to 1. Return false to cancel the load. Called on the thread that
 * called `llama_engine_load`. `llama_engine_load` returns `IN_CALLBACK` in this callback, because loads are serialised.
 */
typedef bool (*llama_engine_progress_callback)(float fraction, void *user_data);

/** The configuration of an engine. Initialise it with `llama_engine_default_params`. */
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
    /** Passed to `progress` as `user_data`. */
    void *progress_user_data;
    /**
     * Directory in which to cache the weights as packed by the kernels. It must exist; "" stands for the model's own
     * directory. The first load writes a file as large as the model, named like it with `.packed` appended. Later loads map
     * that file in a fraction of the time, and all processes share its pages. A file that does not match the model is
     * rewritten. If the file cannot be written, the load succeeds with a warning. Needs `mmap`. NULL (default): no cache;
     * each load packs the weights.
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
    /** Reserved; must be zero. */
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
    /**
     * How many milliseconds a request whose reader is behind keeps its slot while others wait for one. Then its KV is
     * moved to memory, until the reader has caught up. Default: 250.
     */
    uint32_t park_after_ms;
    /**
     * Whether the next tokens of a request that does not say are guessed and computed beforehand, where the call has
     * room: as costs and chances suggest (auto), not at all (off), whenever they can be looked up in what was written
     * before (lookup), or by the draft model (draft). Generated tokens are the same, bit for bit, where this library's
     * kernels compute the whole model; elsewhere auto is off. One of `llama_speculation`. Default: AUTO.
     */
    int32_t speculation;
    /**
     * Path of a smaller model with the same vocabulary, a GGUF file, that guesses the next tokens. It has a KV cache
     * for as many slots. NULL (default): there is none.
     */
    const char *draft_model;
} llama_engine_params;

/** A bias added to the logit of a token. */
typedef struct llama_infer_logit_bias {
    /** The token. */
    int32_t token;
    /** The bias; minus infinity forbids the token. */
    float bias;
} llama_infer_logit_bias;

/** A call of a tool: in a message, an event or a result. */
typedef struct llama_infer_tool_call {
    /** The id that its result refers to. */
    const char *id;
    /** The name of the tool. */
    const char *name;
    /** The arguments, as a JSON object. NULL in events, whose text is a piece of them. */
    const char *arguments;
    /** Its number among the calls of the answer, from 0. */
    size_t index;
} llama_infer_tool_call;

/**
 * A message of a chat with all that it may have. Set unused members to NULL, and `size` to
 * `sizeof(llama_infer_chat_message)`.
 */
typedef struct llama_infer_chat_message {
    /** `sizeof(llama_infer_chat_message)`. */
    size_t size;
    /** The author: usually "system", "user", "assistant" or "tool". */
    const char *role;
    /** The text; may be NULL if there are calls. */
    const char *content;
    /** Of the assistant: its thoughts, as the member `reasoning` of a result has them. */
    const char *reasoning;
    /** Of the assistant: the tools that it called, as in a result. */
    const struct llama_infer_tool_call *tool_calls;
    /** Number of elements in `tool_calls`. */
    size_t n_tool_calls;
    /** Of a tool: the id of the call that `content` is the result of. */
    const char *tool_call_id;
    /** The name of the author or of the tool. */
    const char *name;
} llama_infer_chat_message;

/**
 * The parameters of a request. Initialise it with `llama_infer_default_params`. The struct and everything it points to are
 * copied by the function that it is passed to, except for `queue`, which is a handle.
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
    /** End the request if it has not got a slot after this many milliseconds. 0 (default): no limit. */
    uint32_t queue_timeout_ms;
    /**
     * End the request if it has not finished after this many milliseconds. 0 (default): no limit. Both limits are measured
     * from the submission; in a batch, from the submission of each prompt to the engine.
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
    /** The queue that gets the events. If it is set, the callback must be NULL. Default: NULL. */
    struct llama_infer_queue *queue;
    /**
     * Chats: the tools that the model may call, as a JSON array of functions in the form of OpenAI's API. Calls are delivered as
     * `TOOL_CALL` and `ARGUMENTS` events, and their arguments conform to the schema of the tool. NULL (default): none.
     */
    const char *chat_tools;
    /** Chats: variables for the chat template, as a JSON object such as `{"enable_thinking": false}`. NULL (default): none. */
    const char *chat_variables;
    /** Do not end at the model's end-of-generation tokens, which are made impossible instead. Default: false. */
    bool ignore_eos;
    /** Parse special tokens written out in a prompt, such as `<|user|>`. Set it to false for untrusted text. Default: true. */
    bool parse_special;
    /** Chats: end the prompt with the header of an assistant message. Default: true. */
    bool add_generation_prompt;
    /** Reserved; must be false. */
    bool reserved[5];
    /**
     * A JSON schema that the output conforms to, unless it is cut short. `{"type": "object"}` accepts any JSON object. At
     * most one of `json_schema`, `regex` and `grammar` may be set. NULL (default): none.
     */
    const char *json_schema;
    /** A regular expression, without look-around, that the whole output matches. NULL (default): none. */
    const char *regex;
    /**
     * A grammar for the output: in llguidance's variant of Lark with a rule `start`, or in llama.cpp's GBNF with a rule
     * `root`. NULL (default): none.
     */
    const char *grammar;
    /**
     * Report the log probability of each token and of this many of the likeliest tokens, at most 1000; 0 reports only
     * its own. -1 (default): no log probabilities.
     */
    int32_t logprobs;
    /** Reuse the KV of an equal prompt prefix of another request. Default: true. */
    bool prefix_reuse;
    /**
     * Write special tokens, such as `[TOOL_CALLS]` or `<|channel|>`, into the text; otherwise they are left out. The
     * token that ends a generation is never part of it. Default: false.
     */
    bool special;
    /** Reserved; must be false. */
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
     * Chats: the messages as a JSON array of objects, as in OpenAI's API. They may have all fields that the chat template
     * reads, such as content parts, `tool_calls`, `tool_call_id` and `reasoning_content`. If it is set, the argument
     * `messages` must be NULL and `n_messages` 0. NULL (default): use that argument.
     */
    const char *chat_messages;
    /** Chats: whether to continue the last message. One of `llama_infer_continuation`. Default: AUTO. */
    int32_t continue_final_message;
    /**
     * Chats: parse special tokens written inside messages. False (default): they are plain text, so that a message cannot
     * end itself and impersonate another role.
     */
    bool chat_parse_special;
    /** Reserved; must be false. */
    bool reserved_3[3];
    /**
     * Chats: the messages as pointers to structs, for messages with calls and results of tools. If it is set, the argument
     * `messages` and `chat_messages` must be NULL. NULL (default): use one of those.
     */
    const struct llama_infer_chat_message *const *chat;
    /** Number of elements in `chat`. */
    size_t n_chat;
    /**
     * Chats: whether the model calls `chat_tools`: "auto", "none", "required", or as JSON the function that it has to call, such
     * as `{"type": "function", "function": {"name": "weather"}}`. NULL (default): "auto".
     */
    const char *chat_tool_choice;
    /** Chats: maximum number of tokens of thoughts. Then the thought is closed, and the model answers. -1 (default): no limit. */
    int32_t chat_thinking_budget;
    /** Chats: allow more than one call of a tool in an answer. Default: true. */
    bool chat_parallel_tool_calls;
    /** Reserved; must be false. */
    bool reserved_4[3];
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
    /**
     * Report the log probabilities that the token was drawn with, after bias, constraint and samplers, in the place of
     * the model's own; those of a greedy choice are certain. Default: false.
     */
    bool post_sampling_probs;
    /**
     * Whether the next tokens are guessed and computed beforehand: as the engine's `speculation` says (auto), not at
     * all (off), whenever they can be looked up in what was written before (lookup), or by the engine's draft model
     * (draft). The latter two weigh no costs, unless requests run beside this one that did not ask for that. What is
     * generated is the same. One of `llama_speculation`. Default: AUTO.
     */
    int32_t speculation;
    /**
     * Maximum number of tokens guessed at a time; 0 is none. A call has room for 15 beside a single request, and fewer
     * beside others. Default: 16.
     */
    uint32_t draft_max;
    /** Unused. */
    bool reserved_draft_max[4];
} llama_infer_params;

/** Identifies a request or a batch. Never 0, and never reused within a process. */
typedef uint64_t llama_infer_id;

/**
 * The result of a generation: how it ended, its timings, and the whole output. Times are measured from the submission of
 * the request; in a batch, from the submission of the prompt to the engine.
 */
typedef struct llama_infer_result {
    /** `sizeof(llama_infer_result)` in the library's version. */
    size_t size;
    /** Why the generation ended. */
    llama_infer_finish_reason reason;
    /** The error code if the reason is `LLAMA_INFER_FINISH_REASON_ERROR`; `LLAMA_INFER_STATUS_OK` otherwise. */
    llama_infer_status status;
    /** The error message; NULL if there was no error. */
    const char *error;
    /** The whole output as delivered in events, NUL-terminated; never NULL. After a cancel it ends with the last event. */
    const char *text;
    /** Length of `text` in bytes, without the terminating NUL. */
    size_t text_length;
    /** The tokens of the output as delivered in events; NULL if there are none. */
    const int32_t *tokens;
    /** Number of `tokens`. */
    size_t n_tokens;
    /** Index in `stop` of the string that ended the generation; -1 if none did. */
    int32_t stop_index;
    /** Tokens in the prompt. If the prompt of a batch was refused, this and all times are 0. */
    uint32_t n_prompt_tokens;
    /** Prompt tokens whose KV was reused from other requests instead of computed. */
    uint32_t n_cached_tokens;
    /** Output tokens generated, without the end-of-generation token. After a cancel it may exceed `n_tokens`. */
    uint32_t n_output_tokens;
    /** Milliseconds until the request got a slot; the whole time if it got none. */
    double queue_ms;
    /** Milliseconds until the first output token, including queue time; -1 if there was none. */
    double ttft_ms;
    /** Milliseconds until the end. */
    double e2e_ms;
    /** Milliseconds between each two successive output tokens, in order; NULL if there are none. */
    const double *itl_ms;
    /** Number of `itl_ms`. */
    size_t n_itl;
    /** Chats: the thoughts as delivered in events, NUL-terminated; NULL otherwise. `text` is then the content of the answer. */
    const char *reasoning;
    /**
     * Chats: the calls of tools in the order of the answer; NULL if there are none. After a cancel, or if `max_tokens` was
     * reached, the arguments of the last one may be cut off.
     */
    const struct llama_infer_tool_call *tool_calls;
    /** Number of `tool_calls`. */
    size_t n_tool_calls;
    /** Chats: the answer as a JSON object in the form of OpenAI's API, for the next `chat_messages`; NULL otherwise. */
    const char *message;
    /**
     * `llama_infer_embed_async`: the vector of the text, or with `LLAMA_INFER_POOLING_NONE` those of its tokens, one after the
     * other. `llama_infer_rank_async`: the score of the document, or one for each label of the model's rank head. NULL otherwise.
     */
    const float *embedding;
    /** Number of elements in `embedding`, all vectors together. */
    size_t n_embedding;
    /** Number of vectors in `embedding`. */
    size_t n_vectors;
    /** `llama_infer_score_async`: the natural logarithm of the probability of the continuation; 0 otherwise. */
    double logprob;
    /** `llama_infer_score_async`: whether greedy sampling would have chosen the continuation. */
    bool is_greedy;
    /** Unused. */
    bool reserved[7];
    /** Tokens that were drafted: guessed, and computed before it was known that they come. */
    uint32_t n_drafted_tokens;
    /** Drafted tokens that came. */
    uint32_t n_accepted_tokens;
} llama_infer_result;

/** A token and its log probability. */
typedef struct llama_infer_logprob {
    /** The token. */
    int32_t token;
    /** The natural logarithm of its probability under the model, before bias, penalties, temperature and constraint. */
    float logprob;
} llama_infer_logprob;

/**
 * An event. The event and everything it points to are owned by the library. They are valid until the callback returns or,
 * with a queue, until the next `llama_infer_poll` on that queue or until it is freed. Check `size` before reading fields
 * added after version 0.1.
 */
typedef struct llama_infer_event {
    /** `sizeof(llama_infer_event)` in the library's version. */
    size_t size;
    /** The type of the event. */
    llama_infer_event_type type;
    /** Index of the prompt in a batch; 0 for a single prompt. */
    uint32_t index;
    /** The id of the request or batch. */
    llama_infer_id id;
    /** The engine that runs the request, for use inside the callback. */
    struct llama_engine *engine;
    /** The `user_data` passed when the request was started. */
    void *user_data;
    /**
     * `TOKEN`, `REASONING`, `ARGUMENTS`: new text, as complete UTF-8 characters, NUL-terminated. Empty while a character or a
     * possible stop string is incomplete. Never NULL.
     */
    const char *text;
    /** Length of `text` in bytes, without the terminating NUL. Output may contain NUL characters. */
    size_t text_length;
    /**
     * The new tokens; NULL if withheld text is released without a new token. Those of a chat's markup come with whatever event
     * is next.
     */
    const int32_t *tokens;
    /** Number of `tokens`; may be 0. */
    size_t n_tokens;
    /** Index of the first of these tokens in the output. */
    size_t position;
    /** `FINISHED`: the result; NULL otherwise. */
    const struct llama_infer_result *result;
    /** Prompts of the request or batch that have not ended; 0 in its last event. */
    size_t n_remaining;
    /**
     * If requested by `llama_infer_params.logprobs`: the new token, followed by the most likely tokens at its
     * position in descending order. `FINISHED` of `llama_infer_score_async`: each token of the continuation, with NaN for one
     * before which nothing stands. NULL otherwise.
     */
    const struct llama_infer_logprob *logprobs;
    /** Number of `logprobs`; may be 0. */
    size_t n_logprobs;
    /** `TOOL_CALL`, `ARGUMENTS`: the call, without its arguments; NULL otherwise. */
    const struct llama_infer_tool_call *tool_call;
} llama_infer_event;

/** Receives the events of a request: any number of `TOKEN` events, then one `FINISHED` event per prompt. */
typedef void (*llama_infer_callback)(const struct llama_infer_event *event, void *user_data);

/** A message of a chat. */
typedef struct llama_infer_message {
    /** The author: usually "system", "user" or "assistant". */
    const char *role;
    /** The text. */
    const char *content;
} llama_infer_message;

/** A snapshot of the state of an engine. Counters start at 0 when the engine is loaded. */
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
    /** Rows in these calls, one per token, without those of drafts that were wrong. */
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
    /** How often a worker changed between waiting actively and passively because of other programs. */
    uint64_t wait_switches;
    /** Output tokens that were drafted: guessed, and computed before it was known that they come (`speculation`). */
    uint64_t drafted_tokens;
    /** Drafted tokens that came. */
    uint64_t accepted_tokens;
    /**
     * How requests speculate that do not say: "auto", "off", "lookup" or "draft"; "off" if the configuration is auto,
     * and drafts could change texts. The text lives as long as the library.
     */
    const char *speculation;
    /** Time spent in calls of the draft model, in milliseconds. */
    double draft_model_ms;
} llama_engine_stats;

/**
 * Receives log messages. `target` names the part of the library that logs. Both strings are valid until the callback
 * returns.
 */
typedef void (*llama_concurrent_log_callback)(llama_concurrent_log_level level,
                                              const char *target,
                                              const char *message,
                                              void *user_data);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Returns the name of a status, such as "prompt too long", or "unknown status" for an unknown number. The string is
 * static and never NULL.
 */
const char *llama_infer_status_name(int32_t status);

/**
 * Returns a message that describes the last failed call on this thread: what was requested, which limit applied, and what
 * to change.
 *
 * Successful calls do not change it. The string is owned by the library and is valid until the next call that fails on
 * this thread, or until the thread ends. It is never NULL, and empty if no call has failed yet.
 */
const char *llama_infer_last_error(void);

/**
 * Fills `*detail` with the numbers that belong to `llama_infer_last_error`. The caller sets `detail->size` first.
 *
 * Returns `NOT_FOUND` if no call has failed on this thread yet. A failure of this function does not change the last error.
 */
llama_infer_status llama_infer_last_error_detail(struct llama_infer_error_detail *detail);

/**
 * Fills `*params`, a struct of `size` bytes, with the defaults. Programs normally call `llama_engine_default_params`, which
 * passes the size of the header that they were compiled with.
 */
llama_infer_status llama_engine_params_init(struct llama_engine_params *params,
                                            size_t size);

/** Fills `*params`, a struct of `size` bytes, with the defaults. Programs normally call `llama_infer_default_params`. */
llama_infer_status llama_infer_params_init(struct llama_infer_params *params, size_t size);

/**
 * Creates a completion queue, for programs with an event loop that do not want callbacks on other threads.
 *
 * On success `*queue` is a handle; free it with `llama_infer_queue_free`. Set `llama_infer_params.queue` to use it. Any
 * number of requests, of any number of engines, may share a queue.
 *
 * Returns `INVALID_ARGUMENT` if `queue` is NULL, and `OUT_OF_MEMORY` if the process has no file descriptors left.
 */
llama_infer_status llama_infer_queue_new(struct llama_infer_queue **queue);

/**
 * Returns a file descriptor that is readable while the queue has events, for use with `poll`, `epoll`, `kqueue`, `select`
 * or an event loop. Returns -1 if the queue is NULL or was freed.
 *
 * The library owns the descriptor: do not read from it, write to it or close it. It is level-triggered, and may be readable
 * when there is no event. Call `llama_infer_poll` with a timeout of 0 until it returns `TIMEOUT`.
 */
int llama_infer_queue_fd(const struct llama_infer_queue *queue);

/**
 * Retrieves the next event of a queue.
 *
 * Waits for at most `timeout_ms` milliseconds; a negative value means no limit, and 0 returns immediately. The events of
 * one request are delivered in order; the requests of a queue are served in turn.
 *
 * `*event` is owned by the library and is valid until the next poll of this queue or `llama_infer_queue_free`. Only one
 * thread at a time may poll a queue. `event` must not be NULL.
 *
 * Returns `TIMEOUT` if there is no event, `BUSY` if another thread is polling the queue, `INVALID_HANDLE` if the queue was
 * freed, including during the wait, and `IN_CALLBACK` in the log callback.
 */
llama_infer_status llama_infer_poll(struct llama_infer_queue *queue,
                                    int32_t timeout_ms,
                                    const struct llama_infer_event **event);

/**
 * Frees a queue and closes its descriptor.
 *
 * Unfinished requests of the queue are cancelled, and their remaining events are discarded. The event that the last poll
 * returned becomes invalid. A thread that is polling the queue is woken and waited for; the function waits for nothing
 * else.
 *
 * If `queue` is NULL, nothing happens. Returns `INVALID_HANDLE` if the queue was freed already.
 */
llama_infer_status llama_infer_queue_free(struct llama_infer_queue *queue);

/**
 * Loads a GGUF model and starts an engine. Blocks until the model is loaded, which takes from milliseconds to minutes.
 *
 * On success `*engine` is a handle; free it with `llama_engine_free`. On failure it is not modified. `path` and `params`
 * are copied. A process may have several engines; engines of the same file share its mapped pages.
 *
 * May be called from any thread. Loads are serialised: a second load waits for the first. `params` may be NULL for the
 * defaults. Returns `IN_CALLBACK` in a progress callback and in the log callback.
 *
 * The file is validated before llama.cpp reads it, so an invalid file does not end the process. Returns
 * `INVALID_ARGUMENT`, `INVALID_CONFIG`, `MODEL_NOT_FOUND`, `MODEL_INVALID`, `MODEL_UNSUPPORTED` or `OUT_OF_MEMORY` on
 * failure, and `LOAD_CANCELLED` if `params->progress` returned false.
 */
llama_infer_status llama_engine_load(const char *path,
                                     const struct llama_engine_params *params,
                                     struct llama_engine **engine);

/**
 * Frees an engine. Cancels its requests, waits until their last callbacks have returned, ends all threads and releases
 * the memory. To let requests finish first, call `llama_engine_drain`.
 *
 * Other threads may use the handle at the same time. Until the last callback has returned, functions that cancel, wait or
 * query still work, and functions that start a request return `SHUTTING_DOWN`. After that every function returns
 * `INVALID_HANDLE`. A second call to this function returns `INVALID_HANDLE` immediately, even while the first one is still
 * waiting. Events in a queue can be polled after the engine is freed.
 *
 * If `engine` is NULL, nothing happens. Returns `IN_CALLBACK`, without effect, in a callback of this engine's requests and
 * in the log callback.
 *
 * If the process exits without freeing an engine, the engine is stopped. No callback starts after that, and running
 * callbacks are not waited for.
 */
llama_infer_status llama_engine_free(struct llama_engine *engine);

/**
 * Stops accepting requests and waits until all accepted ones are over, as defined by `llama_infer_wait`.
 *
 * Waits for at most `timeout_ms` milliseconds; a negative value means no limit, and 0 returns immediately. The engine
 * accepts no new requests afterwards, even if the time expired.
 *
 * A thread that polls a queue must not call it while requests of that queue are unfinished. Returns `IN_CALLBACK`, without
 * effect, in a callback of this engine's requests and in the log callback. Returns `TIMEOUT` if the time expires first.
 */
llama_infer_status llama_engine_drain(struct llama_engine *engine,
                                      int32_t timeout_ms);

/**
 * Writes the warnings of the load: settings that were requested and could not be applied. One sentence per line; empty if
 * there are none.
 *
 * The buffer is filled as by `llama_engine_chat_prompt`.
 */
llama_infer_status llama_engine_warnings(struct llama_engine *engine,
                                         char *buffer,
                                         size_t capacity,
                                         size_t *length);

/**
 * Starts a generation that continues `prompt`, and returns immediately.
 *
 * The prompt and the parameters are copied. `user_data` is passed to `on_event` and must stay valid until the last event
 * was delivered. Events are delivered on a thread of the library. The first one may be delivered before this function
 * returns, but not before `*id` is written.
 *
 * `params` may be NULL for the defaults. `on_event` must be NULL if `params->queue` is set, and must not be NULL
 * otherwise. `id` may be NULL. May be called from any callback.
 *
 * Returns `INVALID_ARGUMENT`, `INVALID_HANDLE`, `INVALID_REQUEST`, `PROMPT_TOO_LONG`, `OVERLOADED` or `SHUTTING_DOWN` on
 * failure. In that case no request is started, no event is delivered, and `*id` is not modified.
 */
llama_infer_status llama_infer_async(struct llama_engine *engine,
                                     const char *prompt,
                                     const struct llama_infer_params *params,
                                     llama_infer_callback on_event,
                                     void *user_data,
                                     llama_infer_id *id);

/**
 * Like `llama_infer_async`, for a prompt of `n_tokens` token ids. The tokens are copied and used as they are: no BOS or
 * other special token is added.
 */
llama_infer_status llama_infer_tokens_async(struct llama_engine *engine,
                                            const int32_t *tokens,
                                            size_t n_tokens,
                                            const struct llama_infer_params *params,
                                            llama_infer_callback on_event,
                                            void *user_data,
                                            llama_infer_id *id);

/**
 * Like `llama_infer_async`, for a chat of `n_messages` messages, rendered with the engine's chat template. The messages
 * are copied.
 *
 * The answer is read while it streams: its content is the text of `TOKEN` events, thoughts are that of `REASONING` events, and
 * each call of a tool is a `TOOL_CALL` event followed by `ARGUMENTS` events. Append the answer to the chat with the members
 * `message`, or `text`, `reasoning` and `tool_calls`, of its result.
 *
 * Also returns `NO_CHAT_TEMPLATE` and `CHAT_TEMPLATE`.
 */
llama_infer_status llama_infer_chat_async(struct llama_engine *engine,
                                          const struct llama_infer_message *messages,
                                          size_t n_messages,
                                          const struct llama_infer_params *params,
                                          llama_infer_callback on_event,
                                          void *user_data,
                                          llama_infer_id *id);

/**
 * Renders chat messages with the engine's chat template and writes the prompt that `llama_infer_chat_async` would use.
 *
 * The result is plain text. If it is passed to `llama_infer_async`, special tokens written inside a message are parsed as
 * special tokens. Use `llama_infer_chat_async` for untrusted messages: it keeps message text and special tokens apart.
 *
 * The text and a terminating NUL are written to `buffer` if both fit into `capacity` bytes. `*length` is always set to the
 * length of the text without the NUL. To find the required size, call it with a capacity of 0.
 *
 * `params` and `length` may be NULL. `buffer` may be NULL if `capacity` is 0.
 *
 * Returns `BUFFER_TOO_SMALL` if the text and its NUL do not fit.
 */
llama_infer_status llama_engine_chat_prompt(struct llama_engine *engine,
                                            const struct llama_infer_message *messages,
                                            size_t n_messages,
                                            const struct llama_infer_params *params,
                                            char *buffer,
                                            size_t capacity,
                                            size_t *length);

/**
 * Starts one generation for each of `n_prompts` prompts, and returns immediately. The number of prompts is not limited by
 * the size of the engine's queue.
 *
 * The prompts are submitted in order with `LLAMA_INFER_PRIORITY_BATCH`. About twice as many as there are slots are
 * submitted at a time; further ones follow as `FINISHED` events are delivered. Prompt i uses the seed `params->seed + i`.
 *
 * One `id` identifies the whole batch. All events go to the same `on_event` or queue, one at a time. `event->index` is the
 * index of the prompt, and `event->n_remaining` is 0 in the last event of the batch. A prompt that is refused gets a
 * `FINISHED` event with an error; the other prompts are not affected.
 *
 * Prompts and parameters are copied. `params` may be NULL for the defaults, and `id` may be NULL. May be called from any
 * callback.
 *
 * Returns `INVALID_ARGUMENT`, `INVALID_HANDLE`, `INVALID_REQUEST` for parameters out of range, `SHUTTING_DOWN`, or
 * `OUT_OF_MEMORY` if the thread that submits the prompts cannot be started.
 */
llama_infer_status llama_infer_batch_async(struct llama_engine *engine,
                                           const char *const *prompts,
                                           size_t n_prompts,
                                           const struct llama_infer_params *params,
                                           llama_infer_callback on_event,
                                           void *user_data,
                                           llama_infer_id *id);

/**
 * Embeds each of `n_texts` texts, and returns immediately.
 *
 * Each text gets one event, `FINISHED`, whose `result->embedding` is its vector; otherwise it is a batch as one of
 * `llama_infer_batch_async`. With `normalize`, vectors have length 1. `pooling` is one of `llama_infer_pooling`. Of `params`,
 * the priority, the time limits and the queue are used, and `parse_special`. An encoder computes many texts together, those of
 * other calls too; a model that generates computes one at a time, between the steps of its generations.
 *
 * Returns as `llama_infer_batch_async`.
 */
llama_infer_status llama_infer_embed_async(struct llama_engine *engine,
                                           const char *const *texts,
                                           size_t n_texts,
                                           int32_t pooling,
                                           bool normalize,
                                           const struct llama_infer_params *params,
                                           llama_infer_callback on_event,
                                           void *user_data,
                                           llama_infer_id *id);

/**
 * Computes how well each of `n_documents` documents answers a query, with a model that has a rank head, and returns
 * immediately.
 *
 * Each document gets one event, `FINISHED`, whose `result->embedding[0]` is its score: higher is better, and what it means is the
 * model's own affair. Otherwise as `llama_infer_embed_async`. Special tokens that are written in the texts are plain text.
 *
 * Also returns `INVALID_REQUEST` if the model has no rank head.
 */
llama_infer_status llama_infer_rank_async(struct llama_engine *engine,
                                          const char *query,
                                          const char *const *documents,
                                          size_t n_documents,
                                          const struct llama_infer_params *params,
                                          llama_infer_callback on_event,
                                          void *user_data,
                                          llama_infer_id *id);

/**
 * Computes how likely the model finds each of `n_continuations` continuations of a text, and returns immediately.
 *
 * Each continuation gets one event, `FINISHED`, with `result->logprob` and `result->is_greedy`; otherwise it is a batch as one of
 * `llama_infer_batch_async`, with the priority of `params`. Text and continuation are tokenized as one, and scored from the first
 * token on in which that differs from the text alone. `text` may be empty: the first token of a continuation then counts as
 * certain, unless the model begins texts with a token of its own.
 *
 * Returns as `llama_infer_batch_async`, and `PROMPT_TOO_LONG` if the text alone does not fit.
 */
llama_infer_status llama_infer_score_async(struct llama_engine *engine,
                                           const char *text,
                                           const char *const *continuations,
                                           size_t n_continuations,
                                           const struct llama_infer_params *params,
                                           llama_infer_callback on_event,
                                           void *user_data,
                                           llama_infer_id *id);

/**
 * Cancels a request, or all prompts of a batch, and returns immediately.
 *
 * The `FINISHED` event is still delivered, with the reason `CANCELLED`, or with another reason if the generation had
 * already ended. When called from the request's own callback, no further `TOKEN` event is delivered. When called from
 * elsewhere, at most the event that is being delivered follows. May be called from any callback.
 *
 * Cancelling a finished request has no effect and returns `OK`. Returns `NOT_FOUND` if this engine never issued the id.
 */
llama_infer_status llama_infer_cancel(struct llama_engine *engine, llama_infer_id id);

/**
 * Waits until a request, or all prompts of a batch, is over: its last callback has returned, or its last event has been
 * polled. After that the library no longer uses its `user_data`.
 *
 * Waits for at most `timeout_ms` milliseconds; a negative value means no limit, and 0 returns immediately.
 *
 * A callback may wait for other requests, which blocks only its own request. A callback that waits for its own request,
 * and any wait from the log callback, returns `IN_CALLBACK`. A thread that polls a queue must not wait for requests of
 * that queue, because a request is not over until its events are polled.
 *
 * Returns `OK` if the request is over, including when it was before. Returns `TIMEOUT` if the time expires first, and
 * `NOT_FOUND` if this engine never issued the id.
 */
llama_infer_status llama_infer_wait(struct llama_engine *engine, llama_infer_id id, int32_t timeout_ms);

/**
 * Like `llama_infer_wait`, for all requests started on the engine before this call.
 *
 * Returns `IN_CALLBACK` in any callback of this engine's requests and in the log callback. A thread that polls a queue must
 * not call it while requests of that queue are unfinished.
 */
llama_infer_status llama_infer_wait_all(struct llama_engine *engine,
                                        int32_t timeout_ms);

/**
 * Tokenizes a text.
 *
 * With `add_special`, the special tokens that the model's vocabulary asks for are added, such as BOS. With `parse_special`,
 * special tokens written out in the text are parsed as special tokens. With `add_special`, the result is the prompt of
 * `llama_infer_async` with the same `parse_special`, followed by the tokens that some models expect at the end of a
 * complete text.
 *
 * The tokens are written to `tokens` if they fit into `capacity` elements. `*n_tokens` is always set to their number.
 * `n_tokens` may be NULL. `tokens` may be NULL if `capacity` is 0.
 *
 * Returns `BUFFER_TOO_SMALL` if the tokens do not fit.
 */
llama_infer_status llama_engine_tokenize(struct llama_engine *engine,
                                         const char *text,
                                         bool add_special,
                                         bool parse_special,
                                         int32_t *tokens,
                                         size_t capacity,
                                         size_t *n_tokens);

/** Counts the tokens of a text as a prompt of `llama_infer_async` with `parse_special`. `n_tokens` must not be NULL. */
llama_infer_status llama_engine_count_tokens(struct llama_engine *engine, const char *text, size_t *n_tokens);

/**
 * Converts tokens to text as it appears in an output: special tokens are omitted, incomplete UTF-8 sequences become
 * U+FFFD, and NUL becomes U+2400.
 *
 * The buffer is filled as by `llama_engine_chat_prompt`. Returns `INVALID_REQUEST` if a token is not in the vocabulary, and
 * `BUFFER_TOO_SMALL` if the text and its NUL do not fit.
 */
llama_infer_status llama_engine_detokenize(struct llama_engine *engine,
                                           const int32_t *tokens,
                                           size_t n_tokens,
                                           char *buffer,
                                           size_t capacity,
                                           size_t *length);

/**
 * Like `llama_engine_detokenize`. With `special`, special tokens are written out, such as `<|im_end|>`, so that a tokenized
 * prompt is converted back to its text.
 */
llama_infer_status llama_engine_detokenize_with(struct llama_engine *engine,
                                                const int32_t *tokens,
                                                size_t n_tokens,
                                                bool special,
                                                char *buffer,
                                                size_t capacity,
                                                size_t *length);

/**
 * Fills `*stats` with a snapshot of the engine's state. The caller sets `stats->size` first. The strings in it live as long
 * as the library. Cheap: it does not wait for the workers. May be called from any callback.
 */
llama_infer_status llama_engine_get_stats(struct llama_engine *engine,
                                          struct llama_engine_stats *stats);

/**
 * Sets the log callback of the process, which receives messages of the library and of llama.cpp up to `level`.
 *
 * `callback` may be called on any thread, and on several threads at the same time. It should return quickly. NULL turns
 * logging off, which is the default. When this function returns, the previous callback is no longer running and will not
 * be called again, so its `user_data` may be freed.
 *
 * The library may hold locks while the callback runs. In the callback, this function and those that load, wait, poll, drain
 * or free an engine therefore return `IN_CALLBACK`. Other functions may be called; the messages that they cause are not
 * logged.
 *
 * Returns `INVALID_ARGUMENT` if `level` is not a `llama_concurrent_log_level` and `callback` is not NULL.
 */
llama_infer_status llama_concurrent_set_log(llama_concurrent_log_callback callback,
                                            int32_t level,
                                            void *user_data);

/**
 * Returns the version of the library, such as "0.1.0". `LLAMA_CONCURRENT_VERSION` is the version of the header. The string
 * is static.
 */
const char *llama_concurrent_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#ifdef __cplusplus
extern "C" {
#endif

/** Returns the default parameters. */
static inline llama_engine_params llama_engine_default_params(void) {
    llama_engine_params params;
    llama_engine_params_init(&params, sizeof params);
    return params;
}

/** Returns the default parameters. */
static inline llama_infer_params llama_infer_default_params(void) {
    llama_infer_params params;
    llama_infer_params_init(&params, sizeof params);
    return params;
}

#ifdef __cplusplus
}
#endif

#endif /* LLAMA_CONCURRENT_H */
