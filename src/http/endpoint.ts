/** One declaration per endpoint: it yields the permission gate, the check of the input, safe retries, publishing, and the OpenAPI entry. */
import type { z } from "@hono/zod-openapi";
import { isOwnSession, principalName } from "../access/principal.js";
import type {
  Actor,
  OwnSession,
  Permission,
  Principal,
  SessionPrincipal,
  TokenPrincipal,
  WorkspaceAccess,
} from "../access/principal.js";
import { sha256Hex } from "../base/bytes.js";
import type { Change, Database } from "../base/database.js";
import { AppError, type ErrorCode } from "../base/errors.js";
import { newId } from "../base/ids.js";
import { admitCaller, ownSessionOnly, personsOnly } from "./admit.js";
import { clientIp, type HttpContext } from "./context.js";
import { atRevision, hasCurrent, readIfMatch } from "./etag.js";
import { bindCursor, takesCursor, unbindCursor } from "./page.js";
import { check, parseJson, readBody } from "./parse.js";
import { toResponse, type Reply } from "./reply.js";
import { finish, holdsSecret, replaySuccess, startWrite, type Write } from "./write.js";

type Method = "get" | "post" | "put" | "patch" | "delete";

/** A success: JSON of a schema, bytes of other types, or nothing. */
interface ResponseSpec {
  readonly description: string;
  readonly schema?: z.ZodType;
  readonly contentType?: string | readonly string[];
}

/** What an endpoint declares. `permission` has no default. */
export interface EndpointSpec<P, Q, B> {
  readonly method: Method;
  /** OpenAPI form, such as `/workspaces/{ws}/api-keys/{id}`. */
  readonly path: string;
  readonly operation: string;
  readonly summary: string;
  readonly description?: string;
  readonly tag: string;
  readonly permission: Permission;
  /** The 2xx goes out only when the workspace's newest version is in force. */
  readonly publishes?: boolean;
  /** How a stored answer is kept for `Idempotency-Key`: `sealed` when it holds a secret, `never` when it holds a session. */
  readonly storedAnswer?: "plain" | "sealed" | "never";
  /** Its success takes the caller's own right to it away: a repeat with the same `Idempotency-Key` hears of that success all the same. */
  readonly handsOver?: true;
  /** How long an `Idempotency-Key` is held for a request that is running; 60 s when left out. */
  readonly leaseMs?: number;
  /** The answer carries an ETag; writes honour `If-Match`, but for those that only tell the ETag of what they answer. */
  readonly etag?: true | "told";
  /** Default 256 KiB. */
  readonly maxBodyBytes?: number;
  readonly params?: z.ZodType<P>;
  readonly query?: z.ZodType<Q>;
  readonly body?: z.ZodType<B>;
  /** No body at all reads as `{}`. */
  readonly optionalBody?: boolean;
  /** 302 is for relayed answers. */
  readonly responses: Partial<Record<Reply["status"] | 302, ResponseSpec>>;
  /** Codes it can answer beside the ones that its declaration implies. */
  readonly errors: readonly ErrorCode[];
}

/** One parsed and permitted request, as a handler sees it. */
export interface Call<P, Q, B> {
  readonly env: Env;
  readonly db: Database;
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly request: Request;
  readonly principal: Principal | null;
  readonly actor: Actor;
  /** Epoch milliseconds, one for the whole request. */
  readonly now: number;
  /** The revision that `If-Match` demands, or null. Of a header that names several each is tried, so a handler runs anew after `precondition_failed`. */
  readonly ifMatch: number | null;
  /** Work that may outlive the answer. */
  waitUntil(work: Promise<unknown>): void;
  /** The caller's place in the path's workspace; only on paths that have one. */
  access(): WorkspaceAccess;
  /** The person who calls, signed in or by a personal token that the permission lets through. */
  person(): SessionPrincipal | TokenPrincipal;
  /** The caller's session. Throws `forbidden` for who comes without one. */
  session(): SessionPrincipal;
  /** The caller's session, shown itself. For endpoints whose permission is `own`, which refuses all others before a stored answer is replayed. */
  ownSession(): OwnSession;
  /** Commits a change together with its stored answer, and gives the answer back. Call it at most once. */
  readonly commit: (change: Change<unknown>, answer: Reply) => Promise<Reply>;
}

