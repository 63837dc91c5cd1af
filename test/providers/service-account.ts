/** A service account of the tests' own, with a real RSA key. */
import { exportPKCS8, generateKeyPair } from "jose";

export interface TestServiceAccount {
  readonly email: string;
  /** The file as Google hands it out. Its `token_uri` is somebody else's. */
  readonly json: string;
  readonly privateKey: string;
  readonly publicKey: CryptoKey;
}

/** Makes one. 2048 bits, as Google's. Its name is the first part of its address. */
export async function makeServiceAccount(name = "ok"): Promise<TestServiceAccount> {
  const { privateKey, publicKey } = await generateKeyPair("RS256", { extractable: true });
  const email = `${name}@acme-prod.iam.gserviceaccount.com`;
  const pem = await exportPKCS8(privateKey);
  const file = {
    type: "service_account",
    project_id: "acme-prod",
    private_key_id: "kid-1",
    private_key: `${pem}\n`,
    client_email: email,
    client_id: "1",
    token_uri: "https://evil.upstream.test/token",
  };
  return { email, json: JSON.stringify(file, null, 2), privateKey: pem, publicKey };
}
