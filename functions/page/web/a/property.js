// One line of a task's panel: what it says, and the form that replaces it while it is edited.

import { html, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Icon } from "./icons.js";

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
        if (open) /** @type {HTMLElement | null} */ (form.current?.querySelector("input, select, textarea, button"))?.focus();
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
            ? html`<div class="property-form" ref=${form} role="group" aria-label=${label} onKeyDown=${onKeyDown}>
                    <p class="property-title"><${Icon} name=${icon} />${label}</p>
                    ${editor(close)}
                </div>`
            : html`<button type="button" class="property-line" ref=${button} disabled=${disabled} onClick=${() => setOpen(true)}>
                    <${Icon} name=${icon} /><span class="unseen">${label}: </span>${value ? html`<span class="value">${value}</span>` : html`<span class="value muted">${add}</span>`}
                </button>
                ${below}`}
        ${children}
    </div>`;
}
