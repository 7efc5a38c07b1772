// Locks that the tabs of a browser share.

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
