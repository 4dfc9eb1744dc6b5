// The page: which chat is shown, what is typed, the list at the side, and the keyboard.

import {answer, hooks, running, stop} from "./answers.js";
import {$, announce, copy, h, iconButton, toast} from "./dom.js";
import {check, settings, showDefaults, showSettings} from "./settings.js";
import * as slots from "./slots.js";
import * as store from "./store.js";
import * as streams from "./streams.js";
import {question, reply} from "./turns.js";

const {chats, preferences} = store;
const narrow = matchMedia("(max-width: 760px)"), tight = matchMedia("(max-width: 1080px)");
let chat = null, items = [], isAtEnd = true, painting = false;
const news = new Set();                  // chats that were answered while another one was shown

// Which chat

function openChat(next, {replaces = false} = {}) {
  if (chat && chat !== next) keepDraft();
  chat = next;
  news.delete(chat.id);
  const hash = "#chat=" + chat.id;
  if (location.hash !== hash) replaces ? history.replaceState(null, "", hash) : history.pushState(null, "", hash);
  showView(false);
  $("say").value = chat.draft;
  grow();
  render();
  showSettings(chat);
  list();
}

function newChat() {
  const isEmpty = chat && !chat.messages.length && !chat.isNamed && !running.has(chat.id);
  const old = chats.find(one => !one.messages.length && !one.draft && !one.isNamed);
  openChat(isEmpty ? chat : old ?? store.create(preferences.settings));
  closeOverlays();
  $("say").focus();
}

function remove(one) {
  stop(one);
  const at = chats.indexOf(one);
  store.remove(one);
  if (one === chat) {
    chat = null;
    openChat(chats[Math.min(at, chats.length - 1)] ?? store.create(preferences.settings), {replaces: true});
    $("say").focus();
  }
  list();
  toast(`“${one.title}” is deleted.`, () => { chats.push(one); chats.sort((a, b) => b.at - a.at); save(one); openChat(one); });
}

function route() {
  if (location.hash === "#streams") return showView(true);
  const id = /^#chat=(\w+)$/.exec(location.hash)?.[1];
  const found = chats.find(one => one.id === id) ?? chat ?? chats[0] ?? store.create(preferences.settings);
  if (chat !== found || $("chat-view").hidden) openChat(found, {replaces: true});
}

function showView(isStreams) {
  $("chat-view").hidden = isStreams;
  $("streams-view").hidden = !isStreams;
  document.title = (isStreams ? "Many streams" : chat.title) + " – llama-concurrent";
  if (isStreams) { streams.open(); $("to-streams").setAttribute("aria-current", "page"); } else $("to-streams").removeAttribute("aria-current");
  layout();
  list();
}

function save(one) {
  const message = store.save(one, other => running.has(other.id) || other === chat);
  if (message) { toast(message); list(); }
}

function keepDraft() {
  if (chat.draft === $("say").value) return;
  chat.draft = $("say").value;
  save(chat);
}

function list() {
  const known = new Map([...$("chats").children].map(row => [row.dataset.id, row]));
  const isStreams = !$("streams-view").hidden;
  const rows = chats.map(one => {
    const row = known.get(one.id) ?? h("li", {"data-id": one.id},
      h("a", {href: "#chat=" + one.id, onclick: pick, ondblclick: () => { $("title").focus(); $("title").select(); },
        onkeydown: event => {
          if (event.key === "F2") { event.preventDefault(); location.hash = "#chat=" + one.id; setTimeout(() => $("title").select()); }
          if (event.key === "Delete") remove(chats.find(other => other.id === one.id));
        }}, h("span", {class: "name"}), h("span", {class: "mark"})),
      iconButton("trash", "Delete this chat", () => remove(chats.find(other => other.id === one.id))));
    const link = row.firstChild, mark = link.lastChild, isRunning = running.has(one.id);
    link.firstChild.textContent = one.title;
    link.title = one.title;
    mark.className = "mark" + (isRunning ? " now" : news.has(one.id) ? " new" : "");
    mark.textContent = isRunning ? "is being answered" : news.has(one.id) ? "has a new answer" : "";
    row.lastChild.setAttribute("aria-label", `Delete “${one.title}”`);
    if (one === chat && !isStreams) link.setAttribute("aria-current", "page"); else link.removeAttribute("aria-current");
    return row;
  });
  // Moving an element takes the focus from it.
  rows.forEach((row, i) => { if ($("chats").children[i] !== row) $("chats").insertBefore(row, $("chats").children[i] ?? null); });
  while ($("chats").children.length > rows.length) $("chats").lastChild.remove();
}

