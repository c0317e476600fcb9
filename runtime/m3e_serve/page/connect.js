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

/** The command for a terminal, for a model and with a key where the service asks for one. */
export function showExample(model, needsKey) {
  const [path, fields] = model?.task === "rerank"
    ? ["v1/rerank", { query: "你好", documents: ["Hello", "Bye"] }]
    : ["v1/embeddings", { input: ["你好", "Hello"] }];
  const body = JSON.stringify({ model: model?.name, ...fields });
  at("example").textContent = [
    `curl ${new URL(path, ROOT)}`,
    ...(needsKey ? [`  -H "Authorization: Bearer $API_KEY"`] : []),
    `  -H 'Content-Type: application/json'`,
    `  -d ${quoted(body)}`,
  ].join(" \\\n");
}

/** As a shell takes it for one word. */
const quoted = (word) => `'${word.replaceAll("'", `'\\''`)}'`;
