// What this browser keeps of a session, in IndexedDB. Where storage is blocked it lasts as long as the tab.

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
