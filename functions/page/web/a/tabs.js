// What the tabs of a browser share: locks, and what is kept of a session, in IndexedDB. And what one tab keeps, also when it is loaded again. Where
// storage is blocked, it lasts as long as the page.

const STORE = "session";
/** @type {Map<string, unknown>} */
const memory = new Map();
/** @type {Promise<IDBDatabase> | undefined} */
let opening;

function open() {
    opening ??= new Promise((resolve, reject) => {
        const request = indexedDB.open("punctual", 1);
        request.onupgradeneeded = () => request.result.createObjectStore(STORE);
        request.onsuccess = () => resolve(request.result);
        request.onerror = () => reject(request.error);
    });
    return opening;
}

/**
 * @template T
 * @param {IDBTransactionMode} mode
 * @param {(store: IDBObjectStore) => IDBRequest<T>} act
 * @returns {Promise<T>}
 */
async function transact(mode, act) {
    const transaction = (await open()).transaction(STORE, mode);
    return new Promise((resolve, reject) => {
        const request = act(transaction.objectStore(STORE));
        transaction.oncomplete = () => resolve(request.result);
        transaction.onabort = () => reject(transaction.error);
    });
}

export const kept = {
    /** @param {string} key @returns {Promise<any>} */
    async get(key) {
        return transact("readonly", (store) => store.get(key)).catch(() => memory.get(key));
    },
    /** @param {string} key @param {unknown} value */
    async put(key, value) {
        await transact("readwrite", (store) => store.put(value, key)).catch(() => memory.set(key, value));
    },
    /** @param {string} key */
    async remove(key) {
        memory.delete(key);
        await transact("readwrite", (store) => store.delete(key)).catch(() => {});
    },
};

/** @type {Map<string, string>} */
const tabMemory = new Map();

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
    get: (key) => attempt(() => sessionStorage.getItem(key), () => tabMemory.get(key) ?? null),
    /** @param {string} key @param {string} value */
    set: (key, value) => attempt(() => sessionStorage.setItem(key, value), () => void tabMemory.set(key, value)),
    /** @param {string} key */
    remove: (key) => attempt(() => sessionStorage.removeItem(key), () => void tabMemory.delete(key)),
    clear: () => attempt(() => sessionStorage.clear(), () => tabMemory.clear()),
};

/**
 * Acts while no other tab does.
 * @template T
 * @param {string} name
 * @param {LockOptions} options
 * @param {() => Promise<T> | T} act
 * @returns {Promise<T>}
 */
export async function alone(name, options, act) {
    let isHeld = false;
    try {
        return await navigator.locks.request(name, options, () => {
            isHeld = true;
            return act();
        });
    } catch (error) {
        if (isHeld || options.signal?.aborted) throw error;
        // There are no locks without encryption, and where storage is blocked.
        return act();
    }
}
