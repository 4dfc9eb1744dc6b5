// A conversation on the screen.

import {running, soFar} from "./answers.js";
import {copy, h, icon, iconButton, rate, seconds, tokens} from "./dom.js";
import {Markdown} from "./markdown.js";
import {isWhole} from "./store.js";

const FINISHES = {length: "cut at the limit of tokens", stopped: "stopped"};

// A person's message. `act` has what the buttons do.
export function question(message, act) {
  const bubble = h("div", {class: "bubble"}, message.content);
  const row = h("div", {class: "acts"},
    iconButton("copy", "Copy this message", event => copy(message.content, event.currentTarget)),
    iconButton("edit", "Edit this message and send it again", () => act.edit(turn)));
  const turn = h("div", {class: "turn user", role: "article", "aria-label": "You"}, bubble, row);
  return {
    node: turn,
    update() {},
    // The message as a text field, until it is sent or left.
    edit(send) {
      const field = h("textarea", {class: "field", rows: 3, "aria-label": "Your message"});
      field.value = message.content;
      const form = h("form", {class: "edit", onsubmit: event => { event.preventDefault(); if (field.value.trim()) send(field.value.trim()); }},
        field, h("div", {class: "row end"}, h("button", {type: "button", onclick: leave}, "Cancel"), h("button", {class: "main"}, "Send again")));
      field.addEventListener("keydown", event => {
        if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); form.requestSubmit(); }
        if (event.key === "Escape") { event.stopPropagation(); leave(); }
      });
      turn.replaceChildren(form);
      field.focus();
      field.setSelectionRange(field.value.length, field.value.length);
      function leave() { turn.replaceChildren(bubble, row); act.left(); }
    },
  };
}

// An answer: thoughts, text, calls of tools, an error, and what it cost.
export function reply(chat, message, act) {
  const summary = h("span", {class: "said"}), thoughts = h("div", {class: "prose"});
  const details = h("details", {class: "thoughts", hidden: true}, h("summary", {}, icon("chevron"), summary), thoughts);
  const text = h("div", {class: "prose"}), calls = h("div", {class: "calls"}), problem = h("div", {});
  const figures = h("span", {class: "figures"});
  const again = iconButton("again", "Answer again", () => act.again(message));
  const more = h("button", {type: "button", class: "small", onclick: () => act.more(message)}, "Continue");
  const copier = iconButton("copy", "Copy this answer", event => copy(message.content, event.currentTarget));
  const row = h("div", {class: "acts"}, copier, again, more, figures);
  const node = h("div", {class: "turn answer", role: "article", "aria-label": "Answer"}, details, text, calls, problem, row);
  const body = {reader: new Markdown(text), read: 0, ended: false}, mind = {reader: new Markdown(thoughts), read: 0, ended: false};
  const cards = [];
  let pause = 0, told = 0;

  details.addEventListener("toggle", () => { update(); act.moved(); });

  function read(part, all, isLive) {
    if (part.read < all.length) part.reader.feed(all.slice(part.read));
    part.read = all.length;
    if (!isLive && !part.ended) { part.reader.end(); part.ended = true; }
  }

  // Called once a frame. What painting took is told by `took`: where it is slow it is done less often, a third of the time at most.
  function update(isLast = true) {
    const run = running.get(chat.id), isLive = run?.message === message, begun = performance.now();
    if (isLive && begun < pause) return;
    node.classList.toggle("live", isLive);
    const seen = isLive ? soFar(run) : null, cost = message.figures;
    if (message.thoughts) {
      details.hidden = false;
      const isThinking = isLive && run.thought === null;
      const n = seen ? seen.thoughts : cost?.thoughts, time = seen ? seen.thinking : cost?.thinking;
      summary.textContent = (isThinking ? "Thinking" : "Thought")
        + (time ? (isThinking ? ", " : " for ") + seconds(time) : "") + (n ? ", " + tokens(n) : "");
      details.classList.toggle("now", isThinking);
      if (details.open) read(mind, message.thoughts, isLive);
    }
    read(body, message.content, isLive);
    message.calls.forEach((call, i) => {
      if (!cards[i]) calls.append((cards[i] = card(call, message, act)).node);
      cards[i].update(isLive, isLast);
    });
    if (isLive) {
      // Figures that change with each frame cannot be read.
      if (begun - told > 200 || !run.n) { told = begun; figures.textContent = figures.title = live(run, seen); }
    } else {
      problem.replaceChildren(...(message.error ? [failure(message, act, isLast)] : []));
      figures.textContent = said(message);
      figures.title = details_(cost);
    }
    const isCut = message.finish === "length" || message.finish === "stopped" || message.error;
    more.hidden = isLive || !isLast || !isCut || !message.content || message.calls.length > 0;
    again.hidden = isLive || !isLast || (!!message.error && !message.content);
    copier.hidden = !message.content;
  }

  return {node, update, edit() {}, took: ms => pause = performance.now() + 2 * ms};
}

