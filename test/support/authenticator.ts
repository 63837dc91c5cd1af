/** A passkey authenticator in software: one ES256 key that answers both ceremonies as a browser's JSON does. */

/** What one lies about, to be refused. */
export interface Lie {
  readonly origin?: string;
  readonly rpId?: string;
  readonly type?: string;
  /** Flags byte: 1 present, 4 verified, 0x40 attested. */
  readonly flags?: number;
  readonly userHandle?: string;
  readonly counter?: number;
}

export interface Authenticator {
  readonly id: string;
  create(options: CeremonyOptions, origin: string, lie?: Lie): Promise<object>;
  get(options: CeremonyOptions, origin: string, lie?: Lie): Promise<object>;
}

/** The parts of either ceremony's options that count here. */
export interface CeremonyOptions {
  readonly challenge: string;
  readonly rp?: { readonly id: string };
  readonly rpId?: string;
  readonly user?: { readonly id: string };
}

/** A new authenticator with a new key. */
export async function newAuthenticator(): Promise<Authenticator> {
  const pair = await crypto.subtle.generateKey({ name: "ECDSA", namedCurve: "P-256" }, true, ["sign", "verify"]);
  if (!("privateKey" in pair)) {
    throw new TypeError("ECDSA gives a pair");
  }
  const point = new Uint8Array((await crypto.subtle.exportKey("raw", pair.publicKey)) as ArrayBuffer);
  const credentialId = crypto.getRandomValues(new Uint8Array(16));
  const id = encode(credentialId);
  let userHandle = "";
  let counter = 0;
  const common = { id, rawId: id, type: "public-key", clientExtensionResults: {} };
  return {
    id,
    async create(options, origin, lie = {}) {
      userHandle = options.user?.id ?? "";
      const clientData = describe(lie.type ?? "webauthn.create", options.challenge, lie.origin ?? origin);
      // COSE key, RFC 9053 §7.1.1: {1: 2, 3: -7, -1: 1, -2: x, -3: y}
      const cose = [
        0xa5,
        1,
        2,
        3,
        0x26,
        0x20,
        1,
        0x21,
        0x58,
        32,
        ...point.slice(1, 33),
        0x22,
        0x58,
        32,
        ...point.slice(33),
      ];
      const attested = [...new Uint8Array(16), 0, credentialId.length, ...credentialId, ...cose];
      const head = await authenticatorData(lie.rpId ?? options.rp?.id ?? "", lie.flags ?? 0x45, 0);
      const data = [...head, ...attested];
      const object = [
        0xa3,
        ...word("fmt"),
        ...word("none"),
        ...word("attStmt"),
        0xa0,
        ...word("authData"),
        0x58,
        data.length,
        ...data,
      ];
      return { ...common, response: { clientDataJSON: encode(clientData), attestationObject: encode(object) } };
    },
    async get(options, origin, lie = {}) {
      counter += 1;
      const clientData = describe(lie.type ?? "webauthn.get", options.challenge, lie.origin ?? origin);
      const data = await authenticatorData(lie.rpId ?? options.rpId ?? "", lie.flags ?? 5, lie.counter ?? counter);
      const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", clientData));
      const signed = new Uint8Array([...data, ...hash]);
      const raw = new Uint8Array(await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, pair.privateKey, signed));
      const response = {
        clientDataJSON: encode(clientData),
        authenticatorData: encode(data),
        signature: encode(toDer(raw)),
        userHandle: lie.userHandle ?? userHandle,
      };
      return { ...common, response };
    },
  };
}

function describe(type: string, challenge: string, origin: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new TextEncoder().encode(JSON.stringify({ type, challenge, origin, crossOrigin: false })));
}

async function authenticatorData(rpId: string, flags: number, counter: number): Promise<number[]> {
  const hash = new Uint8Array(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(rpId)));
  return [...hash, flags, counter >>> 24, (counter >>> 16) & 255, (counter >>> 8) & 255, counter & 255];
}

/** A CBOR text of less than 24 characters. */
function word(text: string): number[] {
  return [0x60 + text.length, ...new TextEncoder().encode(text)];
}

/** WebAuthn signs in DER, WebCrypto in two plain numbers. */
function toDer(raw: Uint8Array): number[] {
  const parts = [raw.slice(0, 32), raw.slice(32)].flatMap((half) => {
    const start = half.findIndex((byte) => byte !== 0);
    const digits = half.slice(start);
    const number = (digits[0] ?? 0) > 127 ? [0, ...digits] : digits;
    return [2, number.length, ...number];
  });
  return [0x30, parts.length, ...parts];
}

function encode(bytes: Iterable<number>): string {
  const binary = String.fromCharCode(...bytes);
  return btoa(binary).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
