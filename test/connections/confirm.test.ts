import { env } from "cloudflare:workers";
import { describe, it } from "vitest";
import { Secret } from "../../src/base/secret.js";
import { requireSettings } from "../../src/base/settings.js";
import { confirmCredential, sweepRefused, type CredentialDoubt } from "../../src/connections/confirm.js";
import { prepareCredential } from "../../src/connections/credential-entry.js";
import { findCredential, planCredential } from "../../src/connections/credentials.js";
import { planStanding } from "../../src/connections/examine.js";
import {
  firstStanding,
  nextStanding,
  outboundRules,
  tryCredential,
  type Standing,
} from "../../src/connections/validation.js";
import type { Provider } from "../../src/providers/contract.js";
import { openaiCompatible } from "../../src/providers/openai-compatible.js";
import { commitChange } from "../../src/base/database.js";
import { AppError } from "../../src/base/errors.js";
import type { Actor } from "../../src/access/principal.js";
import { loadActiveDataKey } from "../../src/vault/data-keys.js";
import { call } from "../support/client.js";
import { db, seedWorkspace, type SeededWorkspace } from "../support/seed.js";
import { addCredential, auditOf, sandboxCredential, unique } from "./seed.js";

const settings = requireSettings(env);
const actor: Actor = { type: "system", id: "t", name: "T", requestId: "req_1", ip: null, opId: "op_1", at: 1 };

/** A credential whose upstream can be made to behave otherwise later. */
async function moodyCredential(
  workspace: SeededWorkspace,
): Promise<{ id: string; behave: (as: string) => Promise<void> }> {
  const tag = unique(`moody-${workspace.id.slice(-6)}`);
  const credentials = { api_key: "k-0123456789", base_url: `https://ok.upstream.test/${tag}/v1` };
  const made = await addCredential(workspace, "openai_compatible", credentials);
  return {
    id: made.body.id,
    behave: async (as) => {
      await fetch(`https://inspect.upstream.test/behave?tag=${tag}&as=${as}`, { method: "POST" });
    },
  };
}

function validate(workspace: SeededWorkspace, id: string) {
  return call("POST", `/workspaces/${workspace.id}/credentials/${id}/validate`, { token: workspace.token });
}

function update(id: string, column: string, value: string | number | null) {
  return env.DB.prepare(`UPDATE credentials SET ${column} = ? WHERE id = ?`).bind(value, id).run();
}

async function read(workspace: SeededWorkspace, id: string) {
  return (await call("GET", `/workspaces/${workspace.id}/credentials/${id}`, { token: workspace.token })).body;
}

describe("validating a credential by hand", () => {
  it("records what the provider says, when, and who asked", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    await behave("status-401");
    const bad = await validate(workspace, id);
    expect([bad.status, bad.body.status, bad.body.is_valid]).toEqual([200, "invalid", false]);
    expect(bad.body.reason).toMatch(/refused/);
    expect(bad.headers.get("etag")).toBe('"2"');
    await behave("ok");
    const good = await validate(workspace, id);
    expect([good.body.status, good.body.is_valid, good.body.reason]).toEqual(["active", true, null]);
    expect(Date.parse(good.body.validated_at)).toBeGreaterThanOrEqual(Date.parse(bad.body.validated_at));
    await behave("no-quota");
    expect((await validate(workspace, id)).body.status).toBe("exhausted");
    const rows = await auditOf(id);
    expect(rows.map((row) => row.action)).toEqual(["credential.created", ...Array(3).fill("credential.validated")]);
    expect(rows[1]).toMatchObject({
      before: { status: "active" },
      after: { status: "invalid" },
      actor_type: "account",
    });
  });

  it("leaves status and time alone when the answer proves nothing", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    const before = await read(workspace, id);
    for (const mood of ["status-503", "html"]) {
      await behave(mood);
      const after = (await validate(workspace, id)).body;
      expect(after).toMatchObject({ status: "active", is_valid: null, validated_at: before.validated_at });
      expect(after.reason).toMatch(/\w/);
    }
  });

  it("lets what was out try again when the answer proves nothing: a server without a model list could never prove it", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    await behave("status-401");
    expect((await validate(workspace, id)).body.status).toBe("invalid");
    await behave("no-models");
    const after = (await validate(workspace, id)).body;
    expect([after.status, after.is_valid]).toEqual(["unverified", null]);
    expect(after.reason).toMatch(/does not list its models/);
  });

  it("never puts a disabled credential back into use", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    await update(id, "status", "disabled");
    const answer = await validate(workspace, id);
    expect([answer.body.status, answer.body.is_valid]).toEqual(["disabled", true]);
  });

  it("says undecryptable of a secret that was moved, and sends it nowhere", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const [first, second] = [await sandboxCredential(workspace), await sandboxCredential(workspace)];
    await env.DB.prepare("UPDATE credentials SET sealed = (SELECT sealed FROM credentials WHERE id = ?) WHERE id = ?")
      .bind(first, second)
      .run();
    const answer = await validate(workspace, second);
    expect([answer.status, answer.body.status, answer.body.is_valid]).toEqual([200, "undecryptable", null]);
    expect((await validate(workspace, first)).body.status).toBe("active");
    const { id, behave } = await moodyCredential(workspace);
    await behave("ok");
    for (const [column, value] of [
      ["base_url", "https://slow.upstream.test/v1"],
      ["origin", "https://slow.upstream.test"],
    ] as const) {
      await update(id, column, value);
      expect((await validate(workspace, id)).body.status).toBe("undecryptable");
    }
  });
});

