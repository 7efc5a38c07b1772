// What the address brought, taken out of it before anything else runs: neither the history nor a bookmark keeps it.

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