function pick(event) {
  closeOverlays();
  // By keyboard one may want the next chat of the list; a telephone would show its keys.
  if (event.detail && !narrow.matches) setTimeout(() => $("say").focus());
}

// What is in it

const act = {
  edit(node) { items.find(item => item.node === node)?.edit(text => resend(node, text)); },
  left() { $("say").focus(); },
  again: () => {
    const last = chat.messages.at(-1), before = store.copyOf(chat);
    if (last?.role !== "assistant" || !isSound()) return;
    chat.messages.pop();
    if (last.content) toast("A new answer takes the place of the last one.", () => restore(before));
    ask();
  },
  more: message => { if (isSound()) { isAtEnd = true; answer(chat, message); } },
  given: message => {
    save(chat);
    const open = message.calls.findIndex(call => call.result == null);
    if (open < 0 && isSound()) { ask(); $("say").focus(); } else {
      items.at(-1).update();
      items.at(-1).node.querySelector(".call textarea")?.focus();
    }
  },
  key: () => { showPanel("settings"); $("key").focus(); },
  moved: () => { isAtEnd = nearEnd(); },
};

const part = message => message.role === "user" ? question(message, act) : reply(chat, message, act);

function render() {
  items = chat.messages.map(part);
  $("turns").replaceChildren(...items.map(item => item.node));
  items.forEach((item, i) => item.update(i === items.length - 1));
  $("empty").hidden = items.length > 0;
  $("title").value = chat.title;
  if (!$("chat-view").hidden) document.title = chat.title + " – llama-concurrent";
  $("export").hidden = !items.length;
  isAtEnd = true;
  toEnd();
  state();
  if (running.has(chat.id)) paint();
}

function restore(before) {
  const now = chats.find(one => one.id === before.id);
  if (!now) return;
  stop(now);
  Object.assign(now, before);
  save(now);
  openChat(now);
}

function resend(node, text) {
  const at = items.findIndex(item => item.node === node), before = store.copyOf(chat);
  if (at < 0 || !isSound()) return;
  stop(chat);
  if (at + 1 < chat.messages.length) toast("What followed this message is gone.", () => restore(before));
  chat.messages.length = at;
  say(text);
  $("say").focus();
}

// The settings may hold what cannot be sent.
function isSound() {
  const wrong = check();
  if (!wrong) return true;
  showPanel("settings");
  wrong.field.focus();
  announce(wrong.problem);
  return false;
}

function say(text) {
  chat.messages.push({role: "user", content: text});
  if (!chat.isNamed && chat.messages.length === 1) {
    const line = text.trim().split("\n")[0];
    chat.title = line.length > 60 ? line.slice(0, 58).trimEnd() + "…" : line;
  }
  ask();
}

async function ask() {
  const one = chat;
  one.at = Date.now();
  chats.sort((a, b) => b.at - a.at);
  render();
  // The last answer may still be about to stop.
  for (let i = 0; i < 50 && running.has(one.id); i++) await new Promise(resolve => setTimeout(resolve, 20));
  answer(one);
}

