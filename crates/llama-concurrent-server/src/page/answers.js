// The answers that are being written, any number of chats at once.

import {Problem, stream} from "./api.js";
import {readTools} from "./tools.js";
import {conversation} from "./store.js";

// By the chat's id.
export const running = new Map();

// Set by who shows them: `grew` many times a second, `changed` when an answer begins or ends.
export const hooks = {grew() {}, changed() {}};

function request({settings}, messages) {
  const number = text => text === "" ? undefined : +text;
  const tools = readTools(settings.tools);
  return {
    messages: conversation(settings, messages),
    stream: true,
    stream_options: {include_usage: true},
    temperature: number(settings.temperature),
    max_tokens: number(settings.maxTokens),
    ...(settings.priority !== "interactive" && {priority: settings.priority}),
    ...(settings.effort && {reasoning_effort: settings.effort}),
    ...(settings.thinking && {chat_template_kwargs: {enable_thinking: settings.thinking === "on"}}),
    ...(tools.length && {tools}),
  };
}

// Answers the chat's last message, or goes on with an answer that was cut.
export async function answer(chat, resumed = null) {
  if (running.has(chat.id)) return;
  const body = request(chat, chat.messages);
  const message = resumed ?? {role: "assistant", content: "", thoughts: "", calls: []};
  if (!resumed) chat.messages.push(message);
  delete message.finish;
  delete message.error;
  const run = {message, control: new AbortController(), begun: performance.now(), isWaiting: true, first: null, thought: null, n: 0, nThoughts: 0};
  running.set(chat.id, run);
  hooks.changed(chat, message);
  let last = {};
  try {
    await stream(body, run.control.signal, () => {
      run.isWaiting = false;
      run.begun = performance.now();
      hooks.grew(chat);
    }, chunk => {
      if (chunk.usage || chunk.timings) last = chunk;
      for (const {delta, finish_reason: finish} of Array.isArray(chunk.choices) ? chunk.choices : []) {
        if (delta) take(message, delta, run);
        if (finish) message.finish = finish;
      }
      hooks.grew(chat);
    });
    message.finish ??= "stop";
  } catch (error) {
    if (run.control.signal.aborted) message.finish = "stopped";
    else {
      const {message: text, status, retry} = error instanceof Problem ? error : {message: "The page failed: " + error.message};
      message.error = {message: text, ...(status && {status}), ...(retry && {retry})};
    }
  }
  message.figures = figures(run, last);
  running.delete(chat.id);
  hooks.changed(chat, message);
}

function take(message, delta, run) {
  const text = value => typeof value === "string" ? value : "";
  const content = text(delta.content), thoughts = text(delta.reasoning_content);
  const pieces = Array.isArray(delta.tool_calls) ? delta.tool_calls : [];
  if (!content && !thoughts && !pieces.length) return;
  const now = performance.now();
  run.first ??= now;
  run.n++;
  if (thoughts) {
    message.thoughts += thoughts;
    run.nThoughts++;
  }
  if (message.thoughts && !thoughts) run.thought ??= now - run.first;
  message.content += content;
  for (const {index, id, function: called} of pieces) {
    if (!(Number.isInteger(index) && index >= 0 && index < 128)) continue;
    while (message.calls.length <= index) message.calls.push({id: "", name: "", arguments: ""});
    const call = message.calls[index];
    call.id ||= text(id);
    call.name += text(called?.name);
    call.arguments += text(called?.arguments);
  }
}

// What an answer cost so far, as the page sees it; a chunk is about a token.
export function soFar(run) {
  const now = performance.now(), time = run.first ? now - run.first : 0;
  return {
    elapsed: now - run.begun, first: run.first && run.first - run.begun, tokens: run.n,
    rate: time > 300 ? 1000 * (run.n - 1) / time : 0, thoughts: run.nThoughts, thinking: run.nThoughts ? run.thought ?? time : 0,
  };
}

// The server's own figures where it gave them.
function figures(run, {usage, timings}) {
  const seen = soFar(run), number = value => Number.isFinite(value) ? value : undefined;
  return {
    first: run.first && Math.round(seen.first), total: Math.round(seen.elapsed),
    tokens: number(usage?.completion_tokens) ?? seen.tokens, rate: number(timings?.predicted_per_second) || seen.rate,
    prompt: number(usage?.prompt_tokens), cached: number(timings?.cache_n), queue: number(timings?.queue_ms),
    ...(seen.thoughts && {thoughts: seen.thoughts, thinking: Math.round(seen.thinking)}),
  };
}

export const stop = chat => running.get(chat.id)?.control.abort();
