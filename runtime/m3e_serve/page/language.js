// The page's language: the browser's, until the reader chooses another.

import { LANGUAGES, TEXTS } from "./texts.js";

const STORED = "m3e-language";
const TAGS = { en: "en", zh: "zh-CN" };
const listeners = [];
let language = chosenBefore() ?? preferred(navigator.languages);

/** The first of the browser's languages that the page has; English where it has none. */
export function preferred(tags) {
  const known = tags.map((tag) => tag.toLowerCase().split("-")[0]).filter((name) => LANGUAGES.includes(name));
  return known[0] ?? "en";
}

export function text(key, values = {}) {
  const found = TEXTS[key][LANGUAGES.indexOf(language)];
  return found.replace(/\{(\w+)\}/g, (_, name) => values[name]);
}

export function number(value, options = {}) {
  return new Intl.NumberFormat(TAGS[language], options).format(value);
}

/** Seconds as the reader's unit, with three digits. */
export function duration(seconds) {
  const [value, unit] = seconds < 1 ? [1000 * seconds, "ms"] : [seconds, "s"];
  return `${number(value, { maximumSignificantDigits: 3 })} ${unit}`;
}

/** Call `listener` now, and whenever the language changes. */
export function onLanguage(listener) {
  listeners.push(listener);
  listener();
}

export function choose(name) {
  language = name;
  try { localStorage.setItem(STORED, name); } catch { /* storage may be forbidden; the choice then lasts as the page does */ }
  listeners.forEach((listener) => listener());
}

/** Fill the page's fixed texts and labels, and show which language it is. */
export function translate() {
  document.documentElement.lang = TAGS[language];
  for (const each of document.querySelectorAll("[data-text]")) each.textContent = text(each.dataset.text);
  for (const each of document.querySelectorAll("[data-label]")) each.setAttribute("aria-label", text(each.dataset.label));
  for (const each of document.querySelectorAll("#languages button")) {
    each.setAttribute("aria-pressed", String(each.value === language));
  }
}

function chosenBefore() {
  try {
    const stored = localStorage.getItem(STORED);
    return LANGUAGES.includes(stored) ? stored : null;
  } catch {
    return null;
  }
}
