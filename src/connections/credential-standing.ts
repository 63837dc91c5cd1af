/** Where a credential stands after a person changed it, or after its account ran out of money. What validations prove stands in `validation.ts`. */
import { lookAgainMs, nextStanding, retriedStanding, type DatedVerdict, type Standing } from "./validation.js";

/** With a secret that was just entered or brought back. What calls met before says nothing of it; a disabled credential stays disabled. */
export function secretStanding(before: Standing, proved: Standing, at: number): Standing {
  return { ...proved, status: before.status === "disabled" ? "disabled" : proved.status, restoredAt: at };
}

/** Taken out of use by hand: nothing lets it try again by itself. */
export function disabledStanding(before: Standing): Standing {
  return { ...before, status: "disabled", retryAt: null };
}

/** Let back into use by hand: as it was last proved, and free to try when nothing is proved. */
export function enabledStanding(before: Standing, at: number): Standing {
  const { isValid } = before;
  const status = isValid === false ? "invalid" : isValid === true ? "active" : "unverified";
  const restoredAt = isValid === false ? before.restoredAt : at;
  return { ...before, status, restoredAt, retryAt: null, refusals: 0 };
}

/**
 * After a call was refused for want of money and the provider was asked about the key. It stays in use, since the Router cools it by
 * itself; the provider's list of models is shown to who has no money too, so only a proof that the key is bad says more.
 */
export function exhaustedStanding(before: Standing, verdict: DatedVerdict): Standing {
  const after = nextStanding(before, verdict);
  if (after.isValid === false) {
    return after;
  }
  return {
    ...after,
    status: "exhausted",
    reason: "The provider refused a call because the account has no credit or quota left.",
    restoredAt: before.restoredAt,
    retryAt: verdict.at + lookAgainMs,
    refusals: before.refusals + 1,
  };
}

/** When `retryAt` has come and the provider was asked once more, whatever it was that put the credential there. */
export function lookedAgainStanding(before: Standing, verdict: DatedVerdict): Standing {
  const after = retriedStanding(before, verdict);
  if (before.status !== "exhausted" || after.status !== "exhausted") {
    return after;
  }
  // Asked without an answer that proves anything, it may have money again: the next call will show.
  return after.isValid === true ? after : { ...after, status: "unverified", retryAt: null };
}
