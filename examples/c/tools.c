/*
 * A tool loop: the model calls a function of this program, gets its result, and answers. No JSON library is needed where
 * the arguments are as plain as here.
 *
 *     cc tools.c -o tools $(pkg-config --cflags --libs llama_concurrent)
 *     ./tools [MODEL]
 */
#include <llama_concurrent.h>
#include <stdio.h>
#include <string.h>

static const char tools[] =
    "[{\"type\": \"function\", \"function\": {\"name\": \"lamp\", \"description\": \"Switch the lamp on or off\","
    " \"parameters\": {\"type\": \"object\", \"properties\": {\"state\": {\"enum\": [\"on\", \"off\"]}},"
    " \"required\": [\"state\"]}}}]";

/* The first call of an answer, copied, since events end with their callback. */
struct answer {
    char id[64], name[64], arguments[256];
    int has_call, failed;
};

static void on_event(const llama_infer_event *event, void *user_data) {
    struct answer *answer = user_data;
    switch (event->type) {
    case LLAMA_INFER_EVENT_TYPE_TOKEN: fputs(event->text, stdout); break;
    case LLAMA_INFER_EVENT_TYPE_REASONING: fputs(event->text, stderr); break;
    case LLAMA_INFER_EVENT_TYPE_TOOL_CALL: printf("[%s ", event->tool_call->name); break;
    case LLAMA_INFER_EVENT_TYPE_ARGUMENTS: fputs(event->text, stdout); break;
    case LLAMA_INFER_EVENT_TYPE_FINISHED:
        answer->failed = event->result->status != LLAMA_INFER_STATUS_OK;
        if (event->result->n_tool_calls > 0) {
            const llama_infer_tool_call *call = &event->result->tool_calls[0];
            snprintf(answer->id, sizeof answer->id, "%s", call->id);
            snprintf(answer->name, sizeof answer->name, "%s", call->name);
            snprintf(answer->arguments, sizeof answer->arguments, "%s", call->arguments);
            answer->has_call = 1;
        }
        puts(answer->has_call ? "]" : "");
        break;
    }
}

static int ask(llama_engine *engine, const llama_infer_params *params, struct answer *answer) {
    llama_infer_id id;
    if (llama_infer_chat_async(engine, NULL, 0, params, on_event, answer, &id) != LLAMA_INFER_STATUS_OK) {
        fprintf(stderr, "tools: %s\n", llama_infer_last_error());
        return 1;
    }
    llama_infer_wait(engine, id, -1);
    return answer->failed;
}

int main(int argc, char **argv) {
    llama_engine *engine = NULL;
    if (llama_engine_load(argc > 1 ? argv[1] : "models/demo.gguf", NULL, &engine) != LLAMA_INFER_STATUS_OK) {
        fprintf(stderr, "tools: %s\n", llama_infer_last_error());
        return 1;
    }
    llama_infer_chat_message question = {.size = sizeof question, .role = "user", .content = "Please switch the lamp on."};
    const llama_infer_chat_message *chat[3] = {&question};
    llama_infer_params params = llama_infer_default_params();
    params.max_tokens = 200;
    params.chat = chat;
    params.n_chat = 1;
    params.chat_tools = tools;
    params.chat_tool_choice = "required"; /* a small model would not call it by itself */
    params.chat_parallel_tool_calls = false;

    struct answer called = {0}, last = {0};
    int failed = ask(engine, &params, &called);
    if (!failed && called.has_call) {
        int on = strstr(called.arguments, "\"on\"") != NULL;
        llama_infer_tool_call call = {.id = called.id, .name = called.name, .arguments = called.arguments};
        llama_infer_chat_message request = {
            .size = sizeof request, .role = "assistant", .tool_calls = &call, .n_tool_calls = 1};
        llama_infer_chat_message result = {
            .size = sizeof result, .role = "tool", .tool_call_id = called.id, .content = on ? "It is on." : "It is off."};
        chat[1] = &request;
        chat[2] = &result;
        params.n_chat = 3;
        params.chat_tool_choice = "none";
        failed = ask(engine, &params, &last);
    }
    llama_engine_free(engine);
    return failed || !called.has_call || last.has_call;
}