hooks.changed = (one, message) => {
  const isRunning = running.has(one.id);
  save(one);
  if (one === chat) {
    if (isRunning && items.length !== one.messages.length) {
      // What came before is not the last any more.
      items.forEach(item => item.update(false));
      items.push(part(message));
      $("turns").append(items.at(-1).node);
      toEnd();
    }
    state();
    if (isRunning) paint();
    else {
      items.at(-1)?.update();
      if (isAtEnd) toEnd();
      // Where a result is wanted, unless one is typing.
      const isFree = [document.body, $("say"), $("go")].includes(document.activeElement) && !$("say").value;
      if (isFree) items.at(-1)?.node.querySelector(".call textarea")?.focus({preventScroll: true});
    }
  } else if (!isRunning) news.add(one.id);
  list();
  tell(one, message, isRunning);
};

// Whole answers are read out, not their tokens.
function tell(one, message, isRunning) {
  const name = one === chat ? "" : `In “${one.title}”: `;
  if (isRunning) { if (one === chat) announce("The model answers."); return; }
  if (message.error) return announce(name + "Error. " + message.error.message);
  if (message.finish === "stopped") return announce(name + "Stopped.");
  const calls = message.calls.map(call => call.name).join(", ");
  const text = one === chat ? items.at(-1)?.node.querySelector(":scope > .prose")?.textContent ?? "" : "";
  announce(name + (calls ? "The model calls " + calls + ". " : "Answered. ") + (text.length > 1500 ? text.slice(0, 1500) + " …" : text));
}

hooks.grew = one => { if (one === chat) paint(); };

// Once a frame while the chat that is shown is answered.
function paint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    if (!running.has(chat.id)) return;
    const begun = performance.now(), item = items.at(-1);
    item?.update();
    // Reading the height computes the layout, whose time counts too.
    if (log.scrollHeight && isAtEnd) toEnd();
    item?.took?.(performance.now() - begun);
    paint();
  });
}

const log = $("log");
const nearEnd = () => log.scrollHeight - log.scrollTop - log.clientHeight < 40;

function toEnd() { log.scrollTop = log.scrollHeight; }

log.addEventListener("scroll", () => { isAtEnd = nearEnd(); $("latest").hidden = isAtEnd; }, {passive: true});
new ResizeObserver(() => { if (isAtEnd) toEnd(); }).observe(log);
$("latest").addEventListener("click", () => { isAtEnd = true; toEnd(); $("say").focus(); });
$("turns").addEventListener("click", event => {
  const button = event.target.closest("button[data-copy]");
  if (button) copy(button.closest(".code").querySelector("code").textContent, button);
});

// What is typed

function state() {
  const isRunning = running.has(chat.id), go = $("go");
  const label = isRunning ? "Stop" : "Send";
  go.setAttribute("aria-label", label);
  go.title = isRunning ? "Stop (Esc)" : "Send (Enter)";
  go.querySelector("use").setAttribute("href", isRunning ? "#i-stop" : "#i-up");
  go.setAttribute("aria-disabled", String(!isRunning && !$("say").value.trim()));
}

function grow() {
  const say = $("say");
  say.style.height = "auto";
  say.style.height = Math.min(say.scrollHeight, innerHeight * .4) + "px";
}

function submit() {
  const text = $("say").value.trim();
  if (running.has(chat.id)) return;
  if (!text || !isSound()) return;
  // A model waits for the results of its calls; a person who goes on without them has none.
  for (const call of chat.messages.at(-1)?.calls ?? []) call.result ??= "";
  $("say").value = chat.draft = "";
  grow();
  say(text);
}

