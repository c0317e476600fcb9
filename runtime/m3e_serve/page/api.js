// The service's routes, whatever path a proxy shows them under.

/** Where the service is: this file is in the folder `page` below it. */
export const ROOT = new URL("../", import.meta.url);

const SECONDS = 10;
let key = "";

export function setKey(value) {
  key = value.trim();
}

/** Fetch a route; the API key goes along where the reader gave one. */
export function ask(path, options = {}) {
  const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
  return fetch(new URL(path, ROOT), { ...options, headers });
}

/** Fetch an open route; the key stays here. */
export function look(path) {
  return fetch(new URL(path, ROOT), { signal: AbortSignal.timeout(1000 * SECONDS) });
}

/** What a refusal says. Each interface has its own shape, and a proxy may answer with something else than JSON. */
export async function reason(response) {
  const status = `${response.status} ${response.statusText}`.trim();
  try {
    const { error, message } = await response.json();
    return message ?? error.message ?? error;
  } catch {
    return status;
  }
}
