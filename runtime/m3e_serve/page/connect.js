// How a client reaches the service at the address that the reader sees.

import { ROOT } from "./api.js";
import { at } from "./elements.js";

export function startConnect() {
  at("base-url").textContent = new URL("v1", ROOT);
  for (const link of document.querySelectorAll("[data-path]")) {
    link.href = new URL(link.dataset.path, ROOT);
    link.textContent = link.href;
  }
  showExample();
}

/** The command for a terminal, with the name of a model and with a key where the service asks for one. */
export function showExample(model, needsKey) {
  const body = JSON.stringify({ model, input: ["你好", "Hello"] });
  at("example").textContent = [
    `curl ${new URL("v1/embeddings", ROOT)}`,
    ...(needsKey ? [`  -H "Authorization: Bearer $API_KEY"`] : []),
    `  -H 'Content-Type: application/json'`,
    `  -d ${quoted(body)}`,
  ].join(" \\\n");
}

/** As a shell takes it for one word. */
const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;
