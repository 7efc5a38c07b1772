// Who is signed in. The access token stays in memory. The refresh token is in IndexedDB, a pasted token in sessionStorage.

import { useLayoutEffect, useState } from "./vendor/preact.js";
import { Problem, SignInError, Unreachable, request } from "./api.js";
import { arrived, meta, takeToken } from "./given.js";
import { PASTED, noteSession } from "./paint.js";
import { alone, kept, tab } from "./tabs.js";
import { text } from "./text.js";

const LINK_LIFE = 12 * 60 * 60 * 1000;
/** A token is renewed this long before its end. */
const EARLY = 30_000;
/** How long signing out waits for the push service. */
const PATIENCE = 5_000;

/**
 * @typedef {object} Session
 * @property {"starting" | "signed-out" | "signed-in"} state
 * @property {string} email
 * @property {boolean} operator whether the token may name an operator
 * @property {string} [reason] why the session ended, if the person did not end it
 */
/** @typedef {{ kind: "provider" | "link" | "pasted", access: string, until: number }} Held */

/** What speaks to the identity provider. A pasted token does not need it. */
const oidc = () => import("./oidc.js").catch((error) => Promise.reject(new Unreachable(error)));

/** @type {Set<() => void>} */
const listeners = new Set();
/** @type {Held | null} */
let held = null;
/** @type {Promise<void> | null} */
let renewing = null;
const tabs = "BroadcastChannel" in globalThis ? new BroadcastChannel("punctual-session") : null;

export const session = {
    /** @type {Session["state"]} */
    state: "starting",
    email: "",
    /** Tells users apart. */
    user: "",
    operator: false,
    /** @type {string | undefined} */
    reason: undefined,

    /** @param {() => void} listener @returns {() => void} ends it */
    subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
    },

    /** The access token, renewed if it is about to end. @returns {Promise<string>} */
    async token() {
        if (held?.kind === "link" && Date.now() > held.until) end(text.session.ended);
        if (held?.kind === "provider" && Date.now() > held.until - EARLY) {
            const isUsable = held.access !== "" && Date.now() < held.until;
            await renew().catch((error) => {
                if (!isUsable) throw error;
            });
        }
        return held?.access ?? "";
    },

    /** Another token than the one that was refused, or nothing. @param {string} refused */
    async renewed(refused) {
        if (held?.kind === "provider" && held.access === refused) await renew();
        return held && held.access !== refused ? held.access : "";
    },

    /** Ends the session because its token is refused. What people wrote is kept. @param {string} refused @param {Problem} problem */
    expired(refused, problem) {
        if (session.state === "signed-in" && held?.access === refused) end(held.kind === "provider" ? text.session.ended : text.session.refused(problem.message));
    },
};

/** @param {Partial<typeof session>} change */
function set(change) {
    Object.assign(session, change);
    for (const listener of listeners) listener();
}

/** The session; renders again when it changes. @returns {Session} */
export function useSession() {
    const [, render] = useState(0);
    // Not an effect: a change before that would be missed.
    useLayoutEffect(() => session.subscribe(() => render((count) => count + 1)), []);
    return session;
}

/** Begins a session from what this browser keeps. */
export async function start() {
    addEventListener("hashchange", enterByLink, { capture: true });
    if (tabs) tabs.onmessage = ({ data }) => (data === "signed-out" ? forget() : session.state === "signed-out" && resume());
    if (meta.issuer) void oidc().catch(() => {});
    let failure;
    try {
        if (arrived.token && meta.tokenLinks) await keepLink(arrived.token);
        if (arrived.answer) await enter(await (await oidc()).finish(arrived.answer));
    } catch (error) {
        failure = reasonOf(error);
    }
    if (session.state !== "signed-in") await resume().catch((error) => end(reasonOf(error)));
    if (session.state !== "signed-in") set({ state: "signed-out", reason: failure ?? session.reason });
}

/** A link with a token that is opened in a tab which shows the page already. @param {Event} event */
function enterByLink(event) {
    const token = takeToken();
    if (!token) return;
    event.stopImmediatePropagation();
    dispatchEvent(new HashChangeEvent("hashchange"));
    if (meta.tokenLinks) void keepLink(token).then(resume);
}

/** @param {string} token */
async function keepLink(token) {
    tab.remove(PASTED);
    await kept.put("link", { token, until: Date.now() + LINK_LIFE });
}