$("composer").addEventListener("submit", event => {
  event.preventDefault();
  if (running.has(chat.id)) stop(chat); else submit();
});
$("say").addEventListener("input", () => { grow(); state(); });
$("say").addEventListener("change", keepDraft);
$("say").addEventListener("keydown", event => {
  if (event.isComposing) return;
  if (event.key === "Enter" && !event.shiftKey && !event.ctrlKey && !event.metaKey && !event.altKey) {
    event.preventDefault();
    if (running.has(chat.id)) announce("The model still answers; Escape stops it.");
    else submit();
  }
  if (event.key === "ArrowUp" && !$("say").value && !event.shiftKey) {
    const last = items.findLast((_, i) => chat.messages[i].role === "user");
    if (last) { event.preventDefault(); act.edit(last.node); }
  }
});
$("title").addEventListener("change", () => {
  chat.title = $("title").value.trim() || "New chat";
  chat.isNamed = true;
  $("title").value = chat.title;
  document.title = chat.title + " – llama-concurrent";
  save(chat);
  list();
});
$("title").addEventListener("keydown", event => {
  if (event.key === "Enter") { event.preventDefault(); $("say").focus(); }
  if (event.key === "Escape") { event.stopPropagation(); $("title").value = chat.title; $("say").focus(); }
});
$("export").addEventListener("click", () => {
  const text = JSON.stringify(store.exported(chat), null, 2);
  const address = URL.createObjectURL(new Blob([text], {type: "application/json"}));
  const name = chat.title.replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 50) || "chat";
  h("a", {href: address, download: name + ".json"}).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
});

// The sides

// A panel stands beside the chat where there is room, and over it elsewhere.
function layout() {
  const panel = preferences.panel ?? (innerWidth >= 1200 ? "slots" : "");
  const isOver = tight.matches, isStreams = !$("streams-view").hidden;
  const isPanel = !isStreams && (isOver ? overlay === "panel" : !!panel);
  const isSide = narrow.matches ? overlay === "side" : !preferences.noSide;
  const wasOpen = !$("panel").hidden;
  $("panel").hidden = !isPanel;
  $("side").hidden = !isSide;
  document.body.classList.toggle("sided", isSide);
  const tab = (isOver ? overTab : panel) === "settings" ? "settings" : "slots";
  for (const name of ["slots", "settings"]) {
    $("tab-" + name).setAttribute("aria-selected", String(name === tab));
    $("tab-" + name).tabIndex = name === tab ? 0 : -1;
    $("pane-" + name).hidden = name !== tab;
  }
  $("meter").setAttribute("aria-expanded", String(isPanel && tab === "slots"));
  $("settings-open").setAttribute("aria-expanded", String(isPanel && tab === "settings"));
  $("side-open").hidden = $("side-open-too").hidden = isSide;
  const covers = (isOver && isPanel) || (narrow.matches && isSide);
  $("shade").hidden = !covers;
  for (const view of ["chat-view", "streams-view"]) $(view).inert = covers;
  $("side").inert = isOver && isPanel;
  if (isPanel && (!wasOpen || tab === "slots")) slots.draw();
  streams.refresh();
}

let overlay = "", overTab = "slots";

function showPanel(tab) {
  if (tight.matches) { overlay = tab ? "panel" : ""; overTab = tab || overTab; } else {
    preferences.panel = tab;
    store.savePreferences();
  }
  layout();
}

function togglePanel(tab, button) {
  const isOpen = !$("panel").hidden && !$("pane-" + tab).hidden;
  showPanel(isOpen ? "" : tab);
  if (!isOpen) $("tab-" + tab).focus({preventScroll: true});
  else button.focus();
}

function closeOverlays() {
  if (!overlay) return false;
  overlay = "";
  layout();
  return true;
}

function showSide(isOpen) {
  if (narrow.matches) overlay = isOpen ? "side" : "";
  else { preferences.noSide = !isOpen; store.savePreferences(); }
  layout();
  if (isOpen) $("new").focus();
  else ($("chat-view").hidden ? $("side-open-too") : $("side-open")).focus();
}

