/** A good request for every write route of the control plane, each about a thing of its own, so that it can be sent once and counted. */
import { env } from "cloudflare:workers";
import { eq } from "drizzle-orm";
import { requireSettings } from "../../src/base/settings.js";
import { deriveCode } from "../../src/identity/code.js";
import { emailCodes } from "../../src/identity/model.js";
import { writeInviteToken } from "../../src/workspaces/invite-token.js";
import { newAuthenticator } from "./authenticator.js";
import { origin } from "./client.js";
import { sendQuietly } from "./quiet.js";
import { fresh, make, of, type WriteCase } from "./request-case.js";
import { connectionRequests } from "./requests-connections.js";
import { toolRequests } from "./requests-tools.js";
import { db, seedAccount, seedMember, seedWorkspace, type SeededWorkspace } from "./seed.js";

async function personal(method: "token" | "passkey"): Promise<{ token: string; id: string; body: unknown }> {
  const person = await seedAccount();
  const body = method === "token" ? { name: "Token", scopes: ["workspace:read"] } : await passkeyOf(person.token);
  const path = `/me/${method}s`;
  const answer = await sendQuietly({ method: "POST", path, token: person.token, body });
  return { token: person.token, id: answer.body.id, body };
}

async function passkeyOf(token: string): Promise<unknown> {
  const options = await sendQuietly({ method: "POST", path: "/me/passkeys/options", token });
  const key = await newAuthenticator();
  return { name: "Laptop", response: await key.create(options.body, origin) };
}

const address = () => `${fresh("guest")}@example.org`;

async function inviteTo(team: SeededWorkspace): Promise<string> {
  return (await make(team, "POST", "/members/invite", { emails: [address()] })).results[0].invite_id;
}

async function offer(team: SeededWorkspace): Promise<string> {
  const { memberId } = await seedMember(team.id, "ADMIN");
  return (await make(team, "POST", "/ownership-transfer", { member_id: memberId })).id;
}

async function codeOf(offerId: string): Promise<string> {
  const [row] = await db.select().from(emailCodes).where(eq(emailCodes.subjectId, offerId)).all();
  const code = await deriveCode(requireSettings(env).mailSecret, row?.secretId ?? "", row?.id ?? "");
  return code?.reveal() ?? "";
}

async function keyOf(team: SeededWorkspace): Promise<string> {
  return (await make(team, "POST", "/api-keys", { name: fresh("key"), scopes: ["models:invoke"] })).id;
}

async function hookOf(team: SeededWorkspace): Promise<string> {
  const body = { url: "https://hooks.example.com/", events: ["invite.declined"] };
  return (await make(team, "POST", "/webhooks", body)).id;
}

const own: Readonly<Record<string, WriteCase>> = {
  "post /workspaces": {
    prepare: async () => ({ path: "/workspaces", token: (await seedAccount()).token, body: { name: fresh("Team") } }),
    audit: 1,
  },
  "patch /me": {
    prepare: async () => ({ path: "/me", token: (await seedAccount()).token, body: { name: fresh("Name") } }),
    audit: 1,
  },
  "post /me/tokens": {
    prepare: async () => ({
      path: "/me/tokens",
      token: (await seedAccount()).token,
      body: { name: "Token", scopes: ["workspace:read"] },
    }),
    audit: 1,
  },
  "delete /me/tokens/{id}": {
    prepare: async () => {
      const { token, id } = await personal("token");
      return { path: `/me/tokens/${id}`, token };
    },
    audit: 1,
    leavesNothing: true,
  },
  "post /me/passkeys": {
    prepare: async () => {
      const { token } = await seedAccount();
      return { path: "/me/passkeys", token, body: await passkeyOf(token) };
    },
    audit: 1,
  },
  "delete /me/passkeys/{id}": {
    prepare: async () => {
      const { token, id } = await personal("passkey");
      return { path: `/me/passkeys/${id}`, token };
    },
    audit: 1,
    leavesNothing: true,
  },
};

