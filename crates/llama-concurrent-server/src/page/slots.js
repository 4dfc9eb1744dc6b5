// The slots of the server, of everybody who uses it, from GET /slots.

import {get} from "./api.js";
import {$, h, rate, tokens} from "./dom.js";

const SPAN = 120_000;                    // ms of the strip
const history = [];                      // {at, states}
let rows = [], before = new Map(), timer = null, isAsking = false;
export const server = {model: "", slots: 0, context: 0, properties: null};

const CLASSES = {prefill: "prefill", decode: "decode"};

export async function look() {
  clearTimeout(timer);
  if (isAsking) return;
  isAsking = true;
  let pause = 1000;
  try {
    // A list that nobody sees is not asked for.
    if (!document.hidden) show(await get("slots"));
  } catch (error) {
    missing(error.status);
    // What is not allowed will not be so in a second; a new key asks at once.
    pause = error.status ? 30000 : 3000;
  }
  isAsking = false;
  timer = setTimeout(look, pause);
}

function missing(status) {
  const why = status === 501 ? "This server does not show its slots." : status === 401 ? "The slots want the API key, in the settings."
    : status ? `The slots cannot be read: error ${status}.` : "The server cannot be reached.";
  $("slots-note").textContent = why;
  $("slots-note").hidden = false;
  $("slot-list").replaceChildren();
  rows = [];
  $("meter-cells").replaceChildren();
  $("meter-text").textContent = status ? "slots" : "offline";
  $("meter").setAttribute("aria-label", "Slots. " + why);
  $("busy").textContent = "-";
  $("slots-busy").textContent = $("slots-rate").textContent = "-";
}

function show(list) {
  if (!Array.isArray(list)) return;
  const now = performance.now(), states = list.map(slot => slot.is_processing ? CLASSES[slot.state] ?? "decode" : "idle");
  const busy = states.filter(state => state !== "idle").length;
  server.slots = list.length;
  $("slots-note").hidden = true;
  // Tokens since the last look, of the same request.
  const seen = new Map();
  let all = 0;
  const rates = list.map(slot => {
    if (!slot.is_processing) return 0;
    const n = slot.next_token?.[0]?.n_decoded ?? 0, old = before.get(slot.id_task);
    seen.set(slot.id_task, {n, at: now});
    const one = old && now > old.at ? 1000 * Math.max(0, n - old.n) / (now - old.at) : slot.elapsed_ms > 0 ? 1000 * n / slot.elapsed_ms : 0;
    all += one;
    return one;
  });
  before = seen;
  history.push({at: now, states});
  while (history.length && now - history[0].at > SPAN) history.shift();
  $("busy").textContent = $("slots-busy").textContent = busy + " of " + list.length;
  $("slots-rate").textContent = rate(all);
  meter(states, busy);
  if (rows.length !== list.length) {
    rows = list.map((_, i) => row(i));
    $("slot-list").replaceChildren(...rows.map(one => one.node));
  }
  list.forEach((slot, i) => rows[i].update(slot, states[i], rates[i]));
  draw();
}

function meter(states, busy) {
  const cells = $("meter-cells"), few = states.length <= 32;
  if (cells.children.length !== (few ? states.length : 0)) cells.replaceChildren(...(few ? states.map(() => h("i")) : []));
  if (few) states.forEach((state, i) => cells.children[i].className = state);
  $("meter-text").textContent = `${busy}/${states.length}`;
  $("meter").setAttribute("aria-label", `Slots: ${busy} of ${states.length} busy`);
}

function row(i) {
  const state = h("span", {class: "phase"}), what = h("span", {class: "soft"}), bar = h("span", {class: "fill"});
  const node = h("li", {}, h("span", {class: "number"}, String(i)), state, what, h("span", {class: "gauge"}, bar));
  return {
    node,
    update(slot, name, speed) {
      const prompt = slot.n_prompt_tokens ?? 0, done = slot.next_token?.[0]?.n_decoded ?? 0;
      const held = name === "prefill" ? (slot.n_prompt_tokens_processed ?? 0) + (slot.n_prompt_tokens_cache ?? 0) : prompt + done;
      node.className = name;
      state.textContent = name;
      what.textContent = name === "idle" ? "" : name === "prefill" ? `${held.toLocaleString("en")} of ${tokens(prompt)}`
        : done.toLocaleString("en") + " tok" + (speed ? `, ${rate(speed)}/s` : "");
      node.title = name === "idle" ? `Slot ${i} is free` : `Slot ${i}: prompt of ${tokens(prompt)}, ${slot.n_prompt_tokens_cache ?? 0} of them known; `
        + `${tokens(held)} of ${slot.n_ctx} are held`;
      bar.style.transform = `scaleX(${name === "idle" ? 0 : Math.min(1, held / (slot.n_ctx || 1))})`;
    },
  };
}

// The last two minutes: a row for each slot.
export function draw() {
  const canvas = $("strip"), width = canvas.clientWidth, ratio = devicePixelRatio || 1;
  if (!width || !history.length) return;
  const count = Math.min(64, history.at(-1).states.length), each = count > 24 ? 4 : count > 12 ? 6 : 8, height = count * each;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
    canvas.style.height = height + "px";
  }
  const context = canvas.getContext("2d"), now = history.at(-1).at, scale = width / SPAN;
  const colours = Object.fromEntries(["idle", "prefill", "decode"].map(name => [name, getComputedStyle($("probe-" + name)).color]));
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.fillStyle = colours.idle;
  for (let i = 0; i < count; i++) context.fillRect(0, i * each, width, each - 1);
  history.forEach(({at, states}, index) => {
    const from = index ? history[index - 1].at : at - 1000;
    // A gap is one: nobody looked.
    const x = Math.round(width - (now - Math.max(from, at - 3000)) * scale), until = Math.round(width - (now - at) * scale);
    states.slice(0, count).forEach((state, i) => {
      if (state === "idle") return;
      context.fillStyle = colours[state];
      context.fillRect(x, i * each, Math.max(until - x, 1), each - 1);
    });
  });
}

// What the server is, as far as it says so.
export async function describe() {
  try {
    const {data: [model]} = await get("v1/models");
    server.model = model.id;
    server.context = model.meta?.n_ctx ?? 0;
  } catch { /* The list of slots says what is wrong. */ }
  try { server.properties = await get("props"); } catch { server.properties = null; }
  return server;
}