/** A declared endpoint, ready to be mounted. */
export interface Endpoint {
  readonly spec: EndpointSpec<unknown, unknown, unknown>;
  readonly run: (context: HttpContext) => Promise<Response>;
}

const defaultMaxBodyBytes = 256 * 1024;

/** Declares an endpoint together with what it does. */
export function endpoint<P = unknown, Q = unknown, B = unknown>(
  spec: EndpointSpec<P, Q, B>,
  handle: (call: Call<P, Q, B>) => Promise<Reply>,
): Endpoint {
  return {
    spec,
    async run(context) {
      const now = Date.now();
      context.set("route", spec.path);
      const early = await admitOrReplay(spec, context, now);
      if (early !== null) {
        return early;
      }
      const input = await readInput(spec, context);
      const write = await startWrite(spec, context, input.bodyHash, now);
      if (write.replay !== null) {
        return write.replay;
      }
      return finish(
        spec,
        context,
        write,
        async () => {
          const attempt = (ifMatch: number | null) => handle(makeCall(context, { ...input, ifMatch }, write, now));
          return await bindAnswer(spec, context, await atRevision(input.ifMatch, attempt));
        },
        (answer) => send(spec, context.req.raw, answer),
      );
    },
  };
}

/** What a relayed endpoint answers from. */
export interface RelayedCall {
  readonly env: Env;
  readonly request: Request;
  readonly requestId: string;
}

/** Declares an endpoint whose whole answer somebody else makes, such as a browser's way back from a provider: the gate and the contract stand, the rest is the handler's. */
export function relayEndpoint(
  spec: EndpointSpec<unknown, unknown, unknown>,
  handle: (call: RelayedCall) => Promise<Response>,
): Endpoint {
  return {
    spec,
    async run(context) {
      context.set("route", spec.path);
      admitCaller(spec.permission, context);
      return await handle({ env: context.env, request: context.req.raw, requestId: context.get("requestId") });
    },
  };
}

/** The gate. Where a success hands the caller's right over, who is refused after it gets that success again. */
async function admitOrReplay<P, Q, B>(
  spec: EndpointSpec<P, Q, B>,
  context: HttpContext,
  now: number,
): Promise<Response | null> {
  try {
    admitCaller(spec.permission, context);
    return null;
  } catch (error) {
    if (
      spec.handsOver !== true ||
      context.get("access") === undefined ||
      !context.req.raw.headers.has("idempotency-key")
    ) {
      throw error;
    }
    // Whatever else is wrong with the request of somebody refused, the refusal is what they hear of.
    const input = await readInput(spec, context).catch(() => null);
    const kept = input === null ? null : await replaySuccess(spec, context, input.bodyHash, now);
    if (kept === null) {
      throw error;
    }
    return kept;
  }
}

interface Input<P, Q, B> {
  readonly params: P;
  readonly query: Q;
  readonly body: B;
  readonly bodyHash: string;
  readonly ifMatch: readonly number[] | null;
}

async function readInput<P, Q, B>(spec: EndpointSpec<P, Q, B>, context: HttpContext): Promise<Input<P, Q, B>> {
  const request = context.req.raw;
  const asked = new URL(request.url).searchParams;
  const search = takesCursor(spec.query) ? await unbindCursor(asked, listOf(spec, context)) : asked;
  const params = checkIf(spec.params, context.req.param(), "path");
  const query = checkIf(spec.query, Object.fromEntries(search), "query");
  if (spec.method === "get") {
    return { params, query, body: checkIf<B>(undefined, null), bodyHash: "", ifMatch: null };
  }
  const ifMatch = spec.etag === true ? readIfMatch(request) : null;
  const bytes = await readBody(request, spec.maxBodyBytes ?? defaultMaxBodyBytes);
  const isLeftOut = spec.optionalBody === true && bytes.byteLength === 0;
  const parse = (): unknown => (isLeftOut ? {} : parseJson(bytes, request.headers.get("content-type")));
  const body = checkIf(spec.body, spec.body === undefined ? undefined : parse());
  return { params, query, body, bodyHash: await sha256Hex(bytes), ifMatch };
}

