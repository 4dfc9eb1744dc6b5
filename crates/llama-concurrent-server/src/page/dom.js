// Small helpers of the page. Texts become text nodes: there is no way here to write HTML.

export const $ = id => document.getElementById(id);

// An element, its attributes and listeners (`onclick` and the like), and what is in it: nodes, or texts.
export function h(name, attributes = {}, ...inside) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(key.slice(2), value);
    else if (value !== false && value != null) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...inside);
  return element;
}

// A picture of the sprite in index.html.
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const svg = document.createElementNS(space, "svg"), use = document.createElementNS(space, "use");
  svg.setAttribute("aria-hidden", "true");
  use.setAttribute("href", "#i-" + name);
  svg.append(use);
  return svg;
}

export const iconButton = (name, label, onclick, more = {}) =>
  h("button", {type: "button", class: "icon", "aria-label": label, title: label, onclick, ...more}, icon(name));

// For screen readers only.
export function announce(text) {
  $("announce").textContent = "";
  // The same text twice would be said once.
  setTimeout(() => $("announce").textContent = text, 60);
}

let hiding;

// A line at the bottom for some seconds, with a way back where there is one.
export function toast(text, undo) {
  const box = $("toast");
  box.replaceChildren(h("span", {}, text));
  if (undo) box.append(h("button", {type: "button", onclick: () => { undo(); hide(); }}, "Undo"));
  box.append(iconButton("close", "Close this message", hide));
  box.hidden = false;
  clearTimeout(hiding);
  hiding = setTimeout(hide, 10000);
  function hide() { box.hidden = true; clearTimeout(hiding); }
}

export async function copy(text, button) {
  let done = true;
  // The clipboard wants https or the loopback.
  try { await navigator.clipboard.writeText(text); } catch { done = copyOld(text); }
  const label = button.querySelector("use"), said = done ? "Copied" : "Copying is not allowed here";
  announce(said);
  if (!done) return toast(said);
  if (label) label.setAttribute("href", "#i-check");
  else button.textContent = "Copied";
  setTimeout(() => label ? label.setAttribute("href", "#i-copy") : button.textContent = "Copy", 1500);
}

function copyOld(text) {
  const area = h("textarea", {class: "unseen"}), before = document.activeElement;
  area.value = text;
  document.body.append(area);
  area.select();
  const done = document.execCommand("copy");
  area.remove();
  before?.focus();
  return done;
}

export const seconds = ms => ms < 950 ? Math.round(ms) + " ms" : ms < 59950 ? (ms / 1000).toFixed(1) + " s"
  : Math.floor(Math.round(ms / 1000) / 60) + " min " + Math.round(ms / 1000) % 60 + " s";
export const tokens = n => n === 1 ? "1 token" : n.toLocaleString("en") + " tokens";
export const rate = n => n.toFixed(n < 100 ? 1 : 0);
