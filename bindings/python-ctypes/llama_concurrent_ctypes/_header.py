"""Numbers, structs and functions of `include/llama_concurrent.h`, from which a test writes this file."""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_bool, c_char_p, c_double, c_float, c_int, c_int32, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

ENUMS: dict[str, dict[str, int]] = {
    "llama_infer_event_type": {"token": 1, "finished": 2, "reasoning": 3, "tool_call": 4, "arguments": 5},
    "llama_infer_finish_reason": {"stop": 1, "length": 2, "cancelled": 3, "deadline": 4, "error": 5},
    "llama_concurrent_log_level": {"error": 1, "warn": 2, "info": 3, "debug": 4, "trace": 5},
    "llama_infer_status": {
        "ok": 0,
        "invalid_argument": 1,
        "invalid_handle": 2,
        "invalid_config": 3,
        "invalid_request": 4,
        "prompt_too_long": 5,
        "model_not_found": 6,
        "model_invalid": 7,
        "model_unsupported": 8,
        "out_of_memory": 9,
        "overloaded": 10,
        "no_chat_template": 11,
        "chat_template": 12,
        "shutting_down": 13,
        "decode": 14,
        "load_cancelled": 15,
        "internal": 16,
        "timeout": 17,
        "in_callback": 18,
        "not_found": 19,
        "buffer_too_small": 20,
        "busy": 21,
    },
    "llama_engine_strategy": {"auto": 0, "sequential": 1, "round-robin": 2, "batched": 3},
    "llama_engine_kv_type": {"f16": 0, "q8_0": 1, "f32": 2, "q4_0": 3},
    "llama_infer_priority": {"interactive": 0, "batch": 1},
    "llama_infer_continuation": {"auto": 0, "never": 1, "last": 2, "content": 3, "reasoning_content": 4},
    "llama_infer_pooling": {"auto": 0, "mean": 1, "cls": 2, "last": 3, "none": 4},
    "llama_engine_placement": {"auto": 0, "node": 1, "l3": 2, "none": 3},
    "llama_engine_replicate": {"auto": 0, "always": 1, "never": 2},
    "llama_engine_wait_policy": {"auto": 0, "active": 1, "passive": 2},
    "llama_speculation": {"auto": 0, "off": 1, "lookup": 2, "draft": 3},
}
"""Numbers by their names."""


class CInferErrorDetail(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("status", c_int32),
        ("retry_after_ms", c_uint32),
        ("n_prompt_tokens", c_uint32),
        ("max_tokens", c_uint32),
        ("n_ctx", c_uint32),
        ("reserved", c_uint32),
    ]


CEngineProgressCallback = ctypes.CFUNCTYPE(c_bool, c_float, c_void_p)


class CEngineParams(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("strategy", c_int32),
        ("slots", c_uint32),
        ("n_ctx", c_uint32),
        ("n_batch", c_uint32),
        ("threads", c_uint32),
        ("workers", c_uint32),
        ("max_stall_ms", c_uint32),
        ("max_queued_requests", c_uint32),
        ("max_queued_tokens", c_uint64),
        ("batch_aging_ms", c_uint32),
        ("stream_buffer", c_uint32),
        ("type_k", c_int32),
        ("type_v", c_int32),
        ("poll", c_uint32),
        ("prefix_reuse", c_bool),
        ("reproducible", c_bool),
        ("mmap", c_bool),
        ("repack", c_bool),
        ("check_tensors", c_bool),
        ("flash_attn", c_bool),
        ("pin", c_bool),
        ("kernels", c_bool),
        ("progress", CEngineProgressCallback),
        ("progress_user_data", c_void_p),
        ("pack_cache", c_char_p),
        ("placement", c_int32),
        ("replicate", c_int32),
        ("cpus", c_char_p),
        ("nodes", c_char_p),
        ("swa_full", c_bool),
        ("reserved", c_bool * 7),
        ("chat_template", c_char_p),
        ("chat_template_kwargs", c_char_p),
        ("wait_policy", c_int32),
        ("park_after_ms", c_uint32),
        ("speculation", c_int32),
        ("draft_model", c_char_p),
    ]


