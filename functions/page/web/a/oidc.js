// OpenID Connect: the authorization code flow with PKCE (RFC 7636), as a public client.

import { SignInError, Unreachable } from "./api.js";
import { meta } from "./given.js";
import { claimsOf } from "./session.js";
import { kept, tab } from "./tabs.js";

const DEADLINE = 15_000;
const PENDING = "punctual.sign-in";
/** How long the provider's addresses are kept. */
const DISCOVERED = 24 * 60 * 60 * 1000;

/**
 * @typedef {object} Provider its discovery document, as far as it is used
 * @property {string} issuer
 * @property {string} authorization_endpoint
 * @property {string} token_endpoint
 * @property {string} [revocation_endpoint]
 * @property {boolean} [authorization_response_iss_parameter_supported]
 */
/** @typedef {{ access: string, refresh: string, life: number }} Tokens `life` in milliseconds */

/** @returns {Promise<Provider>} */
async function discover() {
    const known = await kept.get("provider");
    if (known?.issuer === meta.issuer && Date.now() - known.at < DISCOVERED) return known;
    const provider = await ask(`${meta.issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
    if (provider.issuer !== meta.issuer) throw new SignInError(`the identity provider calls itself ${provider.issuer}`);
    await kept.put("provider", { ...provider, at: Date.now() });
    return provider;
}

/**
 * @param {string} url
 * @param {Record<string, string>} [form]
 * @returns {Promise<any>}
 */
async function ask(url, form) {
    let response;
    let body;
    try {
        const signal = AbortSignal.timeout(DEADLINE);
        response = await fetch(url, form ? { method: "POST", body: new URLSearchParams(form), signal, credentials: "omit" } : { signal, credentials: "omit" });
        body = await response.json().catch(() => ({}));
    } catch (error) {
        throw new Unreachable(error);
    }
    if (response.ok) return body;
    if (response.status >= 500 || response.status === 429) throw new Unreachable(response.status);
    throw new SignInError(body.error_description || body.error || `HTTP ${response.status}`, body.error);
}

/** @param {Uint8Array} bytes */
const base64url = (bytes) => btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const random = () => base64url(crypto.getRandomValues(new Uint8Array(32)));
const redirectUri = () => location.origin + location.pathname;

/** How the API is named to providers that ask: Auth0 by `audience`, others by `resource` (RFC 8707), which must be a URI. @returns {Record<string, string>} */
function target() {
    if (!meta.audience) return {};
    return URL.canParse(meta.audience) ? { audience: meta.audience, resource: meta.audience } : { audience: meta.audience };
}

/** Leaves the page for the provider's. @param {boolean} again whether to ask who it is, even if the provider knows */
export async function leave(again) {
    if (!crypto.subtle) throw new SignInError("the browser allows sign-in only over https");
    const provider = await discover();
    const pending = { state: random(), nonce: random(), verifier: random(), hash: location.hash };
    const digest = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(pending.verifier));
    const url = new URL(provider.authorization_endpoint);
    const query = {
        response_type: "code",
        client_id: meta.clientId,
        redirect_uri: redirectUri(),
        scope: meta.scope,
        state: pending.state,
        nonce: pending.nonce,
        code_challenge: base64url(new Uint8Array(digest)),
        code_challenge_method: "S256",
        ...target(),
        ...(again ? { prompt: "login" } : {}),
    };
    for (const [name, value] of Object.entries(query)) url.searchParams.set(name, value);
    tab.set(PENDING, JSON.stringify(pending));
    location.assign(url);
}

/** Takes the provider's answer and returns to where the person was. @param {URLSearchParams} answer @returns {Promise<Tokens>} */
export async function finish(answer) {
    const pending = JSON.parse(tab.get(PENDING) ?? "null");
    tab.remove(PENDING);
    if (!pending || answer.get("state") !== pending.state) throw new SignInError("the answer belongs to another sign-in");
    history.replaceState(null, "", location.pathname + pending.hash);
    const provider = await discover();
    const iss = answer.get("iss");
    if (iss ? iss !== meta.issuer : provider.authorization_response_iss_parameter_supported) {
        throw new SignInError("the answer is from another identity provider");
    }
    const error = answer.get("error");
    if (error) throw new SignInError(answer.get("error_description") || error, error);
    const tokens = await ask(provider.token_endpoint, {
        grant_type: "authorization_code",
        code: answer.get("code") ?? "",
        redirect_uri: redirectUri(),
        client_id: meta.clientId,
        code_verifier: pending.verifier,
        ...target(),
    });
    checkIdToken(tokens.id_token, pending.nonce);
    return read(tokens);
}

/** New tokens for a refresh token, which the provider may replace. @param {string} refresh @returns {Promise<Tokens>} */
export async function refreshed(refresh) {
    const { token_endpoint } = await discover();
    const tokens = await ask(token_endpoint, { grant_type: "refresh_token", refresh_token: refresh, client_id: meta.clientId, ...target() });
    return read({ refresh_token: refresh, ...tokens });
}

/** Makes a refresh token useless. @param {string} refresh */
export async function revoke(refresh) {
    const { revocation_endpoint } = await discover();
    if (revocation_endpoint) await ask(revocation_endpoint, { token: refresh, token_type_hint: "refresh_token", client_id: meta.clientId });
}

/** It came from the provider itself over TLS, so its signature need not be checked (OpenID Connect Core, 3.1.3.7). @param {string | undefined} token @param {string} nonce */
function checkIdToken(token, nonce) {
    const claims = claimsOf(token);
    if (!claims) throw new SignInError("the identity provider sent no ID token: is openid in OIDC_SCOPE?");
    const audiences = [claims.aud].flat();
    if (claims.iss !== meta.issuer || !audiences.includes(meta.clientId) || claims.nonce !== nonce) {
        throw new SignInError("the ID token is for another sign-in");
    }
    if (audiences.length > 1 && claims.azp !== meta.clientId) throw new SignInError("the ID token is for another client");
}

/** @param {any} tokens @returns {Tokens} */
function read({ access_token, id_token, refresh_token, expires_in }) {
    const claims = claimsOf(access_token);
    if (!claims || access_token === id_token) throw new SignInError("the identity provider sent no access token for this API: set OIDC_SCOPE or OIDC_AUDIENCE");
    const seconds = Number(expires_in) || claims.exp - claims.iat || 300;
    return { access: access_token, refresh: refresh_token ?? "", life: seconds * 1000 };
}
