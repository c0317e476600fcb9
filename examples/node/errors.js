const MESSAGE_SIZE = 512;
const CODES = {
  1: "M3E_ERROR_ARGUMENT",
  2: "M3E_ERROR_FILE",
  3: "M3E_ERROR_FORMAT",
  4: "M3E_ERROR_MEMORY",
  5: "M3E_ERROR_INTERNAL",
  7: "M3E_ERROR_UNSUPPORTED",
  8: "M3E_ERROR_INTEGRITY",
};

/** An error of the library; `code` is the name that m3e.h explains. */
export class M3eError extends Error {
  constructor(code, message) {
    super(message);
    this.name = "M3eError";
    this.code = code;
  }
}

/** Room for the library's message. */
export function messageBuffer() {
  return Buffer.alloc(MESSAGE_SIZE);
}

export function check(status, message) {
  if (status !== 0) {
    throw new M3eError(CODES[status], message.toString("utf8", 0, message.indexOf(0)));
  }
}

/** C would end the text at its first zero byte. */
export function withoutZeroByte(text) {
  if (text?.includes("\0")) {
    throw new M3eError("M3E_ERROR_ARGUMENT", "a path, a name or a prompt contains a zero byte");
  }
  return text ?? null;
}
