// What the deployment configured: the server writes it into the document.

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
