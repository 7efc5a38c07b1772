// Parts of the page that the first paint does not need: loaded soon after it, or when they are shown.

import { html, useEffect, useState } from "./vendor/preact.js";
import { Spinner } from "./controls.js";

/** The page is called idle at the latest after this time. */
const IDLE = 500;

const first = /** @type {PromiseWithResolvers<void>} */ (Promise.withResolvers());
/** Tells that the first list is there, or late. */
export const firstIsShown = () => first.resolve();
/** Resolves when the page has shown the first list and has nothing else to do. */
export const quiet = first.promise.then(
    () => new Promise((idle) => ("requestIdleCallback" in globalThis ? requestIdleCallback(idle, { timeout: IDLE }) : setTimeout(idle, IDLE))),
);

/** The styles that are loaded, or on their way. @type {Map<string, Promise<HTMLLinkElement>>} */
const sheets = new Map();

/**
 * A component that loads itself, with its styles.
 * @param {() => Promise<any>} load
 * @param {{ name?: string, styles?: string[] }} [options] `name` of the module's export
 */
export function later(load, { name = "default", styles = [] } = {}) {
    /** @type {any} */
    let View = null;
    /** @type {HTMLLinkElement[]} */
    let links = [];
    /** @type {Promise<any> | null} */
    let loading = null;
    const preload = () => {
        loading ??= Promise.all([load(), ...styles.map(sheet)]).then(
            ([module, ...found]) => {
                links = found;
                return (View = module[name]);
            },
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
        // Before the component is rendered, which may measure itself.
        if (shown) for (const link of links) link.media = "all";
        // The nearest error boundary says so.
        if (failure) throw failure.error;
        return shown ? html`<${shown} ...${props} />` : html`<${Spinner} />`;
    }
    return Object.assign(Later, { preload });
}

/** @param {string} file */
function sheet(file) {
    const loading = sheets.get(file) ?? linked(file);
    sheets.set(file, loading);
    loading.catch(() => sheets.delete(file));
    return loading;
}

/**
 * Loads styles without using them: using them, the browser computes the styles of the whole page again.
 * @param {string} file
 * @returns {Promise<HTMLLinkElement>}
 */
function linked(file) {
    return new Promise((loaded, failed) => {
        const link = document.createElement("link");
        link.rel = "stylesheet";
        link.media = "not all";
        link.href = new URL(file, import.meta.url).href;
        link.onload = () => loaded(link);
        link.onerror = () => {
            link.remove();
            failed(new Error(`${file} could not be loaded`));
        };
        document.head.append(link);
    });
}
