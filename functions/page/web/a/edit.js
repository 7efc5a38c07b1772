// Text that is edited in place, and what became of an edit.

import { html, useEffect, useErrorBoundary, useRef, useState } from "./vendor/preact.js";
import { Button, errorText } from "./controls.js";
import { later } from "./later.js";
import { session } from "./session.js";
import { commands, idOf, keyOf } from "./store.js";
import { text } from "./text.js";
import { task } from "./text-task.js";

const words = task.edit;

/** @typedef {import("./store.js").Row} Row */
/** @typedef {{ text: string, base: string }} Draft what is typed, and the value that it began from */

const IDLE = 5_000;
const KEPT = "punctual.drafts";

// Outside of the components, so that nothing that renders again or closes can lose what is typed.
/** @type {Map<string, Draft>} */
const drafts = new Map();
/** Texts that stand beside a value that somebody else has set meanwhile. @type {Map<string, string>} */
const asides = new Map();

// Signing in again leaves the page. Where storage is blocked, the drafts live as long as the page.
try {
    for (const [key, draft] of JSON.parse(sessionStorage.getItem(KEPT) ?? "[]")) drafts.set(key, draft);
    sessionStorage.removeItem(KEPT);
    addEventListener("pagehide", () => drafts.size > 0 && sessionStorage.setItem(KEPT, JSON.stringify([...drafts].map(([key, draft]) => [key.replace(/^\S+/, idOf), draft]))));
} catch {
    drafts.clear();
}
session.subscribe(() => {
    if (session.state !== "signed-out" || session.reason) return;
    drafts.clear();
    asides.clear();
});

/** Whether two texts are the same to the server. @param {string} a @param {string} b */
const same = (a, b) => a.trim().normalize() === b.trim().normalize();

/**
 * A field of a task that is edited in place: saved when it loses the focus, after 5 s without typing, and by `save`.
 * @param {Row} row
 * @param {"title" | "description"} field
 */
function useDraft(row, field) {
    const [, count] = useState(0);
    const render = () => count((before) => before + 1);
    const key = `${keyOf(row.task.id)} ${field}`;
    const server = row.task[field] ?? "";
    const failed = row.failed && field in row.failed.mine ? row.failed : null;
    const draft = drafts.get(key);
    const overtaken = Boolean(draft && !failed && !row.saving && !same(draft.base, server) && !same(draft.text, server));
    const timer = useRef(/** @type {ReturnType<typeof setTimeout> | undefined} */ (undefined));

    const change = (/** @type {string} */ mine) => {
        failed?.discard();
        drafts.delete(key);
        asides.delete(key);
        render();
        const value = mine.trim() ? mine : null;
        if (!same(mine, server) && (value || field === "description")) commands.change(row.task.id, { [field]: value });
    };
    const save = (isTyping = false) => {
        clearTimeout(timer.current);
        const mine = drafts.get(key);
        if (!mine) return;
        if (!overtaken) return change(mine.text);
        // The text stays under the hands of the person who writes it.
        if (isTyping) return;
        drafts.delete(key);
        asides.set(key, mine.text);
        render();
    };
    const latest = useRef(save);
    latest.current = save;
    useEffect(() => {
        const flush = () => latest.current();
        const leave = () => document.hidden && flush();
        document.addEventListener("visibilitychange", leave);
        // What was typed before the page was left is saved as if it were typed now.
        if (drafts.has(key)) timer.current = setTimeout(() => latest.current(true), IDLE);
        return () => {
            document.removeEventListener("visibilitychange", leave);
            flush();
        };
    }, []);

    return {
        value: draft?.text ?? failed?.mine[field] ?? server,
        failed,
        /** What somebody else has set while this is typed. */
        theirs: overtaken ? server : null,
        /** What was typed while somebody else set the value. */
        mine: asides.get(key) ?? row.conflict?.mine[field] ?? null,
        save: () => save(),
        saveTyped: () => save(true),
        /** @param {string} typed */
        type(typed) {
            drafts.set(key, { text: typed, base: draft?.base ?? server });
            clearTimeout(timer.current);
            timer.current = setTimeout(() => latest.current(true), IDLE);
            render();
        },
        keepMine() {
            if (draft) drafts.set(key, { ...draft, base: server });
            else if (asides.has(key)) change(asides.get(key) ?? "");
            else row.conflict?.keep(field);
            render();
        },
        dropMine() {
            drafts.delete(key);
            if (!asides.delete(key)) row.conflict?.drop(field);
            render();
        },
    };
}

/**
 * @param {{ row: Row, field: "title" | "description", label: string, placeholder?: string, oneLine?: boolean, class?: string }} props
 */
