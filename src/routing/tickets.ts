/** The requests under way: one answer per request and attempt however often it is asked, and counts that return to zero. Pure. */
import type { Hold, Refusal, Ticket } from "./model.js";
import type { RequestTrace } from "./request-trace.js";

/** What a call is charged. */
export interface Charge {
  readonly tokens: number;
  readonly cost: number;
  /** Nobody told what was used: it is what the call held, or what must have been used at least. */
  readonly estimated: boolean;
}

/** A charge that was taken. */
export interface TakenCharge extends Charge {
  readonly at: number;
  /** The ticket ended unsettled, so this is what it held: a settling that comes after all corrects it. */
  readonly expired: boolean;
}

/** One request from `admit` to `settle`. */
export interface OpenRequest {
  readonly request_id: string;
  readonly key_id: string;
  readonly pool_id: string;
  readonly deadline_at: number;
  /** Every ticket it was given, by attempt; the last one is the call under way. A Router that lost its memory knows only the later ones. */
  readonly tickets: Ticket[];
  /** The answer that ended it, when `next` refused. */
  refusal: Refusal | null;
  /** It has cooled an instance; see `isBlameable`. */
  blamed: boolean;
  /** Failures of attempts up to this one have been taken. */
  reported: number;
  /** What it holds of limits and budgets; null before and after, and where this Router does not know. */
  hold: Hold | null;
  /** What it was charged; null until then. */
  charge: TakenCharge | null;
  /** What the log will tell of it. Absent where nothing was noted: in a Router that lost its memory. */
  trace?: RequestTrace;
}

/** Open requests with their counts, and lately closed ones so that repeats change nothing. `dirty` names what changed since the ledger last wrote. */
export interface Tickets {
  readonly open: Map<string, OpenRequest>;
  /** Two generations of closed requests; see `rememberClosed`. */
  closed: {
    readonly recent: Map<string, OpenRequest>;
    readonly older: Map<string, OpenRequest>;
    readonly since: number;
  };
  readonly by_key: Map<string, number>;
  readonly by_instance: Map<string, number>;
  readonly dirty: Set<string>;
  /** Requests that may have a row on disk: one that opens and closes between two flushes never has. */
  readonly stored: Set<string>;
  /** No open request ends before this. */
  next_deadline_at: number;
}

/** A generation of closed requests ends by age or number: a repeat follows its original within seconds. */
const generationMs = 60_000;
const generationSize = 5_000;

/** Nothing under way. */
export function createTickets(): Tickets {
  return {
    open: new Map(),
    closed: { recent: new Map(), older: new Map(), since: 0 },
    by_key: new Map(),
    by_instance: new Map(),
    dirty: new Set(),
    stored: new Set(),
    next_deadline_at: Infinity,
  };
}

/** Opens a request with its first known ticket; it counts for its key and its instance from here on. */
export function openRequest(tickets: Tickets, ticket: Ticket): OpenRequest {
  const request: OpenRequest = {
    request_id: ticket.request_id,
    key_id: ticket.key_id,
    pool_id: ticket.pool_id,
    deadline_at: ticket.deadline_at,
    tickets: [ticket],
    refusal: null,
    blamed: ticket.blamed ?? false,
    reported: ticket.attempt - 1,
    hold: null,
    charge: null,
  };
  enterRequest(tickets, request);
  tickets.dirty.add(request.request_id);
  return request;
}

/** Counts a request as open; the ledger uses it to bring one back from disk. */
export function enterRequest(tickets: Tickets, request: OpenRequest): void {
  tickets.open.set(request.request_id, request);
  tickets.next_deadline_at = Math.min(tickets.next_deadline_at, request.deadline_at);
  addTo(tickets.by_key, request.key_id, 1);
  const ticket = request.tickets.at(-1);
  if (ticket !== undefined) {
    addTo(tickets.by_instance, ticket.instance.id, 1);
  }
}

/** The request by its id, open or lately closed. */
export function findRequest(tickets: Tickets, requestId: string): OpenRequest | undefined {
  const { older, recent } = tickets.closed;
  return tickets.open.get(requestId) ?? recent.get(requestId) ?? older.get(requestId);
}

/** Remembers a request that is given up before it was ever seen: should its `admit` still be on the way, `refusal` answers it. */
export function barRequest(tickets: Tickets, requestId: string, refusal: Refusal, now: number): void {
  const request: OpenRequest = {
    request_id: requestId,
    key_id: "",
    pool_id: "",
    deadline_at: now,
    tickets: [],
    refusal,
    blamed: false,
    reported: 0,
    hold: null,
    charge: null,
  };
  rememberClosed(tickets, request, now);
}

/** Moves an open request on to its next attempt. */
export function advanceRequest(tickets: Tickets, request: OpenRequest, ticket: Ticket): void {
  const left = request.tickets.at(-1);
  if (left !== undefined) {
    addTo(tickets.by_instance, left.instance.id, -1);
  }
  addTo(tickets.by_instance, ticket.instance.id, 1);
  request.tickets.push(ticket);
  tickets.dirty.add(request.request_id);
}

/** Ends a request and gives its place back; does nothing when it has ended before. */
export function closeRequest(tickets: Tickets, request: OpenRequest, now: number): void {
  if (!tickets.open.delete(request.request_id)) {
    return;
  }
  addTo(tickets.by_key, request.key_id, -1);
  const ticket = request.tickets.at(-1);
  if (ticket !== undefined) {
    addTo(tickets.by_instance, ticket.instance.id, -1);
  }
  tickets.dirty.add(request.request_id);
  rememberClosed(tickets, request, now);
}

/**
 * Remembers a request as ended, so that a repeat changes nothing. Whole generations are dropped at once: taking the
 * oldest from the head of one Map walks over all that were taken before (50 µs a call at 5,000).
 */
function rememberClosed(tickets: Tickets, request: OpenRequest, now: number): void {
  const { recent, since } = tickets.closed;
  if (recent.size >= generationSize || now - since > generationMs) {
    tickets.closed = { recent: new Map([[request.request_id, request]]), older: recent, since: now };
  } else {
    recent.set(request.request_id, request);
  }
}

/** Ends every request whose deadline has come. Costs one comparison while none has. */
export function expireRequests(tickets: Tickets, now: number): readonly OpenRequest[] {
  if (now < tickets.next_deadline_at) {
    return [];
  }
  const expired: OpenRequest[] = [];
  let next = Infinity;
  for (const request of tickets.open.values()) {
    if (request.deadline_at <= now) {
      expired.push(request);
    } else {
      next = Math.min(next, request.deadline_at);
    }
  }
  for (const request of expired) {
    closeRequest(tickets, request, now);
  }
  tickets.next_deadline_at = next;
  return expired;
}

function addTo(counts: Map<string, number>, id: string, change: number): void {
  const count = (counts.get(id) ?? 0) + change;
  if (count > 0) {
    counts.set(id, count);
  } else {
    counts.delete(id);
  }
}
