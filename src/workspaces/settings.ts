/** Settings as a change finds and leaves them. */
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
  };
}