class CInferLogitBias(ctypes.Structure):
    _fields_ = [
        ("token", c_int32),
        ("bias", c_float),
    ]


class CInferToolCall(ctypes.Structure):
    _fields_ = [
        ("id", c_char_p),
        ("name", c_char_p),
        ("arguments", c_char_p),
        ("index", c_size_t),
    ]


class CInferChatMessage(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("role", c_char_p),
        ("content", c_char_p),
        ("reasoning", c_char_p),
        ("tool_calls", POINTER(CInferToolCall)),
        ("n_tool_calls", c_size_t),
        ("tool_call_id", c_char_p),
        ("name", c_char_p),
    ]


class CInferParams(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("max_tokens", c_uint32),
        ("temperature", c_float),
        ("top_k", c_uint32),
        ("top_p", c_float),
        ("min_p", c_float),
        ("repetition_penalty", c_float),
        ("frequency_penalty", c_float),
        ("presence_penalty", c_float),
        ("penalty_last_n", c_uint32),
        ("seed", c_uint32),
        ("priority", c_int32),
        ("queue_timeout_ms", c_uint32),
        ("timeout_ms", c_uint32),
        ("stop", POINTER(c_char_p)),
        ("n_stop", c_size_t),
        ("logit_bias", POINTER(CInferLogitBias)),
        ("n_logit_bias", c_size_t),
        ("queue", c_void_p),
        ("chat_tools", c_char_p),
        ("chat_variables", c_char_p),
        ("ignore_eos", c_bool),
        ("parse_special", c_bool),
        ("add_generation_prompt", c_bool),
        ("reserved", c_bool * 5),
        ("json_schema", c_char_p),
        ("regex", c_char_p),
        ("grammar", c_char_p),
        ("logprobs", c_int32),
        ("prefix_reuse", c_bool),
        ("special", c_bool),
        ("reserved_2", c_bool * 2),
        ("stop_token_ids", POINTER(c_int32)),
        ("n_stop_token_ids", c_size_t),
        ("min_tokens", c_uint32),
        ("typical_p", c_float),
        ("top_n_sigma", c_float),
        ("xtc_probability", c_float),
        ("xtc_threshold", c_float),
        ("dynatemp_range", c_float),
        ("dynatemp_exponent", c_float),
        ("mirostat", c_uint32),
        ("mirostat_tau", c_float),
        ("mirostat_eta", c_float),
        ("chat_messages", c_char_p),
        ("continue_final_message", c_int32),
        ("chat_parse_special", c_bool),
        ("reserved_3", c_bool * 3),
        ("chat", POINTER(POINTER(CInferChatMessage))),
        ("n_chat", c_size_t),
        ("chat_tool_choice", c_char_p),
        ("chat_thinking_budget", c_int32),
        ("chat_parallel_tool_calls", c_bool),
        ("reserved_4", c_bool * 3),
        ("dry_multiplier", c_float),
        ("dry_base", c_float),
        ("dry_allowed_length", c_uint32),
        ("dry_penalty_last_n", c_uint32),
        ("dry_sequence_breakers", POINTER(c_char_p)),
        ("n_dry_sequence_breakers", c_size_t),
        ("adaptive_target", c_float),
        ("adaptive_decay", c_float),
        ("post_sampling_probs", c_bool),
        ("speculation", c_int32),
        ("draft_max", c_uint32),
        ("reserved_draft_max", c_bool * 4),
    ]


