/** Structured log lines of named, flat fields. Objects are not taken, so nothing secret can ride along inside one. */
import { Secret } from "./secret.js";

type Level = "info" | "warn" | "error";
type Field = string | number | boolean | null | undefined;

/** One JSON line to the platform's log. `event` is a fixed word; field values are short scalars, cut at 500 characters. */
export function log(level: Level, event: string, fields: Readonly<Record<string, Field>> = {}): void {
  const line: Record<string, Field> = { level, event };
  for (const [name, value] of Object.entries(fields)) {
    line[name] = typeof value === "string" ? value.slice(0, 500) : value;
  }
  // oxlint-disable-next-line no-console -- the platform's log is the console; this is the one place that may write to it
  console[level](JSON.stringify(line));
}

/** Name and first line of an error, for a log field. Text of unknown origin must go through `redactSecrets` first. */
export function describeError(error: unknown): string {
  if (error instanceof Secret) {
    return "[redacted]";
  }
  if (error instanceof Error) {
    const cause =
      error.cause instanceof Error ? ` (${error.cause.name}: ${error.cause.message.split("\n")[0] ?? ""})` : "";
    return `${error.name}: ${error.message.split("\n")[0] ?? ""}${cause}`;
  }
  return typeof error;
}
