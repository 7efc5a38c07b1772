// What the page is given: by the deployment, which the server writes into the document, and by the address. What the address brought is taken out of
// it before anything else runs: neither the history nor a bookmark keeps it.

const TOKEN = /^#\/?token=(.+)$/;

/** Takes a token out of the fragment. Returns nothing if there is none. */
export function takeToken() {
    const found = TOKEN.exec(location.hash)?.[1];
    if (found === undefined) return "";
    history.replaceState(null, "", `${location.pathname}${location.search}#/today`);
    try {
        return decodeURIComponent(found).trim();
    } catch {
        return found;
    }
}

/** Takes the answer of an identity provider out of the query. @returns {URLSearchParams | null} */
function takeAnswer() {
    const answer = new URLSearchParams(location.search);
    if (!answer.has("state") || !(answer.has("code") || answer.has("error"))) return null;
    history.replaceState(null, "", location.pathname + location.hash);
    return answer;
}

export const arrived = { token: takeToken(), answer: takeAnswer() };

const { dataset } = document.querySelector("meta[name=punctual]") ?? /** @type {any} */ ({ dataset: {} });

/** @param {string} url */
const withoutSlash = (url) => url.replace(/\/+$/, "");

/** @param {string} base */
function updatesUrl(base) {
    if (!base) return "";
    const url = new URL(base, location.href);
    if (!url.pathname.endsWith("/v1/updates")) url.pathname = `${withoutSlash(url.pathname)}/v1/updates`;
    return url.href;
}

export const meta = {
    /** Where the API is, without a slash at the end. Empty: at this origin. */
    api: withoutSlash(dataset.api ?? ""),
    /** The stream of changes. Empty: there is none. */
    updates: updatesUrl(dataset.updates ?? ""),
    /** The identity provider. Empty: people sign in with a token. @type {string} */
    issuer: dataset.oidcIssuer ?? "",
    /** @type {string} */
    clientId: dataset.oidcClientId ?? "",
    /** @type {string} */
    scope: dataset.oidcScope || "openid email",
    /** @type {string} */
    audience: dataset.oidcAudience ?? "",
    /** Whether a link may sign somebody in. */
    tokenLinks: dataset.tokenLinks === "1",
};