async function resume() {
    const pasted = tab.get(PASTED);
    if (pasted) return hold({ kind: "pasted", access: pasted, until: Infinity });
    const link = meta.tokenLinks ? await kept.get("link") : null;
    if (link?.until > Date.now()) return hold({ kind: "link", access: link.token, until: link.until });
    const known = meta.issuer ? await kept.get("refresh") : null;
    if (!known) return end(undefined);
    held = { kind: "provider", access: "", until: 0 };
    try {
        await renew();
    } catch (error) {
        // Offline the session goes on, and its token is renewed later.
        if (!(error instanceof Unreachable)) throw error;
        set({ state: "signed-in", email: known.email, user: known.user, operator: known.operator, reason: undefined });
    }
}

/** Tokens that replace each other are renewed by one tab at a time: two that use the same one would lose the session. */
function renew() {
    renewing ??= alone("punctual-refresh", {}, async () => {
        const known = await kept.get("refresh");
        if (!known) return end(text.session.ended);
        try {
            await enter(await (await oidc()).refreshed(known.token));
        } catch (error) {
            if (!(error instanceof SignInError && error.code)) throw error;
            await kept.remove("refresh");
            end(text.session.ended);
        }
    }).finally(() => {
        renewing = null;
    });
    return renewing;
}

/** @param {import("./oidc.js").Tokens} tokens */
async function enter({ access, refresh, life }) {
    const isNew = session.state !== "signed-in";
    hold({ kind: "provider", access, until: Date.now() + life });
    const { email, user, operator } = session;
    if (refresh) await kept.put("refresh", { token: refresh, email, user, operator });
    else await kept.remove("refresh");
    if (!isNew) return;
    tab.remove(PASTED);
    await Promise.all([kept.remove("ask"), kept.remove("link")]);
    if (refresh) tabs?.postMessage("signed-in");
}

/** @param {Held} token */
function hold(token) {
    held = token;
    // A pasted token is this tab's alone.
    if (token.kind !== "pasted") noteSession(true);
    const claims = claimsOf(token.access) ?? {};
    const words = [claims.scope, claims.scp, claims.roles].flat().join(" ").split(" ");
    set({
        state: "signed-in",
        email: typeof claims.email === "string" ? claims.email : "",
        user: `${claims.iss ?? ""} ${claims.sub ?? ""}`,
        // The word is configured at the API, which decides. Here it decides whether a link is shown.
        operator: words.some((word) => /(^|\W|_)operator$/i.test(word)),
        reason: undefined,
    });
}

/** @param {string | undefined} reason */
function end(reason) {
    if (held?.kind === "link") void kept.remove("link");
    if (held?.kind !== "pasted") noteSession(false);
    held = null;
    tab.remove(PASTED);
    set({ state: "signed-out", operator: false, reason });
}

/** Forgets everything about the person in this tab. */
function forget() {
    noteSession(false);
    held = null;
    tab.clear();
    set({ state: "signed-out", email: "", user: "", operator: false, reason: undefined });
}

/** Goes to the identity provider. */
export async function signIn() {
    try {
        const ask = Boolean(await kept.get("ask"));
        await (await oidc()).leave(ask);
    } catch (error) {
        end(reasonOf(error));
    }
}

/** Signs in with a token, if the API takes it. @param {string} given @throws {Problem | Unreachable} */
export async function signInWithToken(given) {
    const token = given.trim().replace(/^bearer\s+/i, "");
    if (!claimsOf(token)) throw new Problem(401, { detail: text.session.notAToken });
    held = { kind: "pasted", access: token, until: Infinity };
    try {
        await request("GET", "/v1/me");
    } catch (error) {
        held = null;
        throw error;
    }
    tab.set(PASTED, token);
    hold(held);
}

/** Signs out in every tab of this browser. */
export async function signOut() {
    const unsubscribed = import("./push.js").then((push) => push.unsubscribe()).catch(() => {});
    await Promise.race([unsubscribed, new Promise((done) => setTimeout(done, PATIENCE))]);
    const known = await kept.get("refresh");
    await Promise.all([kept.remove("refresh"), kept.remove("link")]);
    // The provider still knows the person, and would let the next one at this computer in.
    if (known) await kept.put("ask", true);
    tabs?.postMessage("signed-out");
    forget();
    if (known) await oidc().then(({ revoke }) => revoke(known.token)).catch(() => {});
}

/** The claims of a JWT, unverified: the server verifies them. @param {string | undefined} jwt @returns {Record<string, any> | null} */
export function claimsOf(jwt) {
    const parts = jwt?.split(".") ?? [];
    try {
        const bytes = Uint8Array.from(atob(parts[1].replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));
        const claims = JSON.parse(new TextDecoder().decode(bytes));
        return parts.length === 3 && claims && typeof claims === "object" ? claims : null;
    } catch {
        return null;
    }
}

/** @param {unknown} error */
function reasonOf(error) {
    if (error instanceof Unreachable) return text.session.noProvider;
    return text.session.failed(error instanceof Error ? error.message : String(error));
}
