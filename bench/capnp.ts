/** Writes a workerd configuration as Cap'n Proto text, so that it can be read, kept and served again by hand. */

/** A configuration's text from its plain objects. Null and undefined fields are left out; an empty object is an empty struct. */
export function toCapnp(config: unknown): string {
  return `using Workerd = import "/workerd/workerd.capnp";\nconst config :Workerd.Config = ${write(config, "")};\n`;
}

/** Members of unions that say nothing but their name get lost in JSON. */
const lost: Readonly<Record<string, string>> = { durableObjectStorage: "(inMemory = void)" };

function write(value: unknown, name: string): string {
  if (Array.isArray(value)) {
    return `[${value.map((item) => write(item, "")).join(", ")}]`;
  }
  if (typeof value === "string") {
    return quote(value);
  }
  if (typeof value !== "object" || value === null) {
    return String(value);
  }
  if (isBuffer(value)) {
    return `0x"${Buffer.from(value.data).toString("hex")}"`;
  }
  const fields = Object.entries(value).filter(([, field]) => field !== undefined && field !== null);
  if (fields.length === 0) {
    return lost[name] ?? "()";
  }
  return `(${fields.map(([key, field]) => `${key} = ${write(field, key)}`).join(", ")})`;
}

function isBuffer(value: object): value is { type: "Buffer"; data: number[] } {
  return "type" in value && value.type === "Buffer" && "data" in value && Array.isArray(value.data);
}

/** JSON's escapes are Cap'n Proto's too, but for those of control characters by number. */
function quote(text: string): string {
  return JSON.stringify(text).replaceAll(/\\u00([0-9a-f]{2})|\\\\/g, (escape, code: string | undefined) =>
    code === undefined ? escape : `\\x${code}`,
  );
}
