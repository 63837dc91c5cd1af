/** What a control-plane request carries from door to endpoint, and what `app.ts` hands down to rooms that must not know who does it. */
import type { Context } from "hono";
import type { Principal, WorkspaceAccess } from "../access/principal.js";
import type { Database } from "../base/database.js";

/** Deeds of rooms further up, handed in by `app.ts`. */
export interface Services {
  /** Makes the workspace's newest version be in force in its Router. Throws `publish_pending` when it cannot. */
  publish(env: Env, workspaceId: string): Promise<void>;
  /** Seals a stored answer that holds a secret; `context` is bound into the seal. */
  sealAnswer(env: Env, context: string, text: string): Promise<string>;
  openAnswer(env: Env, context: string, sealed: string): Promise<string>;
}

export interface HttpEnv {
  Bindings: Env;
  Variables: {
    requestId: string;
    db: Database;
    services: Services;
    /** Null for nobody; set by `authenticate`. */
    principal: Principal | null;
    /** The matched declaration's path pattern, for logs: no id or token of the address stands in it. */
    route: string | undefined;
    /** Set by the tenancy guard on `/workspaces/{ws}` paths. */
    access: WorkspaceAccess | undefined;
  };
}

export type HttpContext = Context<HttpEnv>;

/** The client's address as the platform saw it; no other header is believed. */
export function clientIp(request: Request): string | null {
  return request.headers.get("cf-connecting-ip");
}