class CInferResult(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("reason", c_int32),
        ("status", c_int32),
        ("error", c_char_p),
        ("text", c_void_p),
        ("text_length", c_size_t),
        ("tokens", POINTER(c_int32)),
        ("n_tokens", c_size_t),
        ("stop_index", c_int32),
        ("n_prompt_tokens", c_uint32),
        ("n_cached_tokens", c_uint32),
        ("n_output_tokens", c_uint32),
        ("queue_ms", c_double),
        ("ttft_ms", c_double),
        ("e2e_ms", c_double),
        ("itl_ms", POINTER(c_double)),
        ("n_itl", c_size_t),
        ("reasoning", c_char_p),
        ("tool_calls", POINTER(CInferToolCall)),
        ("n_tool_calls", c_size_t),
        ("message", c_char_p),
        ("embedding", POINTER(c_float)),
        ("n_embedding", c_size_t),
        ("n_vectors", c_size_t),
        ("logprob", c_double),
        ("is_greedy", c_bool),
        ("reserved", c_bool * 7),
        ("n_drafted_tokens", c_uint32),
        ("n_accepted_tokens", c_uint32),
    ]


class CInferLogprob(ctypes.Structure):
    _fields_ = [
        ("token", c_int32),
        ("logprob", c_float),
    ]


class CInferEvent(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("type", c_int32),
        ("index", c_uint32),
        ("id", c_uint64),
        ("engine", c_void_p),
        ("user_data", c_void_p),
        ("text", c_void_p),
        ("text_length", c_size_t),
        ("tokens", POINTER(c_int32)),
        ("n_tokens", c_size_t),
        ("position", c_size_t),
        ("result", POINTER(CInferResult)),
        ("n_remaining", c_size_t),
        ("logprobs", POINTER(CInferLogprob)),
        ("n_logprobs", c_size_t),
        ("tool_call", POINTER(CInferToolCall)),
    ]


CInferCallback = ctypes.CFUNCTYPE(None, POINTER(CInferEvent), c_void_p)


class CInferMessage(ctypes.Structure):
    _fields_ = [
        ("role", c_char_p),
        ("content", c_char_p),
    ]


class CEngineStats(ctypes.Structure):
    _fields_ = [
        ("size", c_size_t),
        ("strategy", c_int32),
        ("workers", c_uint32),
        ("contexts", c_uint32),
        ("slots", c_uint32),
        ("n_ctx", c_uint32),
        ("threads", c_uint32),
        ("n_ctx_train", c_uint32),
        ("n_vocab", c_uint32),
        ("model_bytes", c_uint64),
        ("repack_bytes", c_uint64),
        ("kv_bytes", c_uint64),
        ("compute_bytes", c_uint64),
        ("decode_calls", c_uint64),
        ("decode_rows", c_uint64),
        ("decode_ms", c_double),
        ("prefill_calls", c_uint64),
        ("prefill_rows", c_uint64),
        ("prefill_ms", c_double),
        ("output_tokens", c_uint64),
        ("cached_tokens", c_uint64),
        ("requests_submitted", c_uint64),
        ("requests_rejected", c_uint64),
        ("requests_stopped", c_uint64),
        ("requests_length", c_uint64),
        ("requests_cancelled", c_uint64),
        ("requests_deadline", c_uint64),
        ("requests_failed", c_uint64),
        ("requests_running", c_uint32),
        ("requests_waiting", c_uint32),
        ("kernels", c_char_p),
        ("weight_copies", c_uint32),
        ("strayed_threads", c_uint32),
        ("local_fraction", c_double),
        ("pack_cache", c_char_p),
        ("kernels_share", c_double),
        ("products", c_char_p),
        ("cpus", c_char_p),
        ("requests_parked", c_uint32),
        ("passive_workers", c_uint32),
        ("cpu_wait", c_double),
        ("wait_switches", c_uint64),
        ("drafted_tokens", c_uint64),
        ("accepted_tokens", c_uint64),
        ("speculation", c_char_p),
        ("draft_model_ms", c_double),
    ]


CConcurrentLogCallback = ctypes.CFUNCTYPE(None, c_int32, c_char_p, c_char_p, c_void_p)


