// What the page's forms share.

import { text } from "./language.js";
import { TEXTS } from "./texts.js";

/** The lines of a box that are not blank. */
export function lines(box) {
  return box.value.split("\n").map((line) => line.trim()).filter(Boolean);
}

/** An example follows the language until the reader writes something. */
export function showExample(box, key) {
  if (box.value === "" || TEXTS[key].includes(box.value)) box.value = text(key);
}

/** Do `work` while the button is disabled, and show why it failed. */
export async function submit(button, error, work) {
  error.textContent = "";
  button.disabled = true;
  button.textContent = text("running");
  try {
    await work();
  } catch (problem) {
    error.textContent = text("failed", { reason: problem.message });
  } finally {
    button.disabled = false;
    button.textContent = text(button.dataset.text);
  }
}
