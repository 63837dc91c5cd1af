/** What is said of webhooks on the wire. */
import { z } from "@hono/zod-openapi";
import {
  deliveryErrors,
  disabledReasons,
  readEvents,
  type DeliveryRow,
  type WebhookRow,
  type WebhookSecretRow,
} from "./model.js";

/** The beginnings of actions that webhooks are told. */
const families = [
  "member",
  "invite",
  "ownership",
  "api_key",
  "credential",
  "pool",
  "budget",
  "workspace",
  "model",
  "default_models",
  "tool",
  "tool_provider",
  "vault",
  "webhook",
] as const;

const eventPattern = new RegExp(`^(?:\\*|audit_log\\.checkpoint|(?:${families.join("|")})\\.(?:\\*|[a-z_]{1,60}))$`);

const events = z
  .array(
    z
      .string()
      .regex(
        eventPattern,
        `Give \`*\`, an action such as member.joined, or a family such as member.*; families are ${families.join(", ")}.`,
      ),
  )
  .min(1, "Give at least one event.")
  .max(50)
  .describe(
    "Actions of the audit log: each by name, a family as `member.*`, or `*` for all. `audit_log.checkpoint`, which `*` leaves out: the newest signed tree head, once an hour when the log grew.",
  )
  .openapi({ example: ["member.*", "credential.refused", "budget.*"] });
const url = z
  .string()
  .min(1)
  .max(2_000)
  .describe("An https address that the public internet can reach. Redirects are not followed.")
  .openapi({ example: "https://hooks.example.com/gatehouse" });
const description = z.string().max(200).describe("For people.");

export const CreateWebhook = z
  .strictObject({ url, events, description: description.optional() })
  .openapi("CreateWebhook");
export type CreateWebhook = z.infer<typeof CreateWebhook>;

export const UpdateWebhook = z
  .strictObject({
    url: url.optional(),
    events: events.optional(),
    description: description.optional(),
    enabled: z.boolean().optional().describe("True lets one that is out in again."),
  })
  .openapi("UpdateWebhook");
export type UpdateWebhook = z.infer<typeof UpdateWebhook>;

export const RotateWebhookSecret = z
  .strictObject({
    overlap_seconds: z
      .number()
      .int()
      .min(0)
      .max(7 * 24 * 3_600)
      .default(24 * 3_600)
      .describe("How long the secret before signs along."),
  })
  .openapi("RotateWebhookSecret");

export const Webhook = z
  .object({
    id: z.string(),
    url: z.string(),
    description: z.string(),
    events: z.array(z.string()),
    status: z.enum(["active", "disabled"]),
    disabled_reason: z
      .enum(disabledReasons)
      .nullable()
      .describe("`gone`: the address answered 410; `failing`: nothing arrived for five days."),
    failing_since: z.iso.datetime().nullable().describe("Null when the last attempt succeeded."),
    previous_secret_until: z.iso.datetime().nullable().describe("Until when the secret before signs along."),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi("Webhook");
export type Webhook = z.infer<typeof Webhook>;

export const CreatedWebhook = Webhook.extend({
  secret: z.string().describe("Signs every message. It is shown this once."),
}).openapi("CreatedWebhook");
export type CreatedWebhook = z.infer<typeof CreatedWebhook>;

export const WebhookDelivery = z
  .object({
    id: z.string(),
    type: z.string().describe("The event."),
    status: z.enum(["queued", "delivered", "failed"]),
    attempts: z.number().int(),
    response_status: z.number().int().nullable().describe("Of the last attempt; null when there was no answer."),
    error: z.enum(deliveryErrors).nullable().describe("Why the last attempt failed."),
    duration_ms: z.number().int().nullable(),
    attempted_at: z.iso.datetime().nullable(),
    next_attempt_at: z.iso.datetime().nullable(),
    created_at: z.iso.datetime(),
  })
  .openapi("WebhookDelivery");
export type WebhookDelivery = z.infer<typeof WebhookDelivery>;

/** The answer's view of a webhook. `secrets` are its own. */
export function toWebhook(row: WebhookRow, secrets: readonly Pick<WebhookSecretRow, "until">[], now: number): Webhook {
  const ends = secrets.map(({ until }) => until ?? 0).filter((until) => until > now);
  return {
    id: row.id,
    url: row.url,
    description: row.description,
    events: readEvents(row),
    status: row.state,
    disabled_reason: row.reason,
    failing_since: toIso(row.failingSince),
    previous_secret_until: ends.length === 0 ? null : toIso(Math.max(...ends)),
    created_at: new Date(row.createdAt).toISOString(),
    updated_at: new Date(row.updatedAt).toISOString(),
  };
}

/** The answer's view of a delivery. */
export function toDelivery(row: DeliveryRow): WebhookDelivery {
  return {
    id: row.id,
    type: row.type,
    status: row.state,
    attempts: row.attempts,
    response_status: row.status,
    error: row.error,
    duration_ms: row.tookMs,
    attempted_at: toIso(row.attemptedAt),
    next_attempt_at: row.state === "queued" ? toIso(row.dueAt) : null,
    created_at: new Date(row.createdAt).toISOString(),
  };
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
