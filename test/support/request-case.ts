/** What a good request at a write route is made of. */
import { sendQuietly, type Sending } from "./quiet.js";
import type { SeededWorkspace } from "./seed.js";

/** What one route's request leaves behind. */
export interface WriteCase {
  /** Makes what the request is about and answers the request, without an Idempotency-Key. */
  readonly prepare: (team: SeededWorkspace) => Promise<WriteRequest>;
  /** Rows in the audit log. */
  readonly audit: number;
  /** Letters owed. */
  readonly letters?: number;
  /** What it changes is in no snapshot (a name, a title), so that there is nothing to publish. */
  readonly unpublished?: true;
  /** Counts a try before it looks, and keeps the count when it fails: codes are guessed that way. */
  readonly countsTries?: true;
  /** Acts outside the record, which no failing statement takes back: after a 5xx a repeat acts again. */
  readonly actsOutside?: true;
  /** Its success ends the caller's right to it. */
  readonly handsOver?: true;
  /** A second DELETE without a key finds nothing: 404, where the others answer as the first did. */
  readonly leavesNothing?: true;
  /** Reads its source anew each time, which is told and moves the time of reading, though it finds the same. */
  readonly readsAnew?: true;
  /** Whether it stands in a workspace of its own, which it changes for the others. */
  readonly alone?: true;
}

/** The request, with the workspace it is about. */
export type WriteRequest = Omit<Sending, "method"> & { readonly workspaceId?: string };

let count = 0;

/** A name that nothing has yet. */
export function fresh(word: string): string {
  count += 1;
  return `${word}-${count}-${Math.trunc(performance.now())}`;
}

/** Sends as the owner and wants a success. */
export async function make(team: SeededWorkspace, method: string, path: string, body?: unknown) {
  const sending = { method, path: `/workspaces/${team.id}${path}`, token: team.token };
  const answer = await sendQuietly(body === undefined ? sending : { ...sending, body });
  if (answer.status >= 300) {
    throw new Error(`${method} ${path} answered ${answer.status} ${answer.text}`);
  }
  return answer.body;
}

/** A request of the owner at a path of the workspace. */
export function of(team: SeededWorkspace, path: string, body?: unknown): WriteRequest {
  const sent = { path: `/workspaces/${team.id}${path}`, token: team.token, workspaceId: team.id };
  return body === undefined ? sent : { ...sent, body };
}
