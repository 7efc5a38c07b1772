// What "due", "remind" and "repeat" of a new task open: likely choices, and a free one.

import { html, useLayoutEffect, useRef, useState } from "./vendor/preact.js";
import { Button, Field } from "./controls.js";
import { capital, text } from "./text.js";
import { date, dayAndClock, duration, evening, exact, fromInput, inMinutes, monday, toInput, tomorrow } from "./times.js";

/** @typedef {import("./quick-add.js").Draft} Draft */
/** @typedef {{ draft: Draft, me: import("./store.js").Me | null, choose: (part: Partial<Draft>) => void, change: (part: Partial<Draft>) => void }} PanelProps `choose` closes the panel, `change` does not */
/** @typedef {[label: string, part: Partial<Draft>, title?: string]} Choice */

/** @param {PanelProps} props */
export function DuePanel({ draft, me, choose, change }) {
    const tonight = evening();
    /** @type {Choice[]} */
    const choices = [
        ...(tonight ? [at(tonight, "due")] : []),
        at(tomorrow(), "due"),
        ...(monday() === tomorrow() ? [] : [at(monday(), "due")]),
    ];
    return html`<${Panel} label=${text.list.due} choices=${choices} choose=${choose} part=${(/** @type {string} */ due) => ({ due })} change=${change} from=${draft.due ?? tomorrow()} note=${me?.default_reminder && draft.remind === undefined ? text.list.byDefault(duration(me.default_reminder)) : ""} />`;
}

/** @param {PanelProps} props */
export function RemindPanel({ draft, me, choose, change }) {
    const tonight = evening();
    /** @type {Choice[]} */
    const before = draft.due ? text.list.before.map(([before_due, label]) => [label, { remind: { before_due } }]) : [];
    /** @type {Choice[]} */
    const absolute = [
        [text.list.inMinute, { remind: { remind_at: inMinutes(1) } }],
        [text.list.inHour, { remind: { remind_at: inMinutes(60) } }],
        ...(tonight ? [at(tonight, "remind")] : []),
        at(tomorrow(), "remind"),
    ];
    const choices = [...before, ...(draft.due ? absolute.slice(2) : absolute)];
    if (draft.due && me?.default_reminder) choices.push([text.list.noReminder, { remind: null }]);
    const part = (/** @type {string} */ remind_at) => ({ remind: { remind_at } });
    return html`<${Panel} label=${text.list.remind} choices=${choices} choose=${choose} change=${change} part=${part} from=${draft.remind?.remind_at ?? draft.due ?? tomorrow()} past=${text.list.past} />`;
}

/** @param {PanelProps} props */
export function RepeatPanel({ draft, choose }) {
    const kinds = /** @type {(keyof typeof text.list.repeats)[]} */ (Object.keys(text.list.repeats));
    const choices = kinds.map((repeat) => /** @type {Choice} */ ([text.list.repeats[repeat], { repeat }]));
    return html`<${Panel} label=${text.list.repeat} choices=${choices} choose=${choose} note=${draft.due ? "" : text.list.repeatNeedsDue(dayAndClock(tomorrow()))} />`;
}

/** @param {string} instant @param {"due" | "remind"} part @returns {Choice} */
function at(instant, part) {
    return [capital(dayAndClock(instant)), part === "due" ? { due: instant } : { remind: { remind_at: instant } }, exact(instant)];
}

/**
 * `part`: what a picked instant is.
 * @param {{ label: string, choices: Choice[], choose: PanelProps["choose"], change?: PanelProps["change"], part?: (instant: string) => Partial<Draft>,
 *   from?: string, note?: string, past?: string }} props
 */
function Panel({ label, choices, choose, change, part, from, note, past }) {
    const [picking, setPicking] = useState(false);
    const panel = useRef(/** @type {HTMLElement | null} */ (null));
    useLayoutEffect(() => {
        /** @type {HTMLElement | null} */ (panel.current?.querySelector(picking ? "input" : "button"))?.focus();
    }, [picking]);
    return html`<div ref=${panel} class="quick-panel" role="group" aria-label=${label}>
        ${picking && change && part && from
            ? html`<${Pick} from=${from} change=${(/** @type {string} */ at) => change(part(at))} close=${(/** @type {string} */ at) => choose(part(at))} past=${past} />`
            : html`<div class="choices">
                  ${choices.map(([said, chosen, title]) => html`<${Button} key=${said} title=${title} onClick=${() => choose(chosen)}>${said}<//>`)}
                  ${part && html`<${Button} onClick=${() => setPicking(true)}>${text.list.pick}<//>`}
              </div>`}
        ${note && html`<p class="quick-note muted">${note}</p>`}
    </div>`;
}

/**
 * A day and a time. What is picked is in the draft at once, so that nothing is lost if the task is added next.
 * @param {{ from: string, change: (instant: string) => void, close: (instant: string) => void, past?: string }} props
 */
function Pick({ from, change, close, past }) {
    const [day, setDay] = useState(() => toInput(from).date);
    const [time, setTime] = useState(() => toInput(from).time);
    const instant = day && time ? fromInput(day, time) : null;
    useLayoutEffect(() => {
        if (instant) change(instant);
    }, [instant]);
    const set = () => instant && close(instant);
    const enter = (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Enter") return;
        event.preventDefault();
        set();
    };
    return html`<div class="pick" onKeyDown=${enter}>
            <${Field} type="date" label=${text.list.date} min=${date(0)} value=${day} onValue=${setDay} />
            <${Field} type="time" label=${text.list.time} value=${time} onValue=${setTime} />
            <${Button} disabled=${!instant} onClick=${set}>${text.list.set}<//>
        </div>
        ${past && instant && Date.parse(instant) < Date.now() && html`<p class="quick-note muted">${past}</p>`}`;
}