export function EditableText({ row, field, label, placeholder, oneLine, class: extra }) {
    const draft = useDraft(row, field);
    const onKeyDown = (/** @type {KeyboardEvent} */ event) => {
        const element = /** @type {HTMLElement} */ (event.currentTarget);
        if (event.isComposing) return;
        if (event.key === "Enter" && (oneLine || event.ctrlKey || event.metaKey)) {
            event.preventDefault();
            draft.saveTyped();
        } else if (event.key === "Escape") {
            // The next Escape closes the panel.
            event.stopPropagation();
            element.blur();
            /** @type {HTMLElement | null} */ (element.closest(".task"))?.focus();
        }
    };
    const onInput = (/** @type {any} */ event) => draft.type(oneLine ? event.currentTarget.value.replaceAll("\n", " ") : event.currentTarget.value);
    return html`<div class="edit">
        <div class=${`edit-text ${extra ?? ""}`} data-text=${`${draft.value || placeholder || ""}\u200b`}>
            <textarea
                rows="1" dir="auto" data-field=${field} aria-label=${label} placeholder=${placeholder} value=${draft.value}
                onInput=${onInput} onBlur=${draft.save} onKeyDown=${onKeyDown}
            ></textarea>
        </div>
        ${draft.failed && html`<${Refused} failed=${draft.failed} />`}
        ${draft.theirs !== null && html`<${Beside} says=${words.theirs} value=${draft.theirs} use=${words.keepMine} drop=${words.takeTheirs} onUse=${draft.keepMine} onDrop=${draft.dropMine} />`}
        ${draft.mine !== null && html`<${Beside} value=${draft.mine} onUse=${draft.keepMine} onDrop=${draft.dropMine} />`}
    </div>`;
}

/**
 * A value that stands beside another one, of which the person chooses one.
 * @param {{ says?: string, value: string, use?: string, drop?: string, onUse: () => void, onDrop: () => void }} props
 */
function Beside({ says = words.mine, value, use = words.useMine, drop = words.discard, onUse, onDrop }) {
    return html`<div class="beside" role="group" onMouseDown=${stay}>
        <p>${says}</p>
        <p class="value" dir="auto">${value || words.empty}</p>
        <${Button} kind="quiet" onClick=${andReturn(onUse)}>${use}<//>
        <${Button} kind="quiet" onClick=${andReturn(onDrop)}>${drop}<//>
    </div>`;
}

/** @param {{ failed: NonNullable<Row["failed"]> }} props */
function Refused({ failed }) {
    return html`<div class="beside refused" role="alert" onMouseDown=${stay}>
        <p>${words.notSaved(reasonOf(failed.problem))}</p>
        <${Button} kind="quiet" onClick=${andReturn(failed.retry)}>${text.controls.tryAgain}<//>
        <${Button} kind="quiet" onClick=${andReturn(failed.discard)}>${words.discard}<//>
    </div>`;
}

/** Keeps the focus in the text: losing it would save. @param {Event} event */
const stay = (event) => event.preventDefault();

/** Acts, and takes the focus from the button that disappears to what it is about. @param {() => void} act @returns {(event: Event) => void} */
const andReturn = (act) => (event) => {
    const about = /** @type {HTMLElement} */ (event.currentTarget).closest(".edit, .property, .task");
    act();
    setTimeout(() => document.activeElement === document.body && /** @type {HTMLElement | null | undefined} */ (about?.querySelector("textarea, input, button"))?.focus());
};

/** The server's own words about what is wrong. @param {any} problem */
export const reasonOf = (problem) => problem?.errors?.map((/** @type {{ detail: string }} */ error) => error.detail).join("; ") || errorText(problem);

/** The fields of a task whose lines say what became of a change. */
const FIELDS = ["title", "description", "due_at", "time_zone", "recurrence", "priority", "tags"];

/** What became of the last change that is not one of a field. @param {{ row: Row }} props */
export function OtherOutcome({ row: { failed } }) {
    return failed && !FIELDS.some((field) => field in failed.mine) ? html`<${Refused} failed=${failed} />` : null;
}

/**
 * What became of the last change of some fields: refused, or overtaken by somebody else's.
 * @param {{ row: Row, fields: string[], say: (mine: Record<string, any>) => string }} props
 */
export function Outcome({ row, fields, say }) {
    const { failed, conflict } = row;
    if (failed && fields.some((field) => field in failed.mine)) return html`<${Refused} failed=${failed} />`;
    const mine = conflict ? fields.filter((field) => field in conflict.mine) : [];
    if (!conflict || mine.length === 0) return null;
    return html`<${Beside}
        value=${say(conflict.mine)}
        onUse=${() => mine.forEach((field) => conflict.keep(field))}
        onDrop=${() => mine.forEach((field) => conflict.drop(field))}
    />`;
}

/** Whether everything is saved. @param {{ row: Row }} props */
export function Mark({ row: { saving, failed } }) {
    const [saved, setSaved] = useState(false);
    const was = useRef(false);
    useEffect(() => {
        const done = was.current && !saving && !failed;
        was.current = saving;
        setSaved(done);
        if (!done) return;
        const timer = setTimeout(() => setSaved(false), 2_500);
        return () => clearTimeout(timer);
    }, [saving, failed]);
    return html`<p class=${failed ? "mark alert" : "mark"} role="status">${saving ? words.saving : failed ? words.failed : saved && words.saved}</p>`;
}

/**
 * A part of the panel that is loaded later, and says in its own place if it cannot be.
 * @param {Parameters<typeof later>[0]} load
 * @param {Parameters<typeof later>[1]} [options]
 */
export function part(load, options) {
    const Later = later(load, options);
    function Part(/** @type {any} */ props) {
        const [error] = useErrorBoundary();
        if (error) return html`<p class="small not-loaded" role="alert">${task.notLoaded} <a href=${location.href} onClick=${() => location.reload()}>${task.reload}</a></p>`;
        return html`<${Later} ...${props} />`;
    }
    return Object.assign(Part, { preload: Later.preload });
}