describe("confirming a refused credential in the background", () => {
  const published: string[] = [];
  const publish = async (_: Env, workspaceId: string) => void published.push(workspaceId);
  const confirm = (workspace: SeededWorkspace, id: string, doubt: Partial<CredentialDoubt> = {}) =>
    confirmCredential(env, workspace.id, id, { kind: "refused", issuedAt: Date.now() + 1, ...doubt }, publish);

  it("marks it invalid when its provider refuses it again, with an audit row of the system, and publishes", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    await behave("status-401");
    await confirm(workspace, id);
    expect(await read(workspace, id)).toMatchObject({ status: "invalid", is_valid: false });
    expect((await auditOf(id)).at(-1)).toMatchObject({ action: "credential.refused", actor_type: "system" });
    expect(published.filter((one) => one === workspace.id)).toHaveLength(1);
    await behave("ok");
    await confirm(workspace, id);
    expect((await read(workspace, id)).status).toBe("invalid");
  });

  it("takes it back by a later time when it is good, without an audit row", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    const longAgo = Date.now() - 3_600_000;
    await update(id, "validated_at", longAgo);
    await confirm(workspace, id);
    const after = await read(workspace, id);
    expect([after.status, Date.parse(after.validated_at) > longAgo + 3_500_000]).toEqual(["active", true]);
    expect(await auditOf(id)).toHaveLength(1);
    expect(published.filter((one) => one === workspace.id)).toHaveLength(1);
  });

  it("takes it out, and says why, when it was proved good within the last minute: its provider refuses calls all the same", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    const { validated_at } = await read(workspace, id);
    await confirm(workspace, id);
    const after = await read(workspace, id);
    expect(after).toMatchObject({ status: "invalid", is_valid: null, validated_at });
    expect(after.reason).toMatch(/refused a call .* model list/);
    expect((await auditOf(id)).at(-1)).toMatchObject({ action: "credential.refused", actor_type: "system" });
    expect(published).toContain(workspace.id);
  });

  it("takes it out, and says why, when no check can tell", async ({ expect }) => {
    const workspace = await seedWorkspace();
    for (const mood of ["refuses-calls", "status-503"]) {
      const { id, behave } = await moodyCredential(workspace);
      await update(id, "validated_at", 1);
      await update(id, "restored_at", 1);
      await behave(mood);
      await confirm(workspace, id);
      const after = await read(workspace, id);
      expect([after.status, after.is_valid]).toEqual(["invalid", null]);
      expect(after.reason).toMatch(/refused a call/);
      expect((await auditOf(id)).at(-1)).toMatchObject({
        action: "credential.refused",
        before: { status: "active" },
        after: { status: "invalid", reason: after.reason },
      });
    }
  });

  it("leaves alone what was validated after the refused call was issued", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    const before = await read(workspace, id);
    await behave("status-401");
    await confirm(workspace, id, { issuedAt: Date.parse(before.validated_at) });
    expect(await read(workspace, id)).toEqual(before);
  });

  it("says undecryptable of a secret that a call could not open, and nothing of one that opens", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    const before = await read(workspace, id);
    await confirm(workspace, id, { kind: "undecryptable" });
    expect(await read(workspace, id)).toEqual(before);
    await update(id, "secret_version", 2);
    await confirm(workspace, id, { kind: "undecryptable" });
    expect((await read(workspace, id)).status).toBe("undecryptable");
    expect((await auditOf(id)).at(-1)).toMatchObject({ after: { status: "undecryptable" }, actor_type: "system" });
    expect(published).toContain(workspace.id);
  });

  it("judges only what it examined: a change in between wins", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    const row = await findCredential(db, workspace.id, null, id);
    const standing = nextStanding(row, { outcome: "invalid", reason: "x", at: Date.now() });
    await update(id, "revision", 7);
    await expect(commitChange(db, planStanding(db, workspace.id, actor, row, standing))).rejects.toMatchObject({
      code: "conflict",
    });
    expect((await read(workspace, id)).status).toBe("active");
    expect(await auditOf(id)).toHaveLength(1);
  });

  it("knows no neighbour's credential, and fails without throwing", async ({ expect }) => {
    const [workspace, other] = [await seedWorkspace(), await seedWorkspace()];
    const { id, behave } = await moodyCredential(other);
    await behave("status-401");
    await confirm(workspace, id);
    expect((await read(other, id)).status).toBe("active");
  });
});

