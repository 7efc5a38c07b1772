// Dead letters: events that a function gave up on, with the reason and a button that replays them.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, Disclosure, ErrorState, Spinner } from "./controls.js";
import { commands } from "./store.js";
import { system as text } from "./text-settings.js";
import { dayAndClock, exact } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["DeadLetter"]} Letter */

export function Letters() {
    const [letters, setLetters] = useState(/** @type {Letter[] | null} */ (null));
    const [cursor, setCursor] = useState(/** @type {string | null} */ (null));
    const [error, setError] = useState(/** @type {unknown} */ (null));
    const [busy, setBusy] = useState(false);
    const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null));
    const list = useRef(/** @type {HTMLUListElement | null} */ (null));
    const load = async (/** @type {string | undefined} */ from) => {
        setBusy(true);
        setError(null);
        try {
            const { body } = await request("GET", "/v1/dead-letters", { query: { cursor: from } });
            setLetters((before) => [...(from ? (before ?? []) : []), ...body.items]);
            setCursor(body.next_cursor ?? null);
        } catch (failure) {
            setError(failure);
        }
        setBusy(false);
    };
    useEffect(() => void load(undefined), []);

    /** A replayed letter leaves the list, and the next one gets the focus. @param {Letter} letter @param {number} index */
    const replay = async (letter, index) => {
        await commands.replay(letter.id);
        setLetters((before) => (before ?? []).filter(({ id }) => id !== letter.id));
        setTimeout(() => {
            const buttons = /** @type {NodeListOf<HTMLElement> | undefined} */ (list.current?.querySelectorAll("button.replay"));
            (buttons?.[index] ?? buttons?.[index - 1] ?? heading.current)?.focus();
        });
    };
    return html`<section class="letters">
        <h2 ref=${heading} tabindex="-1">${text.dead}</h2>
        <p class="hint">${text.deadHint}</p>
        ${error ? html`<${ErrorState} error=${error} onRetry=${() => load(undefined)} />` : !letters && html`<${Spinner} />`}
        ${letters?.length === 0 && html`<p>${text.noDead}</p>`}
        <ul class="lines" ref=${list}>
            ${letters?.map((letter, index) => html`<${Line} key=${letter.id} letter=${letter} replay=${() => replay(letter, index)} />`)}
        </ul>
        ${cursor && html`<${Button} busy=${busy} onClick=${() => load(cursor)}>${text.more}<//>`}
    </section>`;
}

/** @param {{ letter: Letter, replay: () => Promise<void> }} props */
function Line({ letter, replay }) {
    const { consumer, origin, reason, payload, payload_bytes, topic, created_at } = letter;
    const [busy, setBusy] = useState(false);
    const name = letter.type ?? text.noType;
    const press = async () => {
        setBusy(true);
        // A notice says what was wrong.
        await replay().catch(() => setBusy(false));
    };
    const size = new TextEncoder().encode(payload).length;
    return html`<li class="letter">
        <p class="reason">${reason}</p>
        <p class="hint">
            ${text.given(name, origin === "daprd" ? text.byDaprd(consumer) : text.byFunction(consumer))} ·${" "}
            <time datetime=${created_at} title=${exact(created_at)}>${dayAndClock(created_at)}</time>
        </p>
        <${Disclosure} label=${text.payload}>
            <pre tabindex="0" aria-label=${text.payload}>${payload}</pre>
            <p class="hint">${[topic, size < payload_bytes && text.bytes(payload_bytes)].filter(Boolean).join(" · ")}</p>
        <//>
        <${Button} class="replay" busy=${busy} aria-label=${text.replayOf(name)} onClick=${press}>${text.replay}<//>
    </li>`;
}
