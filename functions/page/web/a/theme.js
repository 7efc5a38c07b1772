// The theme: the system's, or the one the person chose on this device. Loaded before the first paint.

/** @typedef {"system" | "light" | "dark"} Theme */
const KEY = "theme";

/** @returns {Theme} */
export function theme() {
    try {
        const kept = localStorage.getItem(KEY);
        return kept === "light" || kept === "dark" ? kept : "system";
    } catch {
        return "system";
    }
}

/** @param {Theme} chosen */
export function setTheme(chosen) {
    try {
        if (chosen === "system") localStorage.removeItem(KEY);
        else localStorage.setItem(KEY, chosen);
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
addEventListener("storage", (event) => event.key === KEY && apply(theme()));