const people: Readonly<Record<string, WriteCase>> = {
  "patch /workspaces/{ws}": {
    prepare: async (team) => of(team, "", { name: fresh("Name") }),
    audit: 1,
    unpublished: true,
  },
  "delete /workspaces/{ws}": { prepare: async (team) => of(team, "", { slug: team.slug }), audit: 1, alone: true },
  "post /workspaces/{ws}/restore": {
    prepare: async (team) => {
      await make(team, "DELETE", "", { slug: team.slug });
      return of(team, "/restore");
    },
    audit: 1,
    alone: true,
  },
  "post /workspaces/{ws}/switch": { prepare: async () => of(await seedWorkspace(), "/switch"), audit: 1 },
  "patch /workspaces/{ws}/members/{id}": {
    prepare: async (team) => of(team, `/members/${(await seedMember(team.id, "MEMBER")).memberId}`, { role: "ADMIN" }),
    audit: 1,
  },
  "delete /workspaces/{ws}/members/{id}": {
    prepare: async (team) => of(team, `/members/${(await seedMember(team.id, "MEMBER")).memberId}`),
    audit: 1,
  },
  "post /workspaces/{ws}/ownership-transfer": {
    prepare: async (team) =>
      of(team, "/ownership-transfer", { member_id: (await seedMember(team.id, "ADMIN")).memberId }),
    audit: 1,
    letters: 1,
    alone: true,
  },
  "delete /workspaces/{ws}/ownership-transfer": {
    prepare: async (team) => {
      await offer(team);
      return of(team, "/ownership-transfer");
    },
    audit: 1,
    alone: true,
  },
  "post /workspaces/{ws}/ownership-transfer/confirm": {
    prepare: async (team) => of(team, "/ownership-transfer/confirm", { code: await codeOf(await offer(team)) }),
    audit: 1,
    countsTries: true,
    handsOver: true,
    alone: true,
  },
  "post /workspaces/{ws}/members/invite": {
    prepare: async (team) => of(team, "/members/invite", { emails: [address(), address()] }),
    audit: 2,
    letters: 2,
  },
  "post /workspaces/members/invite": {
    prepare: async (team) => ({
      path: "/workspaces/members/invite",
      token: team.token,
      body: { emails: [address()] },
      headers: { "x-workspace": team.id },
      workspaceId: team.id,
    }),
    audit: 1,
    letters: 1,
  },
  "delete /workspaces/{ws}/invites/{id}": {
    prepare: async (team) => of(team, `/invites/${await inviteTo(team)}`),
    audit: 1,
  },
  "post /workspaces/{ws}/invites/{id}/resend": {
    prepare: async (team) => of(team, `/invites/${await inviteTo(team)}/resend`),
    audit: 1,
    letters: 1,
  },
  "post /invites/{token}/decline": {
    prepare: async (team) => {
      const id = await inviteTo(team);
      const token = await writeInviteToken(requireSettings(env).mailSecret, id, 1);
      return { path: `/invites/${token.reveal()}/decline`, workspaceId: team.id };
    },
    audit: 1,
  },
  "post /workspaces/{ws}/api-keys": {
    prepare: async (team) => of(team, "/api-keys", { name: fresh("key"), scopes: ["models:invoke"] }),
    audit: 1,
  },
  "patch /workspaces/{ws}/api-keys/{id}": {
    prepare: async (team) => of(team, `/api-keys/${await keyOf(team)}`, { name: fresh("key") }),
    audit: 1,
  },
  "delete /workspaces/{ws}/api-keys/{id}": {
    prepare: async (team) => of(team, `/api-keys/${await keyOf(team)}`),
    audit: 1,
  },
  "post /workspaces/{ws}/api-keys/{id}/rotate": {
    prepare: async (team) => of(team, `/api-keys/${await keyOf(team)}/rotate`, {}),
    audit: 1,
  },
  "post /workspaces/{ws}/vault/rotate": { prepare: async (team) => of(team, "/vault/rotate"), audit: 1, alone: true },
  "post /workspaces/{ws}/webhooks": {
    prepare: async (team) => of(team, "/webhooks", { url: "https://hooks.example.com/", events: ["invite.declined"] }),
    audit: 1,
    alone: true,
  },
  "patch /workspaces/{ws}/webhooks/{id}": {
    prepare: async (team) => of(team, `/webhooks/${await hookOf(team)}`, { description: fresh("hook") }),
    audit: 1,
    alone: true,
  },
  "delete /workspaces/{ws}/webhooks/{id}": {
    prepare: async (team) => of(team, `/webhooks/${await hookOf(team)}`),
    audit: 1,
    leavesNothing: true,
    alone: true,
  },
  "post /workspaces/{ws}/webhooks/{id}/rotate-secret": {
    prepare: async (team) => of(team, `/webhooks/${await hookOf(team)}/rotate-secret`, {}),
    audit: 1,
    alone: true,
  },
  "post /workspaces/{ws}/webhooks/{id}/test": {
    prepare: async (team) => of(team, `/webhooks/${await hookOf(team)}/test`),
    audit: 1,
    alone: true,
  },
  "post /workspaces/{ws}/webhooks/{id}/deliveries/{delivery}/redeliver": {
    prepare: async (team) => {
      const hook = await hookOf(team);
      const { id } = await make(team, "POST", `/webhooks/${hook}/test`);
      await env.DB.prepare("UPDATE webhook_deliveries SET state = 'failed' WHERE id = ?").bind(id).run();
      return of(team, `/webhooks/${hook}/deliveries/${id}/redeliver`);
    },
    audit: 1,
    alone: true,
  },
};

/** By operation, `post /workspaces/{ws}/pools`. */
export const writeCases: Readonly<Record<string, WriteCase>> = {
  ...own,
  ...people,
  ...connectionRequests,
  ...toolRequests,
};
