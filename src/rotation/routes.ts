/** The doors to a workspace's vault: changing its data key, and seeing how far that is. */
import { requireSettings } from "../base/settings.js";
import { endpoint, type Endpoint } from "../http/endpoint.js";
import { reply } from "../http/reply.js";
import { advanceRotation, type Publish } from "./advance.js";
import { toRotation, Vault, VaultRotation } from "./model.js";
import { planRotation, readVault } from "./rotation.js";

const path = "/workspaces/{ws}/vault";
const permission = { kind: "workspace", scope: "vault:rotate", keys: true } as const;
const tag = "Vault";

const readOne = endpoint(
  {
    method: "get",
    path,
    operation: "readVault",
    summary: "Read the vault",
    description: "The workspace's data keys (never their bytes), and how far the last change of them is.",
    tag,
    permission,
    responses: { 200: { description: "Keys and progress.", schema: Vault } },
    errors: [],
  },
  async (call) => reply(200, await readVault(call.db, call.access().id)),
);

function rotateWith(publish: Publish): Endpoint {
  return endpoint(
    {
      method: "post",
      path: `${path}/rotate`,
      operation: "rotateVault",
      summary: "Change the data key",
      description:
        "A new key seals from the answer on. What is stored is sealed anew in the background, and the old key is destroyed when the last call " +
        "that can hold it has ended, an hour later. Nothing has to be entered again, and no call fails for it.",
      tag,
      permission,
      responses: { 202: { description: "Begun; `GET …/vault` shows how far it is.", schema: VaultRotation } },
      errors: ["rotation_running", "keyring_entry_missing"],
    },
    async (call) => {
      const access = call.access();
      const plan = await planRotation(call.db, requireSettings(call.env).keyring, access, call.actor);
      const answer = await call.commit(plan, reply(202, toRotation(plan.value, plan.value.total)));
      call.waitUntil(advanceRotation(call.env, access.id, publish, call.now));
      return answer;
    },
  );
}

/** Every endpoint of this room. `publish` brings a workspace's newest version into force. */
export function vaultEndpoints(publish: Publish): readonly Endpoint[] {
  return [readOne, rotateWith(publish)];
}