const publish = async (): Promise<void> => undefined;

function retryAt(id: string): Promise<number | null> {
  return env.DB.prepare("SELECT retry_at FROM credentials WHERE id = ?").bind(id).first<number>("retry_at");
}

function refuse(workspace: SeededWorkspace, id: string): Promise<void> {
  return confirmCredential(env, workspace.id, id, { kind: "refused", issuedAt: Date.now() + 1 }, publish);
}

describe("a credential that is out without proof", () => {
  it("may try again after a minute, then two, and so on: it is asked for first and stays out if that proves it bad", async ({
    expect,
  }) => {
    const workspace = await seedWorkspace();
    const { id, behave } = await moodyCredential(workspace);
    await behave("refuses-calls");
    for (const minutes of [1, 2, 4]) {
      const startedAt = Date.now();
      await refuse(workspace, id);
      const due = (await retryAt(id)) ?? 0;
      expect(Math.floor((due - startedAt) / 60_000)).toBe(minutes);
      await sweepRefused(env, publish, due - 1, 1000);
      expect((await read(workspace, id)).status).toBe("invalid");
      await sweepRefused(env, publish, due, 1000);
      expect((await read(workspace, id)).status).toBe("unverified");
      expect((await auditOf(id)).at(-1)).toMatchObject({ action: "credential.restored", actor_type: "system" });
    }
    await refuse(workspace, id);
    await behave("status-401");
    await sweepRefused(env, publish, Date.now() + 86_400_000, 1000);
    expect(await read(workspace, id)).toMatchObject({ status: "invalid", is_valid: false });
    expect(await retryAt(id)).toBeNull();
  });

  it("is active again when the sweep finds it good", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    await refuse(workspace, id);
    await sweepRefused(env, publish, Date.now() + 60_001, 1000);
    expect(await read(workspace, id)).toMatchObject({ status: "active", is_valid: true, reason: null });
  });

  it("is asked about no more once its workspace is deleted", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const { id } = await moodyCredential(workspace);
    await refuse(workspace, id);
    await env.DB.prepare("UPDATE workspaces SET deleted_at = 1 WHERE id = ?").bind(workspace.id).run();
    await sweepRefused(env, publish, Date.now() + 60_001, 1000);
    expect(await retryAt(id)).not.toBeNull();
  });
});

