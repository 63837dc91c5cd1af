import { env } from "cloudflare:workers";
import { betterAuth } from "better-auth";
import { bearer } from "better-auth/plugins";
import { describe, it } from "vitest";
import { requireSettings } from "../../src/base/settings.js";
import { signingSecret } from "../../src/identity/sessions.js";
import { call } from "../support/client.js";
import { seedAccount } from "../support/seed.js";

describe("sessions", () => {
  it("are better-auth's own: it reads a session that set-up wrote, by the same token", async ({ expect }) => {
    const { authSecret, publicUrl } = requireSettings(env);
    const auth = betterAuth({
      baseURL: publicUrl,
      secret: signingSecret(authSecret, authSecret.primary) ?? "",
      database: env.DB,
      plugins: [bearer({ requireSignature: true })],
    });
    const { token, id, email } = await seedAccount();
    const session = await auth.api.getSession({ headers: new Headers({ authorization: `Bearer ${token}` }) });
    expect(session?.user).toMatchObject({ id, email });
    const unsigned = new Headers({ authorization: `Bearer ${token.split(".")[0]}` });
    expect(await auth.api.getSession({ headers: unsigned })).toBeNull();
  });

  it("end when their time is over", async ({ expect }) => {
    const { token, id } = await seedAccount();
    await env.DB.prepare("UPDATE session SET expiresAt = ? WHERE userId = ?")
      .bind(new Date(Date.now() - 1).toISOString(), id)
      .run();
    expect((await call("GET", "/workspaces", { token })).status).toBe(401);
  });
});
