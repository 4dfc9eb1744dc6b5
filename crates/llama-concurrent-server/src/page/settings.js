// The settings of a chat, at the side. New chats begin with those that were changed last.

import {setKey, theKey} from "./api.js";
import {$, announce} from "./dom.js";
import {DEFAULTS, preferences, savePreferences} from "./store.js";
import {EXAMPLE, readTools} from "./tools.js";

const FIELDS = {system: "set-system", temperature: "set-temperature", maxTokens: "set-max", thinking: "set-thinking", effort: "set-effort",
  priority: "set-priority", tools: "set-tools"};
let chat = null, save = () => {};

export function showSettings(of) {
  chat = of;
  for (const [name, id] of Object.entries(FIELDS)) if ($(id).value !== chat.settings[name]) $(id).value = chat.settings[name];
  check();
}

// What is wrong with the settings, and the field; null if nothing is.
export function check() {
  let problem = "", field = null;
  try {
    const tools = readTools(chat.settings.tools);
    $("tools-note").textContent = tools.length ? "Shown to the model: " + tools.map(tool => tool.function.name).join(", ") + "." : "";
  } catch (error) {
    problem = error.message;
    field = $("set-tools");
    $("tools-note").textContent = problem;
  }
  $("tools-note").classList.toggle("wrong", !!problem);
  $("set-tools").setAttribute("aria-invalid", String(!!problem));
  for (const id of ["set-temperature", "set-max"]) {
    const isWrong = !$(id).checkValidity();
    $(id).setAttribute("aria-invalid", String(isWrong));
    if (isWrong) [problem, field] = [$(id).validationMessage, $(id)];
  }
  return problem ? {problem, field} : null;
}

export function settings(changed, keyChanged) {
  save = changed;
  for (const [name, id] of Object.entries(FIELDS)) {
    $(id).addEventListener("input", () => {
      chat.settings[name] = $(id).value;
      check();
      preferences.settings = {...DEFAULTS, ...chat.settings};
      savePreferences();
      save(chat);
    });
  }
  $("set-tools").addEventListener("change", () => { const wrong = check(); if (wrong) announce(wrong.problem); });
  $("tools-example").addEventListener("click", () => {
    $("set-tools").value = JSON.stringify(EXAMPLE, null, 2);
    $("set-tools").dispatchEvent(new Event("input"));
    $("set-tools").focus();
  });
  $("key").value = theKey();
  $("key").addEventListener("change", () => { setKey($("key").value); keyChanged(); });
}

// The server's own settings are what an empty field means.
export function showDefaults(properties) {
  const params = properties?.default_generation_settings?.params;
  if (Number.isFinite(params?.temperature)) $("set-temperature").placeholder = String(+params.temperature.toFixed(2));
  if (params?.max_tokens > 0) $("set-max").placeholder = String(params.max_tokens);
}