describe("a validation call", () => {
  it("ends at its deadline, as a matter of the network", async ({ expect }) => {
    const input = { api_key: new Secret("k-0123456789"), base_url: "https://mute.upstream.test/v1", options: {} };
    const startedAt = Date.now();
    const verdict = await tryCredential(outboundRules(settings), openaiCompatible, input, 300);
    expect([verdict.outcome, verdict.reason]).toEqual(["network", "The address did not answer in time."]);
    expect(Date.now() - startedAt).toBeLessThan(5000);
  });

  it("reads no more than 64 KiB, and repeats no secret that a provider's words hold", async ({ expect }) => {
    const secret = "k-echoed-0123456789";
    let length = 0;
    const echoing: Provider = {
      ...openaiCompatible,
      transport: async () => new Response("x".repeat(1_000_000)),
      judge: (_, body) => {
        length = body.length;
        return { outcome: "unknown", reason: `Incorrect API key provided: ${secret}.` };
      },
    };
    const input = { api_key: new Secret(secret), base_url: "https://echo.upstream.test/v1", options: {} };
    const verdict = await tryCredential(outboundRules(settings), echoing, input);
    expect(length).toBe(65_536);
    expect(verdict.reason).toBe("Incorrect API key provided: [redacted].");
  });

  it("leaves none but the origins of its credential, whatever a provider builds", async ({ expect }) => {
    const tag = unique("stray");
    const stray: Provider = {
      ...openaiCompatible,
      validationRequest: () => new Request(`https://lists-to-anyone.upstream.test/${tag}/v1/models`),
    };
    const input = { api_key: new Secret("k-0123456789"), base_url: "https://ok.upstream.test/v1", options: {} };
    expect((await tryCredential(outboundRules(settings), stray, input)).outcome).toBe("unknown");
    const { count } = await (await fetch(`https://inspect.upstream.test/last?tag=${tag}`)).json<{ count: number }>();
    expect(count).toBe(0);
  });

  it("that misses its model has proved the key; one that the network lost has proved nothing", async ({ expect }) => {
    const missing = { error: { code: "model_not_found", message: "no such model" } };
    const without: Provider = { ...openaiCompatible, transport: async () => Response.json(missing, { status: 404 }) };
    const input = { api_key: new Secret("k-0123456789"), base_url: "https://ok.upstream.test/v1", options: {} };
    const verdict = await tryCredential(outboundRules(settings), without, input);
    expect(verdict.outcome).toBe("model_missing");
    expect(firstStanding(verdict)).toMatchObject({ status: "active", isValid: true, reason: verdict.reason });
    const lost = await tryCredential(
      outboundRules(settings),
      openaiCompatible,
      { ...input, base_url: "https://mute.upstream.test/v1" },
      200,
    );
    expect(lost.outcome).toBe("network");
    expect(firstStanding(lost)).toMatchObject({ status: "unverified", isValid: null });
  });

  it("that breaks in any way is unknown, never invalid", async ({ expect }) => {
    const broken: Provider = { ...openaiCompatible, transport: () => Promise.reject(new TypeError("broken pipe")) };
    const input = { api_key: null, base_url: "https://broken.upstream.test/v1", options: {} };
    expect((await tryCredential(outboundRules(settings), broken, input)).outcome).toBe("unknown");
    const times = { validatedAt: 5, restoredAt: 5, retryAt: null, refusals: 0 };
    const before: Standing = { status: "active", isValid: true, reason: null, ...times };
    const after = nextStanding(before, { outcome: "unknown", reason: "x", at: 9 });
    expect(after).toEqual({ status: "active", isValid: null, reason: "x", ...times, restoredAt: 9 });
  });
});

function prepare(provider: string, credentials: Record<string, string>, sandbox = true) {
  return prepareCredential({ ...settings, sandbox }, provider, { credentials, validate: true }, "/providers/0");
}

describe("preparing a credential for another door", () => {
  it("puts that door's pointer before every error", async ({ expect }) => {
    const cases = [
      ["nobody", {}, "/providers/0/provider_name"],
      ["openai", { api_key: "pk" }, "/providers/0/credentials/api_key"],
      ["openai", { api_key: "sk-refused-123" }, "/providers/0/credentials/api_key"],
      ["openai_compatible", { base_url: "https://10.1.2.3/v1" }, "/providers/0/credentials/base_url"],
      ["openai_compatible", { base_url: "https://html.upstream.test/v1" }, "/providers/0/credentials/base_url"],
    ] as const;
    for (const [provider, credentials, pointer] of cases) {
      const error = await prepare(provider, credentials).catch((failure: unknown) => failure);
      expect(error).toBeInstanceOf(AppError);
      expect((error as AppError).errors.map((one) => one.pointer)).toEqual([pointer]);
    }
  });

  it("knows no sandbox where the settings have none", async ({ expect }) => {
    await expect(prepare("sandbox", { api_key: "sk-sandbox-ok" }, false)).rejects.toMatchObject({
      errors: [{ pointer: "/providers/0/provider_name" }],
    });
  });

  it("plans rows that stand or fall with the caller's batch", async ({ expect }) => {
    const workspace = await seedWorkspace();
    const prepared = await prepare("sandbox", { api_key: "sk-sandbox-ok" });
    const dataKey = await loadActiveDataKey(db, settings.keyring, workspace.id);
    const plan = await planCredential(db, workspace.id, actor, dataKey, prepared, "Batch");
    const twice = { ...plan, statements: [...plan.statements, ...plan.statements] };
    await expect(commitChange(db, twice)).rejects.toMatchObject({ code: "name_taken" });
    expect(await auditOf(plan.value.id)).toEqual([]);
    await commitChange(db, plan);
    expect(await read(workspace, plan.value.id)).toMatchObject({ name: "Batch", status: "active" });
  });
});
