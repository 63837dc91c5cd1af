/** A credential of several headers: one secret text, a JSON object with the value of each. */
import { Secret } from "../base/secret.js";
import type { ToolAuth } from "./contract.js";

type HeadersAuth = Extract<ToolAuth, { type: "headers" }>;

/** The value of each header that `auth` names, in its order; null for a text that does not have exactly these. */
export function readHeaderValues(auth: HeadersAuth, text: string): readonly (readonly [string, Secret])[] | null {
  const given = parseObject(text);
  if (given === null || Object.keys(given).length !== auth.names.length) {
    return null;
  }
  const values = auth.names.flatMap((name) => {
    const value = Object.hasOwn(given, name) ? given[name] : undefined;
    return typeof value === "string" && /^[\x21-\x7e]([\x20-\x7e]*[\x21-\x7e])?$/.test(value)
      ? [[name, new Secret(value)] as const]
      : [];
  });
  return values.length === auth.names.length ? values : null;
}

/** The secrets that a credential's text holds beside itself. */
export function secretsWithin(auth: ToolAuth, text: string): readonly Secret[] {
  return auth.type === "headers" ? (readHeaderValues(auth, text) ?? []).map(([, value]) => value) : [];
}

function parseObject(text: string): Readonly<Record<string, unknown>> | null {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === "object" && value !== null && !Array.isArray(value) ? { ...value } : null;
  } catch {
    return null;
  }
}
