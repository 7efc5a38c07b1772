// OpenID Connect: the authorization code flow with PKCE.

const { dataset } = /** @type {HTMLMetaElement} */ (document.querySelector("meta[name=punctual]")) ?? { dataset: {} };

/** What the deployment configured, from the meta element. */
export const settings = {
    api: dataset.api ?? "",
    updates: dataset.updates ?? "",
    issuer: dataset.oidcIssuer ?? "",
    clientId: dataset.oidcClientId ?? "",
    scope: dataset.oidcScope ?? "",
    audience: dataset.oidcAudience ?? "",
    tokenLinks: dataset.tokenLinks === "1",
};
