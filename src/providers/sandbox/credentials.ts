/** The sandbox's credentials: like a payment service's test cards, each one chooses how the provider behaves. */
import type { SandboxTrouble } from "./errors.js";

/** How a credential makes the sandbox answer. */
export interface SandboxBehaviour {
  /** An error that comes in place of every answer. */
  readonly refusal: SandboxTrouble | null;
  /** Before a JSON answer's headers, or before a stream's first content event. */
  readonly firstDelayMs: number;
  /** Between a stream's content events. */
  readonly eventDelayMs: number;
  /** `cut`: the connection breaks after 3 content events; `stall`: silence after 1; `error`: an error on a 200. */
  readonly ending: "finish" | "cut" | "stall" | "error";
}

const good: SandboxBehaviour = { refusal: null, firstDelayMs: 0, eventDelayMs: 0, ending: "finish" };

const behaviours: Readonly<Record<string, SandboxBehaviour>> = {
  ok: good,
  slow: { ...good, firstDelayMs: 1500, eventDelayMs: 50 },
  "429": { ...good, refusal: "rate_limit" },
  "500": { ...good, refusal: "server" },
  quota: { ...good, refusal: "quota" },
  cut: { ...good, ending: "cut" },
  stall: { ...good, ending: "stall" },
  "inband-error": { ...good, ending: "error" },
};

/** `sk-sandbox-<behaviour>`, and a label after it that changes nothing (`sk-sandbox-ok-eu`). */
const credentialForm = new RegExp(`^sk-sandbox-(${Object.keys(behaviours).join("|")})(?:-.*)?$`);

/** The behaviour that a key chooses. Any other key, `sk-sandbox-401` among them, is refused. */
export function behaviourOf(key: string): SandboxBehaviour {
  const name = credentialForm.exec(key)?.[1];
  const known = name === undefined ? undefined : behaviours[name];
  return known ?? { ...good, refusal: "key" };
}
