/** A write's way through claim, commit, stored answer and publishing, so that no verb is written without them. */
import { principalName } from "../access/principal.js";
import { commit, commitChange, type Change } from "../base/database.js";
import type { AppError } from "../base/errors.js";
import { describeError, log } from "../base/log.js";
import type { HttpContext } from "./context.js";
import { problem, toAppError } from "./failure.js";
import {
  claimKey,
  findSuccess,
  guardClaim,
  readIdempotencyKey,
  releaseClaim,
  storeAnswer,
  type Claim,
  type StoredAnswer,
} from "./idempotency.js";
import { toResponse, type Reply } from "./reply.js";

/** The part of a declaration that writes depend on. */
interface WriteSpec {
  readonly method: string;
  readonly publishes?: boolean;
  readonly storedAnswer?: "plain" | "sealed" | "never";
  readonly leaseMs?: number;
}

/** Whether an endpoint's answers show a secret or a session: those that are not stored in the clear. */
export function holdsSecret(spec: Pick<WriteSpec, "storedAnswer">): boolean {
  return spec.storedAnswer === "sealed" || spec.storedAnswer === "never";
}

/** One write in progress. */
export interface Write {
  readonly claim: Claim | null;
  /** Set when an earlier request with this key has answered already. */
  readonly replay: Response | null;
  /** Whether the change and its answer are in the record. */
  isCommitted(): boolean;
  readonly commit: (change: Change<unknown>, answer: Reply) => Promise<Reply>;
}

/** Claims the request's Idempotency-Key, if it has one, or finds the answer to replay. */
export async function startWrite(spec: WriteSpec, context: HttpContext, bodyHash: string, now: number): Promise<Write> {
  const takesKey = spec.method !== "get" && spec.storedAnswer !== "never";
  const key = takesKey ? readIdempotencyKey(context.req.raw) : null;
  if (key === null) {
    return openWrite(spec, context, null, null);
  }
  const { scope, hash } = scopeOf(spec, context, key, bodyHash);
  const found = await claimKey(context.get("db"), scope, hash, now, spec.leaseMs);
  if ("claim" in found) {
    return openWrite(spec, context, found.claim, null);
  }
  return openWrite(spec, context, null, await replay(spec, context, found.stored));
}

/** The stored success of this very request, for a caller whose right to send it ended with it; null when there is none. */
export async function replaySuccess(
  spec: WriteSpec,
  context: HttpContext,
  bodyHash: string,
  now: number,
): Promise<Response | null> {
  const key = readIdempotencyKey(context.req.raw);
  if (key === null) {
    return null;
  }
  const { scope, hash } = scopeOf(spec, context, key, bodyHash);
  const stored = await findSuccess(context.get("db"), scope, hash, now);
  return stored === null ? null : await replay(spec, context, stored);
}

function scopeOf(spec: WriteSpec, context: HttpContext, key: string, bodyHash: string) {
  const url = new URL(context.req.url);
  const caller = principalName(context.get("principal"));
  // `current` and the short forms name another workspace from request to request.
  const scope = [caller, context.get("access")?.id ?? "", spec.method, url.pathname, key];
  return { scope, hash: `${bodyHash}${url.search}` };
}

/** Runs the handler, publishes, stores what the commit did not, and answers. A 5xx, 429 or `conflict` gives the claim back; other failures are kept. */
export async function finish(
  spec: WriteSpec,
  context: HttpContext,
  write: Write,
  handle: () => Promise<Reply>,
  send: (answer: Reply) => Response,
): Promise<Response> {
  try {
    const answer = await handle();
    if (write.claim !== null && !write.isCommitted()) {
      await write.commit({ statements: [], value: undefined }, answer);
    }
    await publish(spec, context, answer.publish ?? null);
    return send(answer);
  } catch (error) {
    return await keepFailure(context, write, await orPending(spec, context, toAppError(error)));
  }
}

/** A DELETE that finds nothing may be the repeat of one that is recorded and not yet in force: it must not look done before it is. */
async function orPending(spec: WriteSpec, context: HttpContext, failure: AppError): Promise<AppError> {
  if (spec.method !== "delete" || failure.code !== "not_found") {
    return failure;
  }
  try {
    await publish(spec, context, null);
    return failure;
  } catch (error) {
    return toAppError(error);
  }
}

function openWrite(spec: WriteSpec, context: HttpContext, claim: Claim | null, replayed: Response | null): Write {
  let committed = false;
  return {
    claim,
    replay: replayed,
    isCommitted: () => committed,
    async commit(change, answer) {
      const db = context.get("db");
      if (claim === null) {
        await commitChange(db, change);
      } else {
        const text = answer.status === 204 ? null : JSON.stringify(answer.body);
        const sealed = spec.storedAnswer === "sealed" && text !== null;
        const kept = sealed ? await context.get("services").sealAnswer(context.env, claim.id, text) : text;
        const workspaceId = answer.publish ?? context.get("access")?.id ?? null;
        const after = [storeAnswer(db, claim, answer, { text: kept, sealed }, workspaceId)];
        await commitChange(db, change, { before: [guardClaim(db, claim)], after });
      }
      committed = true;
      return answer;
    },
  };
}

async function publish(spec: WriteSpec, context: HttpContext, workspaceId: string | null): Promise<void> {
  const target = workspaceId ?? context.get("access")?.id;
  if (spec.publishes === true && target !== undefined) {
    await context.get("services").publish(context.env, target);
  }
}

async function replay(spec: WriteSpec, context: HttpContext, stored: StoredAnswer): Promise<Response> {
  if (stored.status < 300) {
    await publish(spec, context, stored.workspaceId);
  }
  const text =
    stored.sealed && stored.body !== null
      ? await context.get("services").openAnswer(context.env, stored.id, stored.body)
      : stored.body;
  const response = toResponse({ status: stored.status, headers: stored.headers }, text, holdsSecret(spec));
  const contentType = stored.headers["content-type"];
  if (contentType !== undefined) {
    response.headers.set("content-type", contentType);
  }
  response.headers.set("idempotency-replayed", "true");
  return response;
}

async function keepFailure(context: HttpContext, write: Write, error: AppError): Promise<Response> {
  const { claim } = write;
  if (claim === null || write.isCommitted() || error.code === "idempotency_in_progress") {
    throw error;
  }
  const db = context.get("db");
  try {
    // These three say to try again, so a retry must run anew.
    if (error.status >= 500 || error.status === 429 || error.code === "conflict") {
      await releaseClaim(db, claim);
      throw error;
    }
    const response = problem(error, context.get("requestId"));
    const headers = { "content-type": "application/problem+json" };
    await commit(db, [
      storeAnswer(
        db,
        claim,
        { status: error.status, headers },
        { text: await response.clone().text(), sealed: false },
        null,
      ),
    ]);
    return response;
  } catch (failure) {
    if (failure !== error) {
      log("warn", "answer_not_kept", { request_id: context.get("requestId"), cause: describeError(failure) });
    }
    throw error;
  }
}
