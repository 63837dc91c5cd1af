/** What goes in and out of a credential's doors. A secret goes in and never out. */
import { z } from "@hono/zod-openapi";
import { DisplayName } from "../identity/model.js";
import { CredentialFields, credentialStatuses, findOptions, type CredentialRow } from "./model.js";

const longestGraceSeconds = 30 * 24 * 3_600;

/** The last moment that a time of four-digit years can write, in UTC. */
const lastTime = Date.UTC(9999, 11, 31, 23, 59, 59, 999);

const ExpiresAt = z.iso
  .datetime({ offset: true })
  .refine((text) => Date.parse(text) <= lastTime, "Give a time before the year 10000, in UTC.")
  .nullable()
  .describe("When the secret runs out, as its provider said; admins are reminded before. Null for never.");

const Validate = z.boolean().default(true).describe("Try the secret with one free call before it is stored.");

export const CreateCredential = z
  .strictObject({
    name: DisplayName.describe("Unique among the workspace's credentials of this provider."),
    credentials: CredentialFields.describe("The provider's form, such as {api_key, base_url}."),
    validate: Validate,
    expires_at: ExpiresAt.optional(),
  })
  .openapi("CreateCredential");
export type CreateCredential = z.infer<typeof CreateCredential>;

export const UpdateCredential = z
  .strictObject({
    name: DisplayName.optional(),
    enabled: z.boolean().optional().describe("False takes it out of use; calls go to the pools' other instances."),
    expires_at: ExpiresAt.optional(),
    credentials: CredentialFields.optional().describe(
      "Fields of the provider's form that change; what is left out stays, an empty text takes a field away. A change of the address needs the secret again.",
    ),
    validate: Validate,
  })
  .openapi("UpdateCredential");
export type UpdateCredential = z.infer<typeof UpdateCredential>;

export const RotateCredential = z
  .strictObject({
    credentials: CredentialFields.describe("The form's secret field alone, such as {api_key}."),
    grace_seconds: z
      .number()
      .int()
      .min(0)
      .max(longestGraceSeconds)
      .default(86_400)
      .describe("How long the secret before is kept for a rollback, 0 to 30 days. No call uses it meanwhile."),
    validate: Validate,
    expires_at: ExpiresAt.optional(),
  })
  .openapi("RotateCredential");
export type RotateCredential = z.infer<typeof RotateCredential>;

export const RollbackCredential = z
  .strictObject({
    validate: z.boolean().default(true).describe("Try the secret before with one free call first."),
  })
  .openapi("RollbackCredential");
export type RollbackCredential = z.infer<typeof RollbackCredential>;

const Masked = z.record(z.string(), z.string()).describe("Secret fields by name, masked; empty when none was entered.");

export const Credential = z
  .object({
    id: z.string(),
    provider_name: z.string(),
    provider_type: z.enum(["model", "tool"]),
    key_type: z.literal("api_key"),
    name: z.string(),
    base_url: z.string(),
    options: z.record(z.string(), z.string()).describe("The form's other plain fields."),
    masked: Masked,
    previous: z
      .object({ masked: Masked, expires_at: z.iso.datetime() })
      .nullable()
      .describe("The secret before the last rotation, until it is erased; a rollback brings it back."),
    enabled: z.boolean(),
    status: z.enum(credentialStatuses),
    is_valid: z.boolean().nullable().describe("What the last validation said; null when it told nothing."),
    reason: z.string().nullable(),
    validated_at: z.iso.datetime().nullable(),
    expires_at: z.iso.datetime().nullable(),
    last_used_at: z.iso.datetime().nullable().describe("When a call was last sent with it, to the minute."),
    created_at: z.iso.datetime(),
    updated_at: z.iso.datetime(),
  })
  .openapi("Credential");
export type Credential = z.infer<typeof Credential>;

export const CreatedCredential = Credential.extend({
  duplicate_of: z.string().optional().describe("Another credential of this workspace with the same secret."),
  warnings: z
    .array(z.string())
    .optional()
    .describe("What looks odd about what was entered, and may be right all the same."),
}).openapi("CreatedCredential");
export type CreatedCredential = z.infer<typeof CreatedCredential>;

export const UpdatedCredential = CreatedCredential.extend({
  pools: z.array(z.object({ id: z.string(), name: z.string() })).describe("The pools that use it."),
}).openapi("UpdatedCredential");
export type UpdatedCredential = z.infer<typeof UpdatedCredential>;

/** The answer's view of a credential row; one whose fields cannot be read is `undecryptable`. `now` is epoch milliseconds. */
export function toCredential(row: CredentialRow, now: number): Credential {
  const options = findOptions(row);
  return {
    id: row.id,
    provider_name: row.providerName,
    provider_type: row.providerType,
    key_type: "api_key",
    name: row.name,
    base_url: row.baseUrl,
    options: options ?? {},
    masked: toMasked(row.masked),
    previous: toPrevious(row, now),
    enabled: row.status !== "disabled",
    status: options === null ? "undecryptable" : row.status,
    is_valid: options === null ? null : row.isValid,
    reason: options === null ? "Its stored fields cannot be read. Enter them again." : row.reason,
    validated_at: toIso(row.validatedAt),
    expires_at: toIso(row.expiresAt),
    last_used_at: toIso(row.lastUsedAt),
    created_at: new Date(row.createdAt).toISOString(),
    updated_at: new Date(row.updatedAt).toISOString(),
  };
}

function toPrevious(row: CredentialRow, now: number): Credential["previous"] {
  const { previousMasked: masked, previousSealed: sealed, previousUntil: until } = row;
  return masked === null || sealed === null || until === null || until <= now
    ? null
    : { masked: toMasked(masked), expires_at: new Date(until).toISOString() };
}

function toMasked(masked: string): Readonly<Record<string, string>> {
  return masked === "" ? {} : { api_key: masked };
}

function toIso(time: number | null): string | null {
  return time === null ? null : new Date(time).toISOString();
}
