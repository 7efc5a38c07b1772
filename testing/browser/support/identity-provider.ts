// A real OpenID provider at ISSUER: oidc-provider, with rotating refresh tokens and a form where anybody signs in by address.
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import { createECDH, createHash } from "node:crypto";
// oidc-provider has no types of its own.
// @ts-expect-error
import Provider from "oidc-provider";
import { product } from "./product.ts";

/** What a test may do to an answer of the provider. */
export type Tampering = {
  /** Changes the address to which the provider sends the browser back. */
  redirect?: (url: URL) => void;
  /** Changes the answer of the token endpoint. */
  tokens?: (body: Record<string, unknown>) => void;
};

export class IdentityProvider {
  tampering: Tampering = {};
  /** Seconds for which an access token is valid. */
  life = 3600;
  /** Answers of the token endpoint, in order: `authorization_code 200`. */
  grants: string[] = [];
  /** Statuses of revocations. */
  revocations: number[] = [];
  private server: Server | undefined;

  /** Starts it at ISSUER. */
  async start(): Promise<void> {
    const provider = new Provider(product.issuer, configuration(() => this.life));
    provider.use(async (context: any, next: () => Promise<void>) => {
      await next();
      this.notice(context);
    });
    const handle = provider.callback();
    const answer = (request: IncomingMessage, response: ServerResponse) => {
      const path = request.url?.split("?")[0] ?? "";
      if (path.startsWith("/interaction/")) void interact(provider, request, response, path.endsWith("/sign-in"));
      else handle(request, response);
    };
    const server = createServer(answer);
    this.server = server;
    await new Promise<void>((listening) => server.listen(Number(new URL(product.issuer).port), "127.0.0.1", listening));
  }

  /** Notes what was answered, and lets the test change it. */
  private notice(context: any): void {
    const route = context.oidc?.route;
    if (route === "token") {
      this.grants.push(`${context.oidc.params?.grant_type} ${context.status}`);
      if (context.status === 200) this.tampering.tokens?.(context.body);
    }
    if (route === "revocation") this.revocations.push(context.status);
    const location = String(context.response.get("location") ?? "");
    if (location.startsWith(product.signIn)) {
      const target = new URL(location);
      this.tampering.redirect?.(target);
      context.set("location", target.href);
    }
  }

  /** Forgets what a test asked for and what was noted. */
  reset(): void {
    this.tampering = {};
    this.life = 3600;
    this.grants = [];
    this.revocations = [];
  }

  async stop(): Promise<void> {
    this.server?.closeAllConnections();
    await new Promise((closed) => this.server?.close(closed));
  }
}

function configuration(life: () => number): object {
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
    jwks: { keys: [signingKey()] },
    cookies: { keys: ["cookies of a test"] },
    claims: { openid: ["sub"], email: ["email", "email_verified"] },
    findAccount: (_: unknown, id: string) => ({ accountId: id, claims: () => claims(id) }),
    interactions: { url: (_: unknown, interaction: { uid: string }) => `/interaction/${interaction.uid}` },
    clientBasedCORS: () => true,
    issueRefreshToken: () => true,
    rotateRefreshToken: true,
    extraTokenClaims: (_: unknown, token: { accountId: string }) => claims(token.accountId),
    ttl: { RefreshToken: 3600, IdToken: 3600, Grant: 3600, Session: 3600, Interaction: 600 },
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
          accessTokenTTL: life(),
          jwt: { sign: { alg: "ES256" } },
        }),
      },
    },
  };
}

/** The same key at each start of a run: `tasks` asks for unknown keys once a minute, and a failed test starts the provider again. */
function signingKey(): object {
  const curve = createECDH("prime256v1");
  curve.setPrivateKey(createHash("sha256").update(product.secret).digest());
  const point = curve.getPublicKey();
  const [x, y, d] = [point.subarray(1, 33), point.subarray(33), curve.getPrivateKey()].map((bytes) => bytes.toString("base64url"));
  return { kty: "EC", crv: "P-256", x, y, d, kid: "tests", use: "sig", alg: "ES256" };
}

/** Shows the form, or takes it and grants what the page asks for. */
async function interact(provider: any, request: IncomingMessage, response: ServerResponse, isAnswer: boolean): Promise<void> {
  const { uid, params, prompt, session } = await provider.interactionDetails(request, response);
  if (prompt.name === "login" && !isAnswer) {
    response.setHeader("content-type", "text/html; charset=utf-8");
    response.end(`<!doctype html><html lang="en"><title>Identity provider</title><link rel="icon" href="data:,"><h1>Sign in</h1>
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
