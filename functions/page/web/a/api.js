// Requests to the API.

import { session } from "./session.js";
import { settings } from "./oidc.js";

const DEADLINE = 15_000;
const WRITES = ["POST", "PUT", "PATCH", "DELETE"];

/** @typedef {import("../api-types").components["schemas"]["InvalidField"]} InvalidField */
/** @typedef {{ status: number, body: any, etag: string | null, headers: Headers }} Answer */
/**
 * @typedef {object} RequestOptions
 * @property {unknown} [body] sent as JSON
 * @property {number} [ifMatch] the task's version
 * @property {string} [key] the Idempotency-Key; a new one if a write has none
 * @property {Record<string, string | number | undefined> | URLSearchParams} [query]
 * @property {AbortSignal} [signal]
 */

/** An answer that is not 2xx: the problem, in the server's words. */
export class Problem extends Error {
    /**
     * @param {number} status
     * @param {{ type?: string, title?: string, detail?: string, errors?: InvalidField[] }} body
     * @param {number | null} retryAfter seconds
     */
    constructor(status, body, retryAfter) {
        super(body.detail || body.title || `HTTP ${status}`);
        this.name = "Problem";
        this.status = status;
        this.type = body.type ?? "about:blank";
        this.title = body.title ?? "";
        this.detail = body.detail ?? "";
        this.errors = body.errors ?? [];
        this.retryAfter = retryAfter;
    }
}

/** There was no answer: no network, or none within 15 s. The request may have taken effect. */
export class Unreachable extends Error {
    /** @param {unknown} [cause] */
    constructor(cause) {
        super("unreachable", { cause });
        this.name = "Unreachable";
    }
}

/** An Idempotency-Key. */
export const newKey = () => crypto.randomUUID();

/**
 * Calls the API as the person who is signed in.
 * @param {string} method
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<Answer>}
 * @throws {Problem | Unreachable}
 */
export async function request(method, path, options = {}) {
    const { body, ifMatch, key, query, signal } = options;
    const headers = new Headers({ accept: "application/json" });
    const token = await session.token();
    if (token) headers.set("authorization", `Bearer ${token}`);
    if (body !== undefined) headers.set("content-type", "application/json");
    if (ifMatch !== undefined) headers.set("if-match", `"${ifMatch}"`);
    if (WRITES.includes(method)) headers.set("idempotency-key", key ?? newKey());
    const url = new URL(`${settings.api}${path}`, location.href);
    for (const [name, value] of entries(query)) url.searchParams.set(name, value);
    const deadline = AbortSignal.timeout(DEADLINE);
    let response;
    try {
        response = await fetch(url, {
            method,
            headers,
            body: body === undefined ? undefined : JSON.stringify(body),
            signal: signal ? AbortSignal.any([signal, deadline]) : deadline,
        });
        const content = await response.text();
        const json = content && /json/.test(response.headers.get("content-type") ?? "") ? JSON.parse(content) : undefined;
        if (!response.ok) throw new Problem(response.status, json ?? {}, null);
        return { status: response.status, body: json, etag: response.headers.get("etag"), headers: response.headers };
    } catch (error) {
        throw error instanceof Problem ? error : new Unreachable(error);
    }
}

/**
 * @param {RequestOptions["query"]} query
 * @returns {[string, string][]}
 */
function entries(query) {
    if (query instanceof URLSearchParams) return [...query];
    return Object.entries(query ?? {}).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
}
