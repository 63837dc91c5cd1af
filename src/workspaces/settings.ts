/** Settings as a change finds and leaves them. */
import type { Role } from "../access/permissions.js";
import { AppError, type FieldError } from "../base/errors.js";
import type { ChangedWorkspaceLimits, WorkspaceLimits } from "../tenancy/limits-schema.js";
import type { UpdateSettings, WorkspaceSettings } from "../tenancy/model.js";

/** Settings with a change put over them: what it leaves out stays, inside the policies too. */
export function mergeSettings(before: WorkspaceSettings, change: UpdateSettings): WorkspaceSettings {
  const { invite_policy: invites, key_policy: keys } = change;
  return {
    locale: change.locale ?? before.locale,
    timezone: change.timezone ?? before.timezone,
    region: change.region ?? before.region,
    seat_limit: change.seat_limit ?? before.seat_limit,
    invite_policy: { expiry_days: invites?.expiry_days ?? before.invite_policy.expiry_days },
    key_policy: {
      // Null says "no limit", which is not the same as saying nothing.
      max_days: keys?.max_days === undefined ? before.key_policy.max_days : keys.max_days,
      member_keys: keys?.member_keys ?? before.key_policy.member_keys,
    },
    audit_retention_days:
      change.audit_retention_days === undefined ? before.audit_retention_days : change.audit_retention_days,
    audit_checkpoint_email:
      change.audit_checkpoint_email === undefined ? before.audit_checkpoint_email : change.audit_checkpoint_email,
    limits: mergeLimits(before.limits, change.limits ?? {}),
  };
}

/**
 * Keeps those whose deeds the audit log tells of from having it forget them sooner, or from sending its checkpoints elsewhere. Throws `forbidden`
 * unless it is the owner. `role` is null for an API key.
 */
export function refuseAuditChange(before: WorkspaceSettings, after: WorkspaceSettings, role: Role | null): void {
  const isChanged =
    before.audit_retention_days !== after.audit_retention_days ||
    before.audit_checkpoint_email !== after.audit_checkpoint_email;
  if (isChanged && role !== "OWNER") {
    throw new AppError("forbidden", {
      detail: "Only the owner, and no API key, changes how long the audit log is kept and where its checkpoints go.",
    });
  }
}

function mergeLimits(before: WorkspaceLimits, change: ChangedWorkspaceLimits): WorkspaceLimits {
  const { budget_usd: budget } = change;
  return {
    rpm: change.rpm === undefined ? before.rpm : change.rpm,
    tpm: change.tpm === undefined ? before.tpm : change.tpm,
    concurrent: change.concurrent === undefined ? before.concurrent : change.concurrent,
    budget_usd:
      budget === null
        ? { day: null, month: null }
        : {
            day: budget?.day === undefined ? before.budget_usd.day : budget.day,
            month: budget?.month === undefined ? before.budget_usd.month : budget.month,
          },
  };
}

/** Keeps a key or token from lifting the limits that hold it. Throws `limit_too_high`, naming each limit that would let more through. */
export function refuseLooserLimits(before: WorkspaceLimits, after: WorkspaceLimits): void {
  const pairs = [
    ...(["rpm", "tpm", "concurrent"] as const).map((name) => [name, before[name], after[name]] as const),
    ...(["day", "month"] as const).map(
      (span) => [`budget_usd/${span}`, before.budget_usd[span], after.budget_usd[span]] as const,
    ),
  ];
  const errors = pairs.flatMap(([name, old, wanted]): FieldError[] =>
    old !== null && (wanted === null || wanted > old)
      ? [
          {
            pointer: `/settings/limits/${name}`,
            detail: "Only an admin who is signed in loosens a limit, and it is less now. Give a limit within that.",
          },
        ]
      : [],
  );
  if (errors.length > 0) {
    throw new AppError("limit_too_high", { errors });
  }
}
