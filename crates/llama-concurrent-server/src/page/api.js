// What the page asks of its server.

// The key lives as long as the tab, and is part of no export.
let key = "";
try { key = sessionStorage.getItem("llama-concurrent.key") ?? ""; } catch { /* Then it lives as long as the page. */ }

export const theKey = () => key;

export function setKey(text) {
  key = text.trim();
  try { sessionStorage.setItem("llama-concurrent.key", key); } catch { /* As above. */ }
}

const headers = () => key ? {authorization: "Bearer " + key} : {};

// An error for people: `status` of HTTP, or 0; `retry` seconds until it may go better.
export class Problem extends Error {
  constructor(message, {status = 0, retry = 0} = {}) {
    super(message);
    Object.assign(this, {status, retry});
  }
}

export async function get(path) {
  const answer = await fetch(path, {headers: headers()});
  if (!answer.ok) throw new Problem(path, {status: answer.status});
  return answer.json();
}

// Browsers open six connections to a server: one is left for the slots and the like.
const MOST = 5;
let open = 0;
const waiting = [];

async function enter(signal) {
  signal.throwIfAborted();
  if (open < MOST) { open++; return; }
  await new Promise((resolve, reject) => {
    waiting.push(resolve);
    signal.addEventListener("abort", () => {
      const at = waiting.indexOf(resolve);
      if (at >= 0) { waiting.splice(at, 1); reject(signal.reason); }
    }, {once: true});
  });
}

function leave() {
  const next = waiting.shift();
  if (next) next();
  else open--;
}

// Streams a chat: `receive` gets each chunk, `begin` is called once the request is sent.
export async function stream(body, signal, begin, receive) {
  await enter(signal);
  try {
    begin();
    const options = {method: "POST", headers: {"content-type": "application/json", ...headers()}, body: JSON.stringify(body), signal};
    let answer;
    try { answer = await fetch("v1/chat/completions", options); } catch (error) {
      if (signal.aborted) throw error;
      throw new Problem("The server cannot be reached.");
    }
    if (!answer.ok) throw await refusal(answer);
    await events(answer, signal, receive);
  } finally { leave(); }
}

async function refusal(answer) {
  let message = "";
  try {
    const text = await answer.text();
    message = text;
    message = JSON.parse(text).error?.message ?? text;
  } catch { /* A proxy may answer with anything. */ }
  const retry = parseInt(answer.headers.get("retry-after")) || 0;
  return new Problem(String(message).slice(0, 4000) || "The server refused this.", {status: answer.status, retry});
}

async function events(answer, signal, receive) {
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    let piece;
    try { piece = await reader.read(); } catch (error) {
      if (signal.aborted) throw error;
      throw new Problem("The connection was lost.");
    }
    if (piece.done) throw new Problem("The connection was closed before the answer was complete.");
    const lines = (rest + piece.value).split("\n");
    rest = lines.pop();
    for (const line of lines) {
      // Comments keep a silent connection open.
      if (!line.startsWith("data:")) continue;
      const data = line.slice(5).trim();
      if (data === "[DONE]") { reader.cancel().catch(() => {}); return; }
      let chunk;
      try { chunk = JSON.parse(data); } catch { throw new Problem("The server sent what is no JSON."); }
      if (chunk?.error) throw new Problem(String(chunk.error.message ?? "The server failed."), {status: +chunk.error.code || 0});
      receive(chunk ?? {});
    }
  }
}
