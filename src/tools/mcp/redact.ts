/** Takes secrets out of values that a server gave. */
import { redactSecrets, type Secret } from "../../base/secret.js";

/** A JSON value whose texts and names hold none of the secrets, in any form that they are known to come back in. */
export function redactJson(value: unknown, secrets: readonly Secret[]): unknown {
  const text = JSON.stringify(value);
  return redactSecrets(text, secrets) === text ? value : redactDeep(value, secrets);
}

function redactDeep(value: unknown, secrets: readonly Secret[]): unknown {
  if (typeof value === "string") {
    return redactSecrets(value, secrets);
  }
  if (Array.isArray(value)) {
    return value.map((inner: unknown) => redactDeep(inner, secrets));
  }
  if (typeof value === "object" && value !== null) {
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) => [redactSecrets(name, secrets), redactDeep(inner, secrets)]),
    );
  }
  return value;
}
