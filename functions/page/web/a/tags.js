// The tags of a task.

import { html, useRef, useState } from "./vendor/preact.js";
import { useId } from "./controls.js";
import { Outcome } from "./edit.js";
import { Icon } from "./icons.js";
import { commands, useStore } from "./store.js";
import { task as text } from "./text-task.js";

const words = text.tags;

/** @typedef {import("./store.js").Row} Row */

const SUGGESTED = 6;
/** The most that the API takes. */
const TAGS = 20;

/** @param {{ row: Row }} props */
export function Tags({ row }) {
    const { task } = row;
    const known = useStore((state) => state.tags);
    const [typed, setTyped] = useState("");
    const [focused, setFocused] = useState(false);
    const [at, setAt] = useState(-1);
    const input = useRef(/** @type {HTMLInputElement | null} */ (null));
    const id = useId();

    const wanted = typed.trim().toLocaleLowerCase();
    const rank = (/** @type {string} */ name) => name.toLocaleLowerCase().indexOf(wanted);
    const fitting = known.map(({ name }) => name).filter((name) => !task.tags.includes(name) && rank(name) >= 0);
    const matches = focused ? fitting.sort((a, b) => rank(a) - rank(b)).slice(0, SUGGESTED) : [];
    const open = matches.length > 0;

    const set = (/** @type {string[]} */ tags) => commands.change(task.id, { tags });
    const add = (/** @type {string} */ name) => {
        setTyped("");
        setAt(-1);
        if (name && !task.tags.includes(name)) set([...task.tags, name]);
    };
    const remove = (/** @type {string} */ name) => {
        set(task.tags.filter((other) => other !== name));
        input.current?.focus();
    };
    const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
        const { key } = event;
        if (event.isComposing) return;
        if (key === "ArrowDown" || key === "ArrowUp") {
            event.preventDefault();
            const steps = matches.length + 1;
            setAt(((at + 1 + (key === "ArrowDown" ? 1 : -1) + steps) % steps) - 1);
        } else if (key === "Enter" || key === ",") {
            event.preventDefault();
            add(matches[at] ?? typed.trim());
        } else if (key === "Backspace" && !typed && task.tags.length > 0) {
            remove(task.tags[task.tags.length - 1]);
        } else if (key === "Escape" && (typed || open)) {
            event.stopPropagation();
            setTyped("");
            input.current?.blur();
        }
    };
    return html`<div class="property tags">
        <div class="property-line">
            <${Icon} name="tag" />
            <ul class="chips" aria-label=${words.label}>
                ${task.tags.map((name) => html`<li class="chip" key=${name}>
                    <bdi>${name}</bdi>
                    <button type="button" aria-label=${words.remove(name)} title=${words.remove(name)} onClick=${() => remove(name)}><${Icon} name="close" size=${12} /></button>
                </li>`)}
                <li class="tag-input">
                    <input
                        ref=${input} type="text" value=${typed} placeholder=${task.tags.length > 0 ? words.more : words.add} aria-label=${words.add} dir="auto"
                        role="combobox" aria-expanded=${String(open)} aria-controls=${id} aria-autocomplete="list" aria-activedescendant=${at >= 0 ? `${id}-${at}` : undefined}
                        autocomplete="off" autocapitalize="off" disabled=${task.tags.length >= TAGS}
                        onInput=${(/** @type {any} */ event) => (setTyped(event.currentTarget.value), setAt(-1))}
                        onKeyDown=${onKeyDown} onFocus=${() => setFocused(true)} onBlur=${() => (setFocused(false), add(typed.trim()))}
                    />
                    ${open && html`<ul class="suggestions" role="listbox" id=${id} aria-label=${words.known} onMouseDown=${(/** @type {Event} */ event) => event.preventDefault()}>
                        ${matches.map((name, index) => html`<li role="option" id=${`${id}-${index}`} aria-selected=${String(index === at)} onClick=${() => add(name)}><bdi>${name}</bdi></li>`)}
                    </ul>`}
                </li>
            </ul>
        </div>
        <${Outcome} row=${row} fields=${["tags"]} say=${(/** @type {any} */ mine) => mine.tags.join(", ") || words.none} />
    </div>`;
}
