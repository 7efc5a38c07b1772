// A real OpenID provider at ISSUER: oidc-provider, with rotating refresh tokens and a form where anybody signs in by address.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { generateKeyPairSync, randomUUID } from "node:crypto";
import type { AddressInfo } from "node:net";
// oidc-provider has no types of its own.
// @ts-expect-error
import Provider from "oidc-provider";
import { product } from "./product.ts";

/** How long an access token lives, in seconds. The page renews it 30 s earlier. */
const LIFE = 31;

/** What a test may do to an answer of the provider. */
export type Tampering = {
  /** Changes the address to which the provider sends the browser back. */
  redirect?: (url: URL) => void;
  /** Changes the answer of the token endpoint. */
  tokens?: (body: Record<string, unknown>) => void;
};

export class IdentityProvider {
  tampering: Tampering = {};
  /** Grants that the token endpoint answered, in order: `authorization_code 200`. */
  readonly grants: string[] = [];
  /** Revocations, by their status. */
  readonly revocations: number[] = [];
  private readonly server: Server;

  private constructor(server: Server) {
    this.server = server;
  }

  static async start(): Promise<IdentityProvider> {
    const provider = new Provider(product.issuer, configuration());
    provider.proxy = false;
    // It warns that its issuer is http, which only a test may have.
    const handle = provider.callback();
    const server = createServer((request, response) => void answer(request, response));
    const self = new IdentityProvider(server);

    async function answer(request: IncomingMessage, response: ServerResponse): Promise<void> {
      const url = new URL(request.url ?? "/", product.issuer);
      if (url.pathname.startsWith("/interaction/")) {
        await interact(provider, request, response, url.pathname.endsWith("/sign-in"));
        return;
      }
      if (url.pathname.startsWith("/token")) self.record(request, response);
      const { setHeader } = response;
      response.setHeader = (name: string, value: number | string | readonly string[]) => {
        if (name.toLowerCase() === "location" && String(value).startsWith(product.signIn)) {
          const target = new URL(String(value));
          self.tampering.redirect?.(target);
          value = target.href;
        }
        return setHeader.call(response, name, value);
      };
      handle(request, response);
    }

    await new Promise<void>((listening) => server.listen(Number(new URL(product.issuer).port), "127.0.0.1", listening));
    return self;
  }

  get port(): number {
    return (this.server.address() as AddressInfo).port;
  }

  /** Notes each grant, and lets the test change its answer. */
  private record(request: IncomingMessage, response: ServerResponse): void {
    let form = "";
    request.on("data", (chunk: Buffer) => { form += chunk.toString(); });
    const isRevocation = request.url?.includes("revocation") ?? false;
    const { end } = response;
    response.end = ((chunk?: unknown, ...rest: unknown[]) => {
      if (request.method === "OPTIONS") return (end as Function).call(response, chunk, ...rest);
      if (isRevocation) {
        this.revocations.push(response.statusCode);
        return (end as Function).call(response, chunk, ...rest);
      }
      this.grants.push(`${new URLSearchParams(form).get("grant_type")} ${response.statusCode}`);
      if (response.statusCode === 200 && this.tampering.tokens) {
        const body = JSON.parse(String(chunk)) as Record<string, unknown>;
        this.tampering.tokens(body);
        const changed = JSON.stringify(body);
        response.setHeader("content-length", Buffer.byteLength(changed));
        return (end as Function).call(response, changed);
      }
      return (end as Function).call(response, chunk, ...rest);
    }) as typeof response.end;
  }

  async stop(): Promise<void> {
    this.server.closeAllConnections();
    await new Promise((closed) => this.server.close(closed));
  }
}

function configuration(): object {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  const key = { ...privateKey.export({ format: "jwk" }), kid: randomUUID(), use: "sig", alg: "ES256" };
  const claims = (id: string) => ({ sub: id, email: `${id}@browser.test`, email_verified: true });
  return {
    clients: [{
      client_id: product.clientId,
      redirect_uris: [`${product.signIn}/`],
      token_endpoint_auth_method: "none",
      grant_types: ["authorization_code", "refresh_token"],
      response_types: ["code"],
      id_token_signed_response_alg: "ES256",
    }],
    jwks: { keys: [key] },
    cookies: { keys: ["cookies of a test"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"] },
    findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => claims(id) }),
    interactions: { url: (_: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}` },
    clientBasedCORS: () => true,
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    extraTokenClaims: (_: unknown, token: { accountId: string }) => claims(token.accountId),
    ttl: { AccessToken: LIFE, RefreshToken: 3600, IdToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
    features: {
      devInteractions: { enabled: false },
      revocation: { enabled: true },
      resourceIndicators: {
        enabled: true,
        useGrantedResource: () => true,
        getResourceServerInfo: () => ({
          scope: "openid email offline_access",
          audience: product.audience,
          accessTokenFormat: "jwt",
          accessTokenTTL: LIFE,
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  };
}

/** Shows the form, or takes it and grants what the page asks for. */
async function interact(provider: any, request: IncomingMessage, response: ServerResponse, isAnswer: boolean): Promise<void> {
  const { uid, params, prompt, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login" && !isAnswer) {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(`<!doctype html><html lang="en"><title>Identity provider</title><h1>Sign in</h1>
      <form method="post" action="/interaction/${uid}/sign-in"><label>Name <input name="name" autofocus></label><button>Continue</button></form>`);
    return;
  }
  if (prompt.name === "login") {
    let form = "";
    for await (const chunk of request) form += chunk;
    const accountId = new URLSearchParams(form).get("name") ?? "";
    await provider.interactionFinished(request, response, { login: { accountId } });
    return;
  }
  const grant = new provider.Grant({ accountId: session.accountId, clientId: params.client_id });
  grant.addOIDCScope("openid email offline_access");
  grant.addResourceScope(product.audience, "openid email offline_access");
  await provider.interactionFinished(request, response, { consent: { grantId: await grant.save() } });
}
