// Who is signed in.

import { useEffect, useState } from "./vendor/preact.js";
import { settings } from "./oidc.js";

/**
 * @typedef {object} Session
 * @property {"starting"|"signed-out"|"signed-in"} state
 * @property {string} email
 * @property {boolean} operator whether the token may name an operator
 * @property {string} [reason] why the session ended
 */

/** @type {Set<() => void>} */
const listeners = new Set();
let token = "";

export const session = {
    /** @type {Session["state"]} */
    state: "starting",
    email: "",
    operator: false,
    /** @type {string | undefined} */
    reason: undefined,
    /** @param {() => void} listener @returns {() => void} ends it */
    subscribe(listener) {
        listeners.add(listener);
        return () => listeners.delete(listener);
    },
    /** The access token, or nothing. @returns {Promise<string>} */
    async token() {
        return token;
    },
    /** Ends the session, because the token is refused. */
    expired() {
        token = "";
        Object.assign(session, { state: "signed-out", reason: "expired" });
        for (const listener of listeners) listener();
    },
};

/** The session; renders again when it changes. @returns {Session} */
export function useSession() {
    const [, render] = useState(0);
    useEffect(() => session.subscribe(() => render((count) => count + 1)), []);
    return session;
}

/** Begins a session from what this browser keeps. */
export async function start() {
    const link = /^#token=(.+)$/.exec(location.hash);
    if (link && settings.tokenLinks) {
        history.replaceState(null, "", "#/today");
        sessionStorage.setItem("punctual.token", link[1]);
    }
    const kept = sessionStorage.getItem("punctual.token");
    if (kept) await signInWithToken(kept);
    else Object.assign(session, { state: "signed-out" });
}

/** Goes to the identity provider. */
export async function signIn() {}

/** @param {string} given */
export async function signInWithToken(given) {
    token = given.trim();
    sessionStorage.setItem("punctual.token", token);
    let claims = /** @type {any} */ ({});
    try {
        claims = JSON.parse(atob(token.split(".")[1].replace(/-/g, "+").replace(/_/g, "/")));
    } catch {
        // The server decides whether it is a token.
    }
    Object.assign(session, { state: "signed-in", email: claims.email ?? "", operator: /operator/.test(`${claims.scope} ${claims.scp} ${claims.roles}`) });
    for (const listener of listeners) listener();
}

export async function signOut() {
    token = "";
    sessionStorage.removeItem("punctual.token");
    Object.assign(session, { state: "signed-out", reason: undefined });
    for (const listener of listeners) listener();
}
