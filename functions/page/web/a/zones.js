// A field for a time zone: a combobox of the zones that the browser knows, each with its present time.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Field, useId } from "./controls.js";
import { settings as text } from "./text-settings.js";
import { clock, isZone } from "./times.js";

/** More are not shown: people type another letter. */
const SHOWN = 60;
const ZONES = [...new Set([...Intl.supportedValuesOf("timeZone"), "UTC"])];

/** @param {string} name */
const plain = (name) => name.toLowerCase().replace(/[_/]/g, " ");

/** The zones that have all the words. @param {string} typed */
function found(typed) {
    const words = plain(typed).split(/\s+/);
    return ZONES.filter((name) => words.every((word) => plain(name).includes(word))).slice(0, SHOWN);
}

/** @param {{ label: string, hint?: any, error?: any, value: string, onValue: (zone: string) => void }} props */
export function ZoneField({ label, hint, error, value, onValue }) {
    const [typed, setTyped] = useState(/** @type {string | null} */ (null));
    const [active, setActive] = useState(0);
    const list = useRef(/** @type {HTMLUListElement | null} */ (null));
    const id = useId();
    const isOpen = typed !== null;
    const zones = !isOpen ? [] : typed === value ? ZONES : found(typed);
    const wrong = isOpen && zones.length === 0 && !isZone(typed) ? text.noZone : error;

    useEffect(() => list.current?.children[active]?.scrollIntoView({ block: "center" }), [isOpen]);
    useEffect(() => list.current?.children[active]?.scrollIntoView({ block: "nearest" }), [active]);

    const open = (/** @type {any} */ event) => {
        if (isOpen) return;
        setTyped(value);
        setActive(Math.max(0, ZONES.indexOf(value)));
        event.currentTarget.select();
    };
    const type = (/** @type {string} */ name) => {
        setTyped(name);
        setActive(0);
    };
    const choose = (/** @type {string | undefined} */ name) => {
        setTyped(null);
        if (name && name !== value) onValue(name);
    };
    const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
        const step = { ArrowDown: 1, ArrowUp: -1, PageDown: 8, PageUp: -8 }[event.key];
        if (step) {
            event.preventDefault();
            if (isOpen) setActive(Math.min(Math.max(0, active + step), zones.length - 1));
            else open(event);
        } else if (isOpen && event.key === "Enter") {
            event.preventDefault();
            if (zones.length > 0) choose(zones[active]);
            else if (isZone(typed)) choose(typed);
        } else if (isOpen && event.key === "Escape") {
            event.preventDefault();
            event.stopPropagation();
            setTyped(null);
        }
    };
    return html`<div class="zones">
        <${Field}
            ...${{ label, hint, error: wrong, onKeyDown }}
            value=${typed ?? value}
            onValue=${type}
            onFocus=${open}
            onClick=${open}
            onBlur=${() => setTyped(null)}
            role="combobox"
            aria-expanded=${String(isOpen && zones.length > 0)}
            aria-controls=${id}
            aria-autocomplete="list"
            aria-activedescendant=${isOpen && zones[active] ? `${id}-${active}` : undefined}
            autocomplete="off"
            autocapitalize="none"
            spellcheck="false"
        />
        ${zones.length > 0 &&
        html`<ul class="zones-list" id=${id} ref=${list} role="listbox" aria-label=${label} onMouseDown=${(/** @type {Event} */ e) => e.preventDefault()}>
            ${zones.map(
                (name, index) => html`<li
                    key=${name}
                    id=${`${id}-${index}`}
                    role="option"
                    aria-selected=${String(index === active)}
                    class=${index === active && "active"}
                    onClick=${() => choose(name)}
                >
                    <span>${name}</span><span class="muted">${clock(Date.now(), name)}</span>
                </li>`,
            )}
        </ul>`}
    </div>`;
}
