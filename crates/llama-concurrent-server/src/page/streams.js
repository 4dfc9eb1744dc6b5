// Many generations at once over one WebSocket, and the slots that they are in.

import {theKey} from "./api.js";
import {$, h, seconds} from "./dom.js";
import {server} from "./slots.js";

const all = new Map();
const recent = [];                       // times of tokens in the last two seconds
let socket = null, next = 1, dirty = true, keyUsed = null, retry = 500, isOpen = false;
let lag = 0;                             // ms from what the last end says to its arrival

// Begins at the first look: most people never need the connection.
export function open() {
  if (isOpen) { dirty = true; return; }
  isOpen = true;
  connect();
  frame();
}

export function keyChanged() {
  if (!isOpen || theKey() === keyUsed) return;
  const old = socket;
  socket = null;
  old?.close();
  connect();
}

export const refresh = () => dirty = true;

function connect() {
  const key = keyUsed = theKey();
  const protocols = key ? ["llama-concurrent", "api-key." + key] : ["llama-concurrent"];
  let mine;
  try { mine = new WebSocket(new URL("ws", location.href).href.replace(/^http/, "ws"), protocols); }
  catch { $("link").textContent = "this key cannot be sent by a browser"; return; }
  socket = mine;
  mine.onopen = () => { retry = 500; $("link").textContent = "connected"; };
  mine.onmessage = event => receive(JSON.parse(event.data));
  mine.onclose = () => {
    if (socket !== mine) return;
    $("link").textContent = "not connected";
    for (const one of all.values()) if (!one.end) finish(one, "connection lost");
    setTimeout(() => { if (socket === mine) connect(); }, retry = Math.min(retry * 2, 10000));
  };
}

function receive(message) {
  const one = all.get(message.id), now = performance.now(), sent = Math.max(one?.start ?? 0, now - lag);
  if (!one) { if (message.type === "error") $("link").textContent = message.error.message; return; }
  if (message.type === "state") { enterSlot(one, message.slot, sent); one.prefill ??= sent; }
  if (message.type === "delta") {
    enterSlot(one, message.slot, sent); one.prefill ??= sent; one.decode ??= sent;
    one.text += message.text; recent.push([now, message.n - one.n]); one.n = message.n;
  }
  if (message.type === "finished") {
    // The server's own times are exact.
    one.prefill = one.start + message.timings.queue_ms;
    one.decode = one.prefill + message.timings.prompt_ms;
    enterSlot(one, message.slot, one.prefill);
    one.n = message.usage.completion_tokens;
    const end = Math.min(one.decode + message.timings.predicted_ms, now);
    lag = now - end; // A fast model writes messages faster than a browser reads them.
    finish(one, message.finish_reason, end);
  }
  if (message.type === "error") { one.failed = true; one.text += (one.text ? "\n" : "") + message.error.message; finish(one, "error"); }
  dirty = true;
}

// A generation may move to another slot when one ends.
function enterSlot(one, slot, at) { if (slot >= 0 && slot !== one.slot) { one.spans.push([slot, at]); one.slot = slot; } }

function finish(one, why, at = performance.now()) { one.end = at; one.why = why; dirty = true; }

function phase(one) { return one.end ? one.why : one.decode ? "decode" : one.prefill ? "prefill" : "waiting"; }

function card(one) {
  const state = h("span", {class: "state"}), figures = h("span", {class: "soft grow"}), answer = h("span");
  const cancel = h("button", {type: "button", class: "small", "aria-label": "Cancel generation " + one.id,
    onclick: () => { if (!one.end) send({type: "cancel", id: one.id}); }}, "Cancel");
  const box = h("p", {tabindex: 0}, h("b", {}, one.prompt), answer);
  const article = h("article", {}, h("div", {class: "row"}, "#" + one.id, state, figures, cancel), box);
  $("cards").append(article);
  Object.assign(one, {article, state, figures, cancel, answer, box});
}

function send(message) { if (socket?.readyState === 1) socket.send(JSON.stringify(message)); }

export function start() {
  const prompts = $("prompts").value.split("\n").filter(line => line.trim());
  const count = Math.min(128, Math.max(1, +$("count").value || 1));
  if (!prompts.length) { $("prompts").focus(); return; }
  if (socket?.readyState !== 1) { $("link").textContent = "not connected: nothing was sent"; return; }
  for (let i = 0; i < count; i++) {
    const id = String(next++), prompt = prompts[i % prompts.length], chat = $("kind").value === "chat";
    const one = {id, prompt: chat ? prompt + "\n" : prompt, text: "", n: 0, slot: -1, spans: [], start: performance.now()};
    all.set(id, one); card(one);
    send({type: "generate", id, ...(chat ? {messages: [{role: "user", content: prompt}]} : {prompt}),
      n_predict: +$("tokens").value || 160, temperature: +$("temperature").value, priority: $("priority").value});
  }
  dirty = true;
}

export function stopAll() { for (const one of all.values()) if (!one.end) send({type: "cancel", id: one.id}); }

export function clear() {
  for (const [id, one] of all) if (one.end) { one.article.remove(); all.delete(id); }
  dirty = true;
}

