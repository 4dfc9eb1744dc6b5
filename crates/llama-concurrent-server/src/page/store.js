// The chats, and what the browser keeps of them.

const KEY = "llama-concurrent";
// Characters of all chats. Browsers give an origin some five million.
const MOST = 4_000_000;

export const DEFAULTS = {system: "", temperature: "", maxTokens: "", thinking: "", effort: "", priority: "interactive", tools: ""};

// The latest first.
export const chats = [];
export const preferences = {theme: "", panel: null, settings: DEFAULTS, ...read(KEY + ".preferences")};
const sizes = new Map();

function read(key) {
  try { return JSON.parse(localStorage.getItem(key)); } catch { return null; }
}

export function savePreferences() {
  try { localStorage.setItem(KEY + ".preferences", JSON.stringify(preferences)); } catch { /* Nothing depends on it. */ }
}

const string = value => typeof value === "string" ? value : "";

// A chat as it was kept, by this version or another one.
function restore(kept) {
  if (!kept || typeof kept.id !== "string" || !Array.isArray(kept.messages)) return null;
  const messages = kept.messages.filter(one => one && ["user", "assistant"].includes(one.role));
  for (const one of messages) {
    one.content = string(one.content);
    if (one.role === "user") continue;
    one.thoughts = string(one.thoughts);
    one.calls = Array.isArray(one.calls) ? one.calls.filter(call => call && typeof call.name === "string") : [];
    for (const call of one.calls) call.arguments = string(call.arguments);
    // The page was closed meanwhile.
    if (!one.finish && !one.error) one.finish = "stopped";
  }
  return {...kept, title: string(kept.title) || "New chat", settings: {...DEFAULTS, ...kept.settings}, draft: string(kept.draft), messages};
}

export function load() {
  try {
    for (const key of Object.keys(localStorage)) if (key.startsWith(KEY + ".chat.")) reload(key.slice(KEY.length + 6));
  } catch { /* A browser without storage has the chats until it is closed. */ }
}

// Takes a chat as it is kept now, where another window has changed it.
export function reload(id) {
  const chat = restore(read(`${KEY}.chat.${id}`)), at = chats.findIndex(one => one.id === id);
  if (at >= 0) chats.splice(at, 1);
  if (chat) {
    sizes.set(id, JSON.stringify(chat).length);
    chats.push(chat);
    chats.sort((a, b) => b.at - a.at);
  }
  return chat;
}

export const idOfKey = key => key?.startsWith(KEY + ".chat.") ? key.slice(KEY.length + 6) : null;

export function create(settings) {
  const id = Date.now().toString(36) + Math.random().toString(36).slice(2, 8);
  const chat = {id, title: "New chat", at: Date.now(), settings: {...DEFAULTS, ...settings}, draft: "", messages: []};
  chats.unshift(chat);
  return chat;
}

// Keeps a chat, at the cost of the oldest if there is no room. Returns what a person should know, or null.
export function save(chat, isBusy = () => false) {
  if (!chats.includes(chat)) return null;
  // What nobody wrote in is not worth it.
  if (!chat.messages.length && !chat.draft && !chat.isNamed) {
    forget(chat);
    return null;
  }
  const text = JSON.stringify(chat);
  let message = null;
  sizes.set(chat.id, text.length);
  for (;;) {
    const full = [...sizes.values()].reduce((sum, size) => sum + size, 0) > MOST;
    try {
      if (!full) {
        localStorage.setItem(`${KEY}.chat.${chat.id}`, text);
        return message;
      }
    } catch { /* Without room, or without storage. */ }
    const oldest = chats.findLast(one => one !== chat && !isBusy(one) && sizes.has(one.id));
    if (!oldest) {
      sizes.delete(chat.id);
      return "This chat cannot be kept by the browser; export it before you close the page.";
    }
    message = `There was no room for all chats: “${oldest.title}” is gone.`;
    remove(oldest);
  }
}

export function remove(chat) {
  const at = chats.indexOf(chat);
  if (at >= 0) chats.splice(at, 1);
  forget(chat);
}

function forget(chat) {
  sizes.delete(chat.id);
  try { localStorage.removeItem(`${KEY}.chat.${chat.id}`); } catch { /* As above. */ }
}

export const copyOf = chat => structuredClone(chat);

// In OpenAI's format, with what the answers cost.
export function exported(chat) {
  const {system, ...settings} = chat.settings;
  const plain = chat.messages.flatMap(message => [
    {...shown(message), ...(message.figures && {figures: message.figures}), ...(message.finish && {finish_reason: message.finish})},
    ...results(message)]);
  return {title: chat.title, exported: new Date().toISOString(), settings, messages: [...instructions(system), ...plain]};
}

const instructions = system => system.trim() ? [{role: "system", content: system}] : [];

// Whether its calls are whole. Half a call is not shown to the model again.
export const isWhole = ({error, finish}) => !error && finish !== "stopped" && finish !== "length";

function shown(message) {
  const {role, content, thoughts} = message;
  if (role === "user") return {role, content};
  const calls = isWhole(message) ? message.calls : [];
  return {
    role, content, ...(thoughts && {reasoning_content: thoughts}),
    ...(calls.length && {tool_calls: calls.map(({id, name, arguments: text}) => ({id, type: "function", function: {name, arguments: text}}))}),
  };
}

const results = message => message.role === "user" || !isWhole(message) ? []
  : message.calls.filter(call => call.result != null).map(call => ({role: "tool", tool_call_id: call.id, content: call.result}));

// What is sent for the answer after these messages.
export function conversation(settings, messages) {
  // An answer that failed before its first word says nothing.
  const said = messages.filter(one => one.role === "user" || one.content || (one.calls.length && isWhole(one)));
  return [...instructions(settings.system), ...said.flatMap(message => [shown(message), ...results(message)])];
}