FUNCTIONS: dict[str, tuple[Any, list[Any]]] = {
    "llama_infer_status_name": (c_char_p, [c_int32]),
    "llama_infer_last_error": (c_char_p, []),
    "llama_infer_last_error_detail": (c_int32, [POINTER(CInferErrorDetail)]),
    "llama_engine_params_init": (c_int32, [POINTER(CEngineParams), c_size_t]),
    "llama_infer_params_init": (c_int32, [POINTER(CInferParams), c_size_t]),
    "llama_infer_queue_new": (c_int32, [POINTER(c_void_p)]),
    "llama_infer_queue_fd": (c_int, [c_void_p]),
    "llama_infer_poll": (c_int32, [c_void_p, c_int32, POINTER(POINTER(CInferEvent))]),
    "llama_infer_queue_free": (c_int32, [c_void_p]),
    "llama_engine_load": (c_int32, [c_char_p, POINTER(CEngineParams), POINTER(c_void_p)]),
    "llama_engine_free": (c_int32, [c_void_p]),
    "llama_engine_drain": (c_int32, [c_void_p, c_int32]),
    "llama_engine_warnings": (c_int32, [c_void_p, c_char_p, c_size_t, POINTER(c_size_t)]),
    "llama_infer_async": (
        c_int32,
        [
            c_void_p,
            c_char_p,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_tokens_async": (
        c_int32,
        [
            c_void_p,
            POINTER(c_int32),
            c_size_t,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_chat_async": (
        c_int32,
        [
            c_void_p,
            POINTER(CInferMessage),
            c_size_t,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_engine_chat_prompt": (
        c_int32,
        [
            c_void_p,
            POINTER(CInferMessage),
            c_size_t,
            POINTER(CInferParams),
            c_char_p,
            c_size_t,
            POINTER(c_size_t),
        ],
    ),
    "llama_infer_batch_async": (
        c_int32,
        [
            c_void_p,
            POINTER(c_char_p),
            c_size_t,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_embed_async": (
        c_int32,
        [
            c_void_p,
            POINTER(c_char_p),
            c_size_t,
            c_int32,
            c_bool,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_rank_async": (
        c_int32,
        [
            c_void_p,
            c_char_p,
            POINTER(c_char_p),
            c_size_t,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_score_async": (
        c_int32,
        [
            c_void_p,
            c_char_p,
            POINTER(c_char_p),
            c_size_t,
            POINTER(CInferParams),
            CInferCallback,
            c_void_p,
            POINTER(c_uint64),
        ],
    ),
    "llama_infer_cancel": (c_int32, [c_void_p, c_uint64]),
    "llama_infer_wait": (c_int32, [c_void_p, c_uint64, c_int32]),
    "llama_infer_wait_all": (c_int32, [c_void_p, c_int32]),
    "llama_engine_tokenize": (
        c_int32,
        [
            c_void_p,
            c_char_p,
            c_bool,
            c_bool,
            POINTER(c_int32),
            c_size_t,
            POINTER(c_size_t),
        ],
    ),
    "llama_engine_count_tokens": (c_int32, [c_void_p, c_char_p, POINTER(c_size_t)]),
    "llama_engine_detokenize": (c_int32, [c_void_p, POINTER(c_int32), c_size_t, c_char_p, c_size_t, POINTER(c_size_t)]),
    "llama_engine_detokenize_with": (
        c_int32,
        [
            c_void_p,
            POINTER(c_int32),
            c_size_t,
            c_bool,
            c_char_p,
            c_size_t,
            POINTER(c_size_t),
        ],
    ),
    "llama_engine_get_stats": (c_int32, [c_void_p, POINTER(CEngineStats)]),
    "llama_concurrent_set_log": (c_int32, [CConcurrentLogCallback, c_int32, c_void_p]),
    "llama_concurrent_version": (c_char_p, []),
}
"""Result and arguments of each function."""
