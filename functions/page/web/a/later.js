// Parts of the page that the first paint does not need: loaded soon after it, or when they are shown.

import { html, useEffect, useState } from "./vendor/preact.js";
import { Spinner } from "./controls.js";

/**
 * A component that loads itself, with its styles.
 * @param {() => Promise<any>} load
 * @param {{ name?: string, styles?: string[] }} [options] `name` of the module's export
 */
export function later(load, { name = "default", styles = [] } = {}) {
    /** @type {any} */
    let View = null;
    /** @type {Promise<any> | null} */
    let loading = null;
    const preload = () => {
        loading ??= Promise.all([load(), ...styles.map(style)]).then(
            ([module]) => (View = module[name]),
            (error) => {
                loading = null;
                throw error;
            },
        );
        return loading;
    };
    function Later(/** @type {any} */ props) {
        const [, render] = useState(0);
        const [failure, fail] = useState(/** @type {{ error: unknown } | null} */ (null));
        const shown = View;
        useEffect(() => {
            // It may have been loaded between this rendering and now.
            if (!shown) preload().then(() => render(1), (error) => fail({ error }));
        }, []);
        // The nearest error boundary says so.
        if (failure) throw failure.error;
        return shown ? html`<${shown} ...${props} />` : html`<${Spinner} />`;
    }
    return Object.assign(Later, { preload });
}

/** @param {string} file @returns {Promise<void>} */
function style(file) {
    return new Promise((loaded, failed) => {
        const link = document.createElement("link");
        link.rel = "stylesheet";
        link.href = new URL(file, import.meta.url).href;
        link.onload = () => loaded();
        link.onerror = () => {
            link.remove();
            failed(new Error(`${file} could not be loaded`));
        };
        document.head.append(link);
    });
}
