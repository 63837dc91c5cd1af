/** Reads a call: its body within the endpoint's limits, the fields that decide where it goes, and what it may use. */
import type { Clock } from "../base/clock.js";
import { AppError } from "../base/errors.js";
import type { Exchange } from "./attempt.js";
import { type HeldBody, readBody } from "./body.js";
import { requestBudget } from "./budget.js";
import type { Endpoint } from "./endpoints.js";
import { estimateCall } from "./estimate.js";
import { scanForm } from "./form.js";
import { type Scan, scanBody } from "./scan.js";

/** No pool's name is longer, nor a model's; what cannot be one is not carried to the Router. */
const maxModelLength = 128;
const bodyIdleMs = 30_000;
const formDetail = "Send the body as `multipart/form-data`, as the SDKs do, without compression.";

/** Reads a request's body. Throws `unsupported_media_type`, and what `readBody` throws. */
export async function readCall(request: Request, endpoint: Endpoint, clock: Clock): Promise<HeldBody> {
  checkContentType(request.headers, endpoint);
  const { maxBytes, copies } = endpoint;
  return await readBody(request, { maxBytes, copies, budget: requestBudget, idleMs: bodyIdleMs }, clock);
}

/** Understands a call. Throws `malformed_json`, `malformed_form`, `repeated_field`, `model_required`, `model_not_found` or `background_refused`. */
export function readExchange(
  request: Request,
  endpoint: Endpoint,
  body: HeldBody,
  facts: Pick<Exchange, "requestId" | "startedAt">,
): Exchange {
  const { headers } = request;
  const scan =
    endpoint.body === "form"
      ? scanForm(body.bytes, headers.get("content-type") ?? "", endpoint.fields)
      : scanBody(body.bytes, endpoint.fields);
  const { streamBy } = endpoint;
  return {
    ...facts,
    endpoint,
    body: body.bytes,
    scan,
    model: readModel(scan),
    isStream: streamBy !== null && streamBy.values.includes(scan.fields[streamBy.field]?.value),
    estimate: estimateCall(endpoint.name, body.bytes, scan),
    headers,
    client: request.signal,
  };
}

function readModel({ fields }: Scan): string {
  const model = fields.model?.value;
  if (typeof model !== "string" || model === "") {
    throw new AppError("model_required");
  }
  if (model.length > maxModelLength) {
    throw new AppError("model_not_found");
  }
  // What runs on after its answer can be asked for only where it was begun, and nobody would settle it.
  if (fields.background?.value === true) {
    throw new AppError("background_refused");
  }
  return model;
}

function checkContentType(headers: Headers, { body }: Endpoint): void {
  const type = headers.get("content-type")?.trim() ?? null;
  const encoding = headers.get("content-encoding") ?? "identity";
  const isFit =
    body === "form"
      ? type !== null && /^multipart\/form-data\s*;/i.test(type)
      : type === null || /^application\/(?:[\w.-]+\+)?json\b/i.test(type);
  if (!isFit || encoding.toLowerCase() !== "identity") {
    throw new AppError("unsupported_media_type", body === "form" ? { detail: formDetail } : {});
  }
}
