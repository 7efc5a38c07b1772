// What this tab keeps, also when it is loaded again. Where storage is blocked, it lasts as long as the page.

/** @type {Map<string, string>} */
const memory = new Map();

/** @template T @param {() => T} act @param {() => T} otherwise */
function attempt(act, otherwise) {
    try {
        return act();
    } catch {
        return otherwise();
    }
}

export const tab = {
    /** @param {string} key @returns {string | null} */
    get: (key) => attempt(() => sessionStorage.getItem(key), () => memory.get(key) ?? null),
    /** @param {string} key @param {string} value */
    set: (key, value) => attempt(() => sessionStorage.setItem(key, value), () => void memory.set(key, value)),
    /** @param {string} key */
    remove: (key) => attempt(() => sessionStorage.removeItem(key), () => void memory.delete(key)),
    clear: () => attempt(() => sessionStorage.clear(), () => memory.clear()),
};