function show() {
  const now = performance.now(), firsts = [];
  while (recent.length && now - recent[0][0] > 2000) recent.shift();
  let running = 0, waiting = 0, done = 0;
  for (const one of all.values()) {
    const is = phase(one);
    one.end ? done++ : is === "waiting" ? waiting++ : running++;
    if (one.decode) firsts.push(one.decode - one.start);
    if (one.end && one.shown) continue;
    one.shown = !!one.end;
    one.article.className = one.failed ? "failed" : one.end ? "ended" : is;
    one.state.textContent = is;
    const time = one.decode ? ((one.end ?? now) - one.decode) / 1000 : 0;
    one.figures.textContent = [one.slot >= 0 ? "slot " + one.slot : "", one.decode ? "first " + seconds(one.decode - one.start) : "",
      one.n + " tok", time > .05 ? (one.n / time).toFixed(1) + " tok/s" : ""].filter(Boolean).join(", ");
    if (one.answer.textContent.length !== one.text.length) {
      const atEnd = one.box.scrollHeight - one.box.scrollTop - one.box.clientHeight < 40;
      one.answer.textContent = one.text;
      if (atEnd) one.box.scrollTop = one.box.scrollHeight;
    }
    // Not `disabled`: the keyboard would lose its place.
    if (one.end) one.cancel.setAttribute("aria-disabled", "true");
  }
  firsts.sort((a, b) => a - b);
  const tokens = recent.reduce((sum, [, n]) => sum + n, 0), span = recent.length ? Math.max(now - recent[0][0], 250) : 1000;
  $("rate").textContent = (1000 * tokens / span).toFixed(tokens > 200 ? 0 : 1);
  $("running").textContent = running; $("waiting").textContent = waiting; $("done").textContent = done;
  $("ttft").textContent = firsts.length ? seconds(firsts[firsts.length >> 1]) : "-";
  $("stop").disabled = !(running + waiting);
  $("streams-count").textContent = running + waiting || "";
  draw(now);
  return running + waiting + recent.length > 0;
}

function draw(now) {
  const canvas = $("timeline"), ratio = devicePixelRatio || 1, width = canvas.clientWidth;
  if (!width) return;
  const list = [...all.values()], active = list.some(one => !one.end);
  const queue = list.some(one => (one.prefill ?? one.end ?? now) - one.start > 30);
  const used = Math.min(64, Math.max(server.slots, ...list.map(one => one.slot + 1), 1)), rowHeight = used > 24 ? 9 : 14;
  const height = (used + (queue ? 1 : 0)) * rowHeight + 18;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); canvas.style.height = height + "px";
  }
  const end = active || !list.length ? now : Math.max(...list.map(one => one.end));
  const begin = Math.max(list.length ? Math.min(...list.map(one => one.start)) : end - 5000, end - 60000);
  const context = canvas.getContext("2d"), left = 52, scale = (width - left - 4) / Math.max(end - begin, 1000);
  // light-dark() is resolved only on elements.
  const colour = name => getComputedStyle($("probe-" + name)).color;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "11px system-ui, sans-serif"; context.textBaseline = "middle";
  const soft = colour("soft"), line = colour("line");
  for (let row = 0; row < used; row++) {
    context.fillStyle = line; context.fillRect(left, row * rowHeight + rowHeight - 1, width - left, .5);
    if (rowHeight > 10 || row % 4 === 0) { context.fillStyle = soft; context.fillText("slot " + row, 0, row * rowHeight + rowHeight / 2); }
  }
  if (queue) { context.fillStyle = soft; context.fillText("queue", 0, used * rowHeight + rowHeight / 2); }
  const colours = {waiting: colour("waiting"), prefill: colour("prefill"), decode: colour("decode")};
  const bar = (row, from, to, name, alpha = 1) => {
    from = Math.max(from, begin); if (to <= from) return;
    context.globalAlpha = alpha; context.fillStyle = colours[name];
    context.fillRect(left + (from - begin) * scale, row * rowHeight + 2, Math.max((to - from) * scale - .5, 1), rowHeight - 4);
    context.globalAlpha = 1;
  };
  for (const one of list) {
    const to = one.end ?? now;
    if (queue) bar(used, one.start, Math.min(one.prefill ?? to, to), "waiting", .5);
    one.spans.forEach(([slot, at], i) => {
      if (slot >= used) return;
      const from = i ? at : 0, until = Math.min(to, one.spans[i + 1]?.[1] ?? to);
      if (one.prefill) bar(slot, Math.max(from, one.prefill), Math.min(one.decode ?? to, until), "prefill");
      if (one.decode) bar(slot, Math.max(from, one.decode), until, "decode");
    });
  }
  context.fillStyle = soft;
  context.fillText(seconds(end - begin) + " ago", left, height - 8);
  // A second at least fills the width, so the last moment of a short load is not at the right.
  const last = Math.max(left + (end - begin) * scale, left + 110);
  context.textAlign = "right"; context.fillText(active ? "now" : "end", last, height - 8); context.textAlign = "left";
}

function frame() { if (dirty) dirty = show(); requestAnimationFrame(frame); }
