// Requests to the API, and what they may end with instead of an answer.

import { meta } from "./given.js";
import { session } from "./session.js";

const DEADLINE = 15_000;
const WRITES = ["POST", "PUT", "PATCH", "DELETE"];
/** They change nothing, or may be repeated anyway. */
const WITHOUT_KEY = ["POST /v1/actions", "POST /v1/recurrence/preview", "DELETE /v1/me"];

/** @typedef {import("../api-types").components["schemas"]["InvalidField"]} InvalidField */
/** @typedef {{ status: number, body: any, etag: string | null, headers: Headers }} Answer */
/**
 * @typedef {object} RequestOptions
 * @property {unknown} [body] sent as JSON
 * @property {number} [ifMatch] the task's version
 * @property {string} [key] the Idempotency-Key. Without one, a write gets a new one
 * @property {Record<string, string | number | undefined> | URLSearchParams} [query]
 * @property {AbortSignal} [signal]
 */

/** An Idempotency-Key. */
export const newKey = () =>
    [...crypto.getRandomValues(new Uint8Array(16))].map((byte) => byte.toString(16).padStart(2, "0")).join("");

/** @type {Set<(reachable: boolean) => void>} */
const observers = new Set();

/** Tells of every request whether there was an answer. @param {(reachable: boolean) => void} observer */
export const observe = (observer) => observers.add(observer);

/**
 * Calls the API as the person who is signed in, within 15 s.
 * @param {string} method
 * @param {string} path
 * @param {RequestOptions} [options]
 * @returns {Promise<Answer>}
 * @throws {Problem | Unreachable}
 */
export async function request(method, path, { body, ifMatch, key, query, signal } = {}) {
    const headers = new Headers({ accept: "application/json" });
    if (body !== undefined) headers.set("content-type", "application/json");
    if (ifMatch !== undefined) headers.set("if-match", `"${ifMatch}"`);
    if (WRITES.includes(method) && !WITHOUT_KEY.includes(`${method} ${path}`)) headers.set("idempotency-key", key ?? newKey());
    const url = new URL(meta.api + path, location.href);
    for (const [name, value] of entries(query)) url.searchParams.set(name, value);
    const deadline = AbortSignal.timeout(DEADLINE);
    const either = signal ? AbortSignal.any([signal, deadline]) : deadline;
    const isAnonymous = path === "/v1/actions";
    const { user } = session;
    try {
        const response = await send(url, { method, headers, body: body === undefined ? undefined : JSON.stringify(body) }, either, isAnonymous);
        const content = await response.text();
        if (session.user !== user) throw new Error("somebody else has signed in");
        const answer = { status: response.status, body: content ? JSON.parse(content) : undefined, etag: response.headers.get("etag"), headers: response.headers };
        for (const observer of observers) observer(true);
        return answer;
    } catch (error) {
        if (signal?.aborted) throw signal.reason;
        for (const observer of observers) observer(error instanceof Problem);
        throw error instanceof Problem ? error : new Unreachable(error);
    }
}

/**
 * Opens an answer that may be long: a stream, or an export. The deadline is for its head.
 * @param {string | URL} url a path of the API, or an absolute URL
 * @param {{ headers?: Record<string, string>, signal?: AbortSignal }} [options]
 * @returns {Promise<Response>}
 * @throws {Problem | Unreachable}
 */
export async function open(url, { headers, signal } = {}) {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), DEADLINE);
    try {
        const target = typeof url === "string" && url.startsWith("/") ? new URL(meta.api + url, location.href) : new URL(url);
        return await send(target, { headers: new Headers(headers), cache: "no-store" }, signal ? AbortSignal.any([signal, late.signal]) : late.signal);
    } catch (error) {
        if (signal?.aborted) throw signal.reason;
        throw error instanceof Problem ? error : new Unreachable(error);
    } finally {
        clearTimeout(timer);
    }
}

/**
 * Sends a request with the bearer token. If that is refused, once more with a new one.
 * @param {URL} url
 * @param {RequestInit & { headers: Headers }} init
 * @param {AbortSignal} signal
 * @param {boolean} [isAnonymous]
 */
async function send(url, init, signal, isAnonymous = false) {
    let token = isAnonymous ? "" : await session.token();
    for (let isFirst = true; ; isFirst = false) {
        if (token) init.headers.set("authorization", `Bearer ${token}`);
        const response = await fetch(url, { ...init, signal, credentials: "omit" });
        if (response.ok) return response;
        const problem = await Problem.of(response);
        if (response.status !== 401 || isAnonymous) throw problem;
        const renewed = isFirst ? await session.renewed(token) : "";
        if (!renewed) {
            session.expired(token, problem);
            throw problem;
        }
        token = renewed;
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

/** An answer that is not 2xx, in the server's words. */
export class Problem extends Error {
    /**
     * @param {number} status
     * @param {{ type?: string, title?: string, detail?: string, errors?: InvalidField[] }} body
     * @param {number | null} [retryAfter] seconds
     */
    constructor(status, body, retryAfter = null) {
        const errors = body.errors ?? [];
        const detail = errors.map(inWords).join("; ") || body.detail || "";
        super(detail || body.title || `HTTP ${status}`);
        this.name = "Problem";
        this.status = status;
        this.type = body.type ?? "about:blank";
        this.title = body.title ?? "";
        this.detail = detail;
        this.errors = errors;
        this.retryAfter = retryAfter;
    }

    /** Reads an answer. Something between here and the server may have written it, so it need not be a problem of ours. @param {Response} response */
    static async of(response) {
        const body = await response.json().catch(() => null);
        const known = body && typeof body === "object" ? body : { title: response.statusText };
        return new Problem(response.status, known, seconds(response.headers.get("retry-after")));
    }
}

/** There was no answer: no network, or none in time. The request may have taken effect. */
export class Unreachable extends Error {
    /** @param {unknown} [cause] */
    constructor(cause) {
        super("unreachable", { cause });
        this.name = "Unreachable";
    }
}

/** The provider refused, or answered something that must not be trusted. */
export class SignInError extends Error {
    /** @param {string} message @param {string} [code] of the protocol */
    constructor(message, code = "") {
        super(message);
        this.code = code;
    }
}

/** "title must have at most 500 characters": the server's words, after the name of the field. @param {InvalidField} error */
function inWords({ pointer, parameter, header, detail }) {
    const path = pointer?.split("/").filter((part) => /^[a-z]/.test(part)) ?? [];
    return `${(path.at(-1) ?? parameter ?? header ?? "").replaceAll("_", " ")} ${detail}`.trim();
}

/** Reads `Retry-After`: seconds, or a date. @param {string | null} value */
function seconds(value) {
    if (!value) return null;
    const given = /^\d+$/.test(value) ? Number(value) : (Date.parse(value) - Date.now()) / 1000;
    return Number.isFinite(given) ? Math.max(0, Math.ceil(given)) : null;
}
