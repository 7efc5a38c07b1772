// What comes before the page: the theme, the frame of the lists (index.html), and another attempt where the page does not load.

/** @typedef {"system" | "light" | "dark"} Theme */
const THEME = "theme";

/** The theme that the person chose on this device, otherwise the system's. @returns {Theme} */
export function theme() {
    try {
        const kept = localStorage.getItem(THEME);
        return kept === "light" || kept === "dark" ? kept : "system";
    } catch {
        return "system";
    }
}

/** @param {Theme} chosen */
export function setTheme(chosen) {
    try {
        if (chosen === "system") localStorage.removeItem(THEME);
        else localStorage.setItem(THEME, chosen);
    } catch {
        // Storage may be blocked. The choice then lasts until the page is left.
    }
    apply(chosen);
}

/** @param {Theme} chosen */
function apply(chosen) {
    const root = document.documentElement;
    if (chosen === "system") delete root.dataset.theme;
    else root.dataset.theme = chosen;
}

apply(theme());
addEventListener("storage", (event) => event.key === THEME && apply(theme()));

/** Where a tab keeps a token that was pasted. */
export const PASTED = "punctual.token";
const HAS_SESSION = "punctual.session";

/** Notes for the next visit whether this browser has a session. @param {boolean} has */
export function noteSession(has) {
    try {
        if (has) localStorage.setItem(HAS_SESSION, "");
        else localStorage.removeItem(HAS_SESSION);
    } catch {
        // Storage may be blocked. The lists are then shown without their frame before.
    }
}

/** Whether the visit probably begins with a session: one is kept, or the address brings it. */
function hasSession() {
    const query = new URLSearchParams(location.search);
    if (query.has("code") && query.has("state")) return true;
    /** @type {HTMLMetaElement | null} */
    const meta = document.querySelector("meta[name=punctual]");
    if (meta?.dataset.tokenLinks && /^#\/?token=/.test(location.hash)) return true;
    try {
        return localStorage.getItem(HAS_SESSION) !== null || sessionStorage.getItem(PASTED) !== null;
    } catch {
        return false;
    }
}

/** Shows the parts of the page that are the same for everybody, if it is going to show a list. */
function showFrame() {
    const { hash } = location;
    if (hash.startsWith("#/act/") || !hasSession()) return;
    const list = /^#\/(upcoming|all|done)\b/.exec(hash)?.[1];
    const isBare = list === "done" || /^#\/(tag|search|settings|system)\b|\/task\//.test(hash);
    document.documentElement.dataset.frame = isBare ? "bare" : "list";
    if (list || !isBare) document.querySelector(`#frame [data-list=${list ?? "today"}]`)?.setAttribute("aria-current", "page");
}

showFrame();

// The first use of Intl takes a phone 100 ms, whatever it is. Here nobody waits for it: the styles are still on their way.
Intl.DateTimeFormat();

/** Counts the attempts to load the page in this tab. */
const ATTEMPTS = "punctual.attempts";
/** Milliseconds before each further attempt. After the last one the page says that it did not load. */
const PAUSES = [500, 2_000, 5_000, 15_000];

/**
 * Loads the page again after a file of it did not arrive: a browser that changes its network ends every request, and a module that is missing takes all
 * others with it. What has arrived is in the browser's cache.
 * @returns {Promise<never>}
 */
export function loadAgain() {
    const pause = PAUSES[countAttempt()];
    if (pause === undefined) {
        delete document.documentElement.dataset.frame;
        document.documentElement.dataset.unloaded = "";
        // The person's own attempt is the first again.
        loaded();
    } else {
        setTimeout(() => location.reload(), pause);
    }
    return new Promise(() => {});
}

/** Notes that all files that the page needs at once have arrived. */
export function loaded() {
    try {
        sessionStorage.removeItem(ATTEMPTS);
    } catch {
        // Nothing was counted.
    }
}

/** Counts an attempt that failed, and returns how many did before. */
function countAttempt() {
    try {
        const before = Number(sessionStorage.getItem(ATTEMPTS));
        sessionStorage.setItem(ATTEMPTS, String(before + 1));
        return before;
    } catch {
        // Where nothing can be counted, the person decides.
        return PAUSES.length;
    }
}

document.querySelector('script[src$="/app.js"]')?.addEventListener("error", loadAgain);
