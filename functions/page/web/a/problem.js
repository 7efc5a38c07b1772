// What a request may end with instead of an answer.

/** @typedef {import("../api-types").components["schemas"]["InvalidField"]} InvalidField */

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
