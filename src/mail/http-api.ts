/** Letters by a mail API: one POST of JSON a letter, as Resend takes it and others with it. */
import type { HttpMailSettings, Mailbox } from "../base/mail-settings.js";
import { fetchOutbound, OutboundError, readTextUpTo, type OutboundRules } from "../base/outbound.js";
import type { Letter } from "./letter.js";
import { quoteAnswer } from "./reason.js";
import type { SendOutcome, Transport } from "./transport.js";

const timeoutMs = 20_000;
const readBytes = 4_096;

/** Statuses by which an API refuses this one letter. Others are about the account, the service or the moment. */
const finalStatuses: ReadonlySet<number> = new Set([400, 413, 422]);

/** The transport for a mail API. The guard for outbound addresses holds here too. */
export function httpTransport(
  settings: HttpMailSettings,
  rules: OutboundRules,
  fetcher?: (request: Request) => Promise<Response>,
): Transport {
  return {
    async send(letter, letterId) {
      const options = { ...rules, timeoutMs };
      try {
        const request = toRequest(settings, letter, letterId);
        const response = await fetchOutbound(request, fetcher === undefined ? options : { ...options, fetcher });
        return await toOutcome(response, settings, letter.to);
      } catch (error) {
        return toSetback(error);
      }
    },
  };
}

function toRequest({ url, token, from }: HttpMailSettings, letter: Letter, letterId: string): Request {
  return new Request(url, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token.reveal()}`,
      "content-type": "application/json",
      // An API that knows the header sends a repeated letter once.
      "idempotency-key": letterId,
    },
    body: JSON.stringify({
      from: writeSender(from),
      to: [letter.to],
      subject: letter.subject,
      text: letter.text,
      html: letter.html,
      headers: { "Auto-Submitted": "auto-generated", "X-Auto-Response-Suppress": "All" },
    }),
  });
}

/** Settings hold no name with a quote. */
function writeSender({ name, address }: Mailbox): string {
  return name === "" ? address : `"${name.replaceAll("\\", "")}" <${address}>`;
}

async function toOutcome(response: Response, settings: HttpMailSettings, recipient: string): Promise<SendOutcome> {
  if (response.ok) {
    await response.body?.cancel();
    return { kind: "sent" };
  }
  const text = await readTextUpTo(response, readBytes);
  const said = quoteAnswer(`${response.status} ${messageOf(text)}`, [settings.token], recipient);
  if (finalStatuses.has(response.status)) {
    return { kind: "failed", reason: `The mail API refused the letter: ${said}` };
  }
  const reason =
    response.status === 401 || response.status === 403
      ? `The mail API refused MAIL_HTTP_TOKEN or MAIL_FROM: ${said}`
      : `The mail API did not take the letter: ${said}`;
  const afterSeconds = readRetryAfter(response.headers.get("retry-after"));
  return afterSeconds === null ? { kind: "retry", reason } : { kind: "retry", reason, afterSeconds };
}

/** The sentence inside an error object, where common APIs put it; else all of it. */
function messageOf(text: string): string {
  try {
    const body: unknown = JSON.parse(text);
    const error: unknown = memberOf(body, "error");
    const found = [memberOf(body, "message"), memberOf(error, "message"), error].find((one) => typeof one === "string");
    return typeof found === "string" ? found : text;
  } catch {
    return text;
  }
}

function memberOf(value: unknown, name: string): unknown {
  return typeof value === "object" && value !== null ? Reflect.get(value, name) : undefined;
}

/** Seconds from a `Retry-After` of either form (RFC 9110 §10.2.3). */
function readRetryAfter(value: string | null): number | null {
  const text = value?.trim() ?? "";
  const seconds = /^\d+$/.test(text) ? Number(text) : (Date.parse(text) - Date.now()) / 1000;
  return Number.isFinite(seconds) && seconds > 0 ? Math.ceil(seconds) : null;
}

/** The guard's and the network's sentences name no path, query or secret. */
function toSetback(error: unknown): SendOutcome {
  if (!(error instanceof OutboundError)) {
    return { kind: "retry", reason: "The mail API's answer broke off." };
  }
  return { kind: "retry", reason: `The mail API cannot be used (MAIL_HTTP_URL): ${error.message}` };
}
