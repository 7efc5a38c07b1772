// One line of a task's panel: what it says, and the form that replaces it while it is edited.

import { html, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";

const FIELDS = "input, select, textarea, button";

/**
 * Puts the focus into what has appeared, and back to where it was when that disappears. Returns the ref of what appears.
 * @param {string} [first] what gets the focus
 */
export function useFocusInside(first = FIELDS) {
    const inside = useRef(/** @type {HTMLElement | null} */ (null));
    useLayoutEffect(() => {
        const opener = document.activeElement;
        /** @type {HTMLElement | null} */ (inside.current?.querySelector(first))?.focus();
        return () => {
            if (opener instanceof HTMLElement) setTimeout(() => document.activeElement === document.body && opener.focus());
        };
    }, []);
    return inside;
}

/**
 * @param {{ name: string, icon: string, label: string, value: any, add: string, disabled?: boolean,
 *   editor: (close: () => void) => any, below?: any, children?: any }} props
 *   `add` stands where there is no value yet; `below` follows the line, and `children` follow the line or its form
 */
export function Property({ name, icon, label, value, add, disabled, editor, below, children }) {
    const [open, setOpen] = useState(false);
    const button = useRef(/** @type {HTMLButtonElement | null} */ (null));
    const form = useRef(/** @type {HTMLDivElement | null} */ (null));
    const was = useRef(false);
    useLayoutEffect(() => {
        // A form that is still loading has no field yet.
        if (open) /** @type {HTMLElement | null} */ (form.current?.querySelector(FIELDS) ?? form.current)?.focus();
        else if (was.current) button.current?.focus();
        was.current = open;
    }, [open]);
    const close = () => setOpen(false);
    const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape" || event.defaultPrevented) return;
        event.stopPropagation();
        close();
    };
    return html`<div class="property" data-property=${name}>
        ${open
            ? html`<div class="property-form" ref=${form} role="group" tabindex="-1" aria-label=${label} onKeyDown=${onKeyDown}>
                    <p class="property-title"><${Icon} name=${icon} />${label}</p>
                    ${editor(close)}
                </div>`
            : html`<button type="button" class="property-line" ref=${button} disabled=${disabled} onClick=${() => setOpen(true)}>
                    <${Icon} name=${icon} />${label !== add && html`<span class="unseen">${label}: </span>`}<span class=${value ? "value" : "value muted"}>${value || add}</span>
                </button>
                ${below}`}
        ${children}
    </div>`;
}
