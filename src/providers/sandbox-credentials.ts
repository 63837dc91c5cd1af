/** The sandbox's credentials: like a payment service's test cards, each one chooses how the provider behaves. */

/** An answer that comes in place of every other one. */
export interface SandboxRefusal {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly error: SandboxError;
}

/** The body of an error on OpenAI's wire, under `error`. */
export interface SandboxError {
  readonly message: string;
  readonly type: string;
  readonly param: string | null;
  readonly code: string | null;
}

/** How a credential makes the sandbox answer. */
export interface SandboxBehaviour {
  readonly refusal: SandboxRefusal | null;
  /** Before a JSON answer's headers, or before a stream's first content event. */
  readonly firstDelayMs: number;
  /** Between a stream's content events. */
  readonly eventDelayMs: number;
  /** `cut`: the connection breaks after 3 content events; `stall`: silence after 1; `error`: an error on a 200. */
  readonly ending: "finish" | "cut" | "stall" | "error";
}

const good: SandboxBehaviour = { refusal: null, firstDelayMs: 0, eventDelayMs: 0, ending: "finish" };

function refuse(
  status: number,
  message: string,
  type: string,
  code: string | null,
  retryAfterS?: number,
): SandboxBehaviour {
  const headers: Readonly<Record<string, string>> =
    retryAfterS === undefined ? {} : { "retry-after": `${retryAfterS}` };
  return { ...good, refusal: { status, headers, error: { message, type, param: null, code } } };
}

const behaviours: Readonly<Record<string, SandboxBehaviour>> = {
  ok: good,
  slow: { ...good, firstDelayMs: 1500, eventDelayMs: 50 },
  "429": refuse(429, "Rate limit reached for requests.", "requests", "rate_limit_exceeded", 5),
  "500": refuse(500, "The server had an error while processing your request.", "server_error", null),
  quota: refuse(429, "You exceeded your current quota.", "insufficient_quota", "insufficient_quota"),
  cut: { ...good, ending: "cut" },
  stall: { ...good, ending: "stall" },
  "inband-error": { ...good, ending: "error" },
};

/** `sk-sandbox-<behaviour>`, and a label after it that changes nothing (`sk-sandbox-ok-eu`). */
const credentialForm = new RegExp(`^sk-sandbox-(${Object.keys(behaviours).join("|")})(?:-.*)?$`);

/**
 * The behaviour that a key chooses. Any other key, `sk-sandbox-401` among them, is refused with 401 by a message that
 * repeats it, as some vendors do: whoever passes error bodies on has to search them.
 */
export function behaviourOf(key: string): SandboxBehaviour {
  const name = credentialForm.exec(key)?.[1];
  const known = name === undefined ? undefined : behaviours[name];
  return known ?? refuse(401, `Incorrect API key provided: ${key}.`, "invalid_request_error", "invalid_api_key");
}