function live(run, seen) {
  if (run.isWaiting) return "Waits for another answer of this page: browsers open six connections to a server";
  if (!seen.first) return "Waiting for the first token, " + seconds(seen.elapsed);
  return [tokens(seen.tokens), seen.rate ? rate(seen.rate) + " tok/s" : "", "first after " + seconds(seen.first)].filter(Boolean).join(" · ");
}

function said({figures: cost, finish}) {
  if (!cost) return FINISHES[finish] ?? "";
  return [cost.tokens ? tokens(cost.tokens) : "", cost.rate ? rate(cost.rate) + " tok/s" : "",
    cost.first ? "first after " + seconds(cost.first) : "", FINISHES[finish] ?? ""].filter(Boolean).join(" · ");
}

function details_(cost) {
  if (!cost) return "";
  return [cost.prompt ? `Prompt of ${tokens(cost.prompt)}` + (cost.cached ? `, ${cost.cached} of them known` : "") : "",
    cost.queue >= 1 ? `waited ${seconds(cost.queue)} for a slot` : "", `${seconds(cost.total)} in all`].filter(Boolean).join("; ");
}

function failure({error, content}, act, isLast) {
  const hint = error.status === 401 ? "Give the key in the settings." : error.retry ? `It may work again in ${error.retry} s.` : "";
  const box = h("div", {class: "failure"}, icon("alert"),
    h("div", {}, h("p", {}, h("b", {}, error.status ? `Error ${error.status}. ` : "Error. "), error.message), hint && h("p", {}, hint)));
  if (error.status === 401) box.append(h("button", {type: "button", onclick: act.key}, "Give the key"));
  else if (isLast && !content) box.append(h("button", {type: "button", onclick: act.again}, "Try again"));
  return box;
}

function pretty(text) {
  try { return JSON.stringify(JSON.parse(text), null, 2); } catch { return null; }
}

// A call of a tool: its name, its arguments, and what a person says that it gave.
function card(call, message, act) {
  const name = h("b", {}), state = h("span", {class: "soft"}), shown = h("code", {});
  const node = h("section", {class: "call", "aria-label": "Call of a tool"},
    h("div", {class: "head"}, icon("tool"), name, state), h("pre", {tabindex: 0}, shown));
  let answer = null, isShown = null;
  function update(isLive, isLast) {
    name.textContent = call.name || "…";
    const tidy = isLive ? null : pretty(call.arguments);
    const text = tidy ?? call.arguments;
    if (shown.textContent !== text) shown.textContent = text;
    state.textContent = isLive ? "is being called" : !isWhole(message) ? "was not completed" : call.arguments && tidy === null ? "arguments are no JSON" : "";
    const wanted = isLive ? null : call.result != null ? "result" : isLast && isWhole(message) ? "field" : null;
    if (wanted === isShown) return;
    answer?.remove();
    isShown = wanted;
    answer = wanted === "result" ? result() : wanted === "field" ? field() : null;
    if (answer) node.append(answer);
  }
  function result() {
    const name = h("span", {class: "soft"}, call.result ? "Result" : "No result");
    return h("div", {class: "result"}, name, call.result && h("pre", {tabindex: 0}, call.result));
  }
  function field() {
    const area = h("textarea", {rows: 2, class: "field", "aria-label": "Result of " + call.name, placeholder: "What the tool gave: a text or JSON"});
    area.value = call.draft ?? "";
    area.addEventListener("input", () => call.draft = area.value);
    area.addEventListener("keydown", event => {
      if (event.key === "Enter" && !event.shiftKey && !event.isComposing) { event.preventDefault(); give(); }
    });
    function give() {
      call.result = area.value;
      delete call.draft;
      act.given(message);
    }
    return h("div", {class: "result"}, area, h("div", {class: "row end"}, h("button", {type: "button", onclick: give}, "Give the result")));
  }
  return {node, update};
}