$("meter").addEventListener("click", () => togglePanel("slots", $("meter")));
$("settings-open").addEventListener("click", () => togglePanel("settings", $("settings-open")));
$("panel-close").addEventListener("click", () => {
  const from = $("pane-settings").hidden ? $("meter") : $("settings-open");
  showPanel("");
  from.focus();
});
for (const [name, other] of [["slots", "settings"], ["settings", "slots"]]) {
  $("tab-" + name).addEventListener("click", () => showPanel(name));
  $("tab-" + name).addEventListener("keydown", event => {
    if (event.key === "ArrowLeft" || event.key === "ArrowRight") { showPanel(other); $("tab-" + other).focus(); }
  });
}
$("pane-settings").addEventListener("submit", event => event.preventDefault());
$("side-open").addEventListener("click", () => showSide(true));
$("side-open-too").addEventListener("click", () => showSide(true));
$("side-close").addEventListener("click", () => showSide(false));
$("shade").addEventListener("click", closeOverlays);
$("new").addEventListener("click", newChat);
$("to-streams").addEventListener("click", closeOverlays);
$("skip").addEventListener("click", () => ($("chat-view").hidden ? $("prompts") : $("say")).focus());
narrow.addEventListener("change", () => { overlay = ""; layout(); });
tight.addEventListener("change", () => { overlay = ""; layout(); });

function theme() {
  if (preferences.theme) document.documentElement.dataset.theme = preferences.theme;
}
$("theme").addEventListener("click", () => {
  const dark = preferences.theme ? preferences.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  preferences.theme = dark ? "light" : "dark";
  store.savePreferences();
  theme();
  slots.draw();
  streams.refresh();
});

$("form").addEventListener("submit", event => { event.preventDefault(); streams.start(); });
$("stop").addEventListener("click", streams.stopAll);
$("clear").addEventListener("click", streams.clear);

addEventListener("keydown", event => {
  const isStreams = !$("streams-view").hidden;
  if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k" && !event.shiftKey && !event.altKey) {
    event.preventDefault();
    newChat();
  }
  if (isStreams && event.key === "Enter" && (event.ctrlKey || event.metaKey)) { event.preventDefault(); streams.start(); }
  if (event.key !== "Escape" || event.isComposing) return;
  const from = overlay;
  if (closeOverlays()) return (from === "side" ? $("side-open") : from && overTab === "settings" ? $("settings-open") : $("meter")).focus();
  if (isStreams) streams.stopAll(); else stop(chat);
});
addEventListener("resize", () => { grow(); slots.draw(); streams.refresh(); });
addEventListener("hashchange", route);
addEventListener("popstate", route);
addEventListener("pagehide", () => {
  chat.draft = $("say").value;
  for (const one of chats) {
    if (one !== chat && !running.has(one.id)) continue;
    store.save(one, () => true);
    // Otherwise the answer would end with the error that the connection is gone.
    stop(one);
  }
});
setInterval(() => { for (const one of chats.filter(one => running.has(one.id))) save(one); }, 2000);
document.addEventListener("visibilitychange", () => { if (!document.hidden) slots.look(); });
// Another window of the same browser.
addEventListener("storage", event => {
  const id = store.idOfKey(event.key);
  if (!id || running.has(id)) return;
  const changed = store.reload(id);
  if (chat.id !== id) return list();
  if (changed) { changed.draft = $("say").value; chat = changed; render(); list(); } else { store.chats.unshift(chat); list(); }
});

async function describe() {
  const {model, slots: count, context, properties} = await slots.describe();
  if (model) $("model").textContent = model;
  const many = properties?.total_slots ?? count;
  const parts = [many && context ? `${many} slots of ${context.toLocaleString("en")} tokens: chats are answered side by side.` : "",
    properties?.has_chat_template === false ? "This model has no chat template of its own; ChatML is used." : ""];
  $("about").textContent = parts.filter(Boolean).join(" ");
  showDefaults(properties);
}

theme();
store.load();
if (!/Mac|iP/.test(navigator.platform)) document.body.classList.add("no-mac");
else for (const one of document.querySelectorAll("kbd")) one.textContent = one.textContent.replace("Ctrl", "⌘").replace("Shift Enter", "⇧ Enter");
settings(save, () => { slots.look(); describe(); streams.keyChanged(); });
route();
if (!chat) chat = chats[0] ?? store.create(preferences.settings), showSettings(chat), render(), list();
describe();
slots.look();
if (!narrow.matches && !$("chat-view").hidden) $("say").focus();
