// How a client reaches the service at the address that the reader sees.

import { at } from "./elements.js";

export function startConnect(root) {
  at("base-url").textContent = new URL("v1", root);
  for (const link of document.querySelectorAll("[data-path]")) {
    link.href = new URL(link.dataset.path, root);
    link.textContent = link.href;
  }
  at("example").textContent = [
    `curl ${new URL("v1/embeddings", root)} \\`,
    `  -H 'Content-Type: application/json' \\`,
    `  -d '{"input": ["你好", "Hello"]}'`,
  ].join("\n");
}