async function bindAnswer<P, Q, B>(spec: EndpointSpec<P, Q, B>, context: HttpContext, answer: Reply): Promise<Reply> {
  if (!takesCursor(spec.query)) {
    return answer;
  }
  const search = new URL(context.req.url).searchParams;
  return { ...answer, body: await bindCursor(answer.body, search, listOf(spec, context)) };
}

/** What names the list of a request: its route, its workspace however the path calls it, or its caller where it has none, and the rest of the path. */
function listOf(spec: { readonly path: string }, context: HttpContext): readonly unknown[] {
  const { ws: _, ...rest } = context.req.param();
  return [spec.path, context.get("access")?.id ?? principalName(context.get("principal")), rest];
}

/** Without a schema its type is `unknown`, and what the handler gets is undefined. */
function checkIf<T>(schema: z.ZodType<T> | undefined, value: unknown, part?: "query" | "path"): T {
  // oxlint-disable-next-line typescript/no-unsafe-type-assertion -- T is unknown exactly where there is no schema to infer it from
  return schema === undefined ? (undefined as T) : check(schema, value, part);
}

function makeCall<P, Q, B>(
  context: HttpContext,
  input: Omit<Input<P, Q, B>, "ifMatch"> & Pick<Call<P, Q, B>, "ifMatch">,
  write: Write,
  now: number,
): Call<P, Q, B> {
  const principal = context.get("principal");
  return {
    ...input,
    env: context.env,
    db: context.get("db"),
    request: context.req.raw,
    principal,
    actor: toActor(principal, context, now),
    now,
    waitUntil: (work) => context.executionCtx.waitUntil(work),
    access() {
      const access = context.get("access");
      if (access === undefined) {
        throw new AppError("internal", { cause: new Error("no workspace on this path") });
      }
      return access;
    },
    person() {
      if (principal === null || principal.kind === "key") {
        throw new AppError("forbidden", { detail: personsOnly });
      }
      return principal;
    },
    session() {
      if (principal?.kind !== "session") {
        throw new AppError("forbidden", { detail: personsOnly });
      }
      return principal;
    },
    ownSession() {
      if (principal?.kind !== "session" || !isOwnSession(principal)) {
        throw new AppError("forbidden", { detail: ownSessionOnly });
      }
      return principal;
    },
    commit: write.commit,
  };
}

/** Who did it, for the audit log, of a request that comes at `now`. */
export function toActor(principal: Principal | null, context: HttpContext, now: number): Actor {
  const type = principal === null ? "system" : principal.kind === "key" ? "key" : "account";
  return {
    type,
    id: principal?.kind === "token" ? principal.accountId : principalName(principal),
    name:
      principal?.kind === "token" ? `${principal.name} (token ${principal.tokenName})` : (principal?.name ?? "anyone"),
    requestId: context.get("requestId"),
    ip: clientIp(context.req.raw),
    opId: newId("operation"),
    at: now,
  };
}

function send(
  spec: Pick<EndpointSpec<unknown, unknown, unknown>, "method" | "storedAnswer">,
  request: Request,
  answer: Reply,
): Response {
  if (answer.stream !== undefined) {
    const headers = { ...answer.headers, "cache-control": "no-store" };
    return new Response(answer.stream, { status: answer.status, headers });
  }
  const etag = answer.headers["etag"];
  if (spec.method === "get" && etag !== undefined && hasCurrent(request, etag)) {
    const caching = answer.headers["cache-control"];
    return new Response(null, {
      status: 304,
      headers: { etag, ...(caching === undefined ? {} : { "cache-control": caching }) },
    });
  }
  const text = answer.status === 204 ? null : JSON.stringify(answer.body);
  return toResponse(answer, text, holdsSecret(spec));
}
