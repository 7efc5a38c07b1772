// A new task in one line. Due, remind and repeat open in place.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Button, classes } from "./controls.js";
import { Icon } from "./icons.js";
import { later } from "./later.js";
import { commands, useStore } from "./store.js";
import { text } from "./text.js";
import { dayAndClock, duration, tomorrow } from "./times.js";

/**
 * `remind`: undefined leaves it to the person's default, null is none.
 * @typedef {object} Draft
 * @property {string} title
 * @property {string} [due]
 * @property {import("./store.js").NewReminder | null} [remind]
 * @property {keyof typeof text.list.repeats} [repeat]
 */
/** @typedef {"due" | "remind" | "repeat"} Part */

const PARTS = /** @type {Part[]} */ (["due", "remind", "repeat"]);
const ICONS = { due: "calendar", remind: "alarm", repeat: "repeat" };
const panel = (/** @type {string} */ name) => later(() => import("./quick-add-parts.js"), { name });
export const PANELS = { due: panel("DuePanel"), remind: panel("RemindPanel"), repeat: panel("RepeatPanel") };
const LONGEST = 500;
/** Where a tab keeps the draft. It survives a reload, and a session that ends. */
const DRAFT = "punctual.draft";

/** @param {{ route: import("./route.js").Route }} props */
export default function QuickAdd({ route }) {
    const [draft, setDraft] = useState(keptDraft);
    const [open, setOpen] = useState(/** @type {Part | null} */ (null));
    const form = useRef(/** @type {HTMLFormElement | null} */ (null));
    const me = useStore((state) => state.me);
    useEffect(() => keepDraft(draft), [draft]);

    const isTooLong = [...draft.title].length > LONGEST;
    const canAdd = draft.title.trim() !== "" && !isTooLong;
    const field = () => /** @type {HTMLInputElement | null} */ (form.current?.querySelector("#new-task") ?? null);
    const submit = (/** @type {Event} */ event) => {
        event.preventDefault();
        if (!canAdd) return field()?.focus();
        // A refusal shows on the row.
        void commands.create(draftOf(draft, route.view === "tag" ? route.tag : undefined)).catch(() => {});
        setDraft({ title: "" });
        setOpen(null);
        field()?.focus();
    };
    const change = (/** @type {Partial<Draft>} */ part) => setDraft((before) => settled({ ...before, ...part }));
    const choose = (/** @type {Partial<Draft>} */ part) => {
        change(part);
        setOpen(null);
        field()?.focus();
    };
    const escape = (/** @type {KeyboardEvent} */ event) => {
        if (event.key !== "Escape" || !open) return;
        event.preventDefault();
        setOpen(null);
        /** @type {HTMLElement | null} */ (form.current?.querySelector(`[data-part="${open}"]`))?.focus();
    };
    const shown = labels(draft, me);
    const Open = open && PANELS[open];
    return html`<form ref=${form} class="quick" onSubmit=${submit} onKeyDown=${escape}>
        <div class="quick-line">
            <label class="quick-title">
                <${Icon} name="plus" />
                <span class="unseen">${text.list.new}</span>
                <input
                    id="new-task"
                    dir="auto"
                    autocomplete="off"
                    enterkeyhint="done"
                    placeholder=${text.list.placeholder}
                    aria-invalid=${isTooLong ? "true" : undefined}
                    value=${draft.title}
                    onInput=${(/** @type {any} */ e) => change({ title: e.currentTarget.value })}
                />
            </label>
            <div class="quick-parts">
                ${route.view === "tag" && html`<span class="part fixed" dir="auto">#${route.tag}</span>`}
                ${PARTS.map((part) => html`<${PartButton} key=${part} part=${part} label=${shown[part]} isOpen=${open === part} onOpen=${() => setOpen(open === part ? null : part)} onClear=${() => choose(cleared(part, draft))} />`)}
                <${Button} type="submit" kind="primary" class=${classes("quick-add", !canAdd && "idle")} disabled=${isTooLong}>${text.list.add}<//>
            </div>
        </div>
        ${isTooLong && html`<p class="quick-note alert" role="alert">${text.list.titleLong}</p>`}
        ${Open && html`<${Open} key=${open} draft=${draft} me=${me} choose=${choose} change=${change} />`}
    </form>`;
}

/** @param {{ part: Part, label: string | null, isOpen: boolean, onOpen: () => void, onClear: () => void }} props */
function PartButton({ part, label, isOpen, onOpen, onClear }) {
    return html`<span class=${classes("part", label && "set")}>
        <button type="button" data-part=${part} aria-expanded=${String(isOpen)} onClick=${onOpen}><${Icon} name=${ICONS[part]} />${label ?? text.list[part]}</button>
        ${label && html`<button type="button" class="clear" aria-label=${text.list.clear[part]} title=${text.list.clear[part]} onClick=${onClear}><${Icon} name="close" size=${12} /></button>`}
    </span>`;
}

/** What removing a part means: without a default, a reminder is not set; with one, there is none. @param {Part} part @param {Draft} draft @returns {Partial<Draft>} */
function cleared(part, draft) {
    if (part === "remind") return { remind: draft.due ? null : undefined };
    return { [part]: undefined };
}

/** A draft whose parts fit together: a task repeats from its due time, and a reminder before it needs one. @param {Draft} draft @returns {Draft} */
function settled(draft) {
    const next = { ...draft };
    if (next.repeat && !next.due) next.due = tomorrow();
    if (!next.due && (next.remind === null || next.remind?.before_due)) next.remind = undefined;
    return next;
}

/** @returns {Draft} */
function keptDraft() {
    try {
        return JSON.parse(sessionStorage.getItem(DRAFT) ?? "") ?? { title: "" };
    } catch {
        return { title: "" };
    }
}

/** @param {Draft} draft */
function keepDraft(draft) {
    try {
        if (draft.title || draft.due || draft.remind || draft.repeat) sessionStorage.setItem(DRAFT, JSON.stringify(draft));
        else sessionStorage.removeItem(DRAFT);
    } catch {
        // Storage may be blocked. The draft then lives as long as the page.
    }
}

/**
 * The body of the request that creates it.
 * @param {Draft} draft
 * @param {string} [tag]
 * @returns {import("./store.js").NewTask}
 */
function draftOf({ title, due, remind, repeat }, tag) {
    /** @type {import("./store.js").NewTask} */
    const body = { title: title.trim() };
    if (due) body.due_at = due;
    if (remind !== undefined) body.reminders = remind ? [remind] : [];
    if (repeat === "weekdays") body.recurrence = { type: "custom", rule: "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR" };
    else if (repeat) body.recurrence = { type: repeat };
    if (tag) body.tags = [tag];
    return body;
}

/**
 * What the buttons say, or null where nothing is chosen.
 * @param {Draft} draft
 * @param {import("./store.js").Me | null} me
 */
function labels({ due, remind, repeat }, me) {
    const defaultReminder = due && remind === undefined ? me?.default_reminder : null;
    const before = remind?.before_due ?? defaultReminder;
    let reminding = null;
    if (before) reminding = text.list.remindBefore(duration(before));
    else if (remind?.remind_at) reminding = text.list.remindAt(dayAndClock(remind.remind_at));
    else if (remind === null && me?.default_reminder) reminding = text.list.noReminder;
    return {
        due: due ? text.list.dueAt(dayAndClock(due)) : null,
        remind: reminding,
        repeat: repeat ? text.list.repeats[repeat] : null,
    };
}
