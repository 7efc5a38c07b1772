// What was done to a task, newest first, and the way back.

import { html, useEffect, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, ErrorState, Spinner } from "./controls.js";
import { reasonOf } from "./edit.js";
import { withTask } from "./route.js";
import { sentence } from "./rule.js";
import { commands, store } from "./store.js";
import { capital } from "./text.js";
import { task as text } from "./text-task.js";
import { ago, clock, day, dayAndClock, daysFromToday, exact } from "./times.js";

const words = text.history;

/** @typedef {import("../api-types").components["schemas"]["HistoryEntry"]} HistoryEntry */
/** @typedef {import("../api-types").components["schemas"]["FieldChange"]} FieldChange */
/** @typedef {{ entry: HistoryEntry, says: string[], restores: number | null }} Line `restores`: the version before it */

const PAGE = 100;
/** Pages that are loaded at once: the newest entries are on the last one. */
const PAGES = 20;
const MISSING = 404;
const GONE = 410;

/** @param {string} id @returns {Promise<HistoryEntry[]>} */
async function load(id) {
    /** @type {HistoryEntry[]} */
    const entries = [];
    let cursor;
    for (let pages = 0; pages < PAGES; pages++) {
        const { body } = await request("GET", `/v1/tasks/${id}/history`, { query: { limit: PAGE, cursor } });
        entries.push(...body.items);
        cursor = body.next_cursor;
        if (!cursor) break;
    }
    return entries;
}

/** @param {{ id: string, version: number | null }} props `version` is that of the task, if it exists */
export default function History({ id, version }) {
    const [entries, setEntries] = useState(/** @type {HistoryEntry[] | null} */ (null));
    const [problem, setProblem] = useState(/** @type {any} */ (null));
    const [round, setRound] = useState(0);
    useEffect(() => {
        let gone = false;
        load(id).then(
            (fresh) => gone || (setEntries(fresh), setProblem(null)),
            (failure) => gone || setProblem(failure),
        );
        return () => {
            gone = true;
        };
    }, [id, version, round]);
    // It never existed, which the panel says.
    if (problem?.status === MISSING) return null;
    if (!entries) return problem ? html`<${ErrorState} error=${problem} onRetry=${() => setRound(round + 1)} />` : html`<${Spinner} />`;
    const lines = linesOf(entries).reverse();
    return html`<ol class="history">
        ${lines.map(({ entry, says, restores }, index) => {
            const before = lines[index - 1]?.entry.at;
            const isNewDay = !before || daysFromToday(before) !== daysFromToday(entry.at);
            return html`<li key=${entry.event_id ?? `${entry.at} ${entry.action}`}>
                ${isNewDay && html`<p class="small history-day">${capital(day(entry.at))}</p>`}
                <${Entry} id=${id} entry=${entry} says=${says} restores=${restores} />
            </li>`;
        })}
        ${lines.length === 0 && html`<li class="muted">${words.empty}</li>`}
    </ol>`;
}

/** @param {{ id: string } & Line} props */
function Entry({ id, entry, says, restores }) {
    const [problem, setProblem] = useState(/** @type {any} */ (null));
    const [busy, setBusy] = useState(false);
    const restore = async () => {
        setBusy(true);
        setProblem(null);
        await commands.restore(id, /** @type {number} */ (restores)).catch((refusal) => {
            setProblem(refusal);
            // It is said here.
            store.get().tasks.get(id)?.failed?.discard();
        });
        setBusy(false);
    };
    return html`<div class="history-entry">
        <time class="small muted" datetime=${entry.at} title=${exact(entry.at)}>${clock(entry.at)}</time>
        <div>
            ${says.map((line) => html`<p dir="auto">${line}</p>`)}
            ${problem && html`<p class="small alert" role="alert">${problem.status === GONE ? words.gone : reasonOf(problem)}</p>`}
        </div>
        ${restores !== null && html`<${Button} kind="quiet" busy=${busy} title=${words.restoreTitle(ago(entry.at))} onClick=${restore}>${words.restore}<//>`}
        ${entry.reminder_id && html`<a class="button quiet" href=${withTask(id, entry.reminder_id)}>${words.why}</a>`}
    </div>`;
}

/** @param {HistoryEntry[]} entries oldest first @returns {Line[]} */
function linesOf(entries) {
    /** @type {Line[]} */
    const lines = [];
    let version = null;
    for (const entry of entries) {
        const before = version;
        if (entry.action.startsWith("task.")) version = Number(/** @type {any} */ (entry.detail).version) || version;
        const says = sentencesOf(entry);
        const isContent = entry.action === "task.deleted" || entry.changes?.some(({ field }) => field !== "completed");
        if (says.length > 0) lines.push({ entry, says, restores: isContent ? before : null });
    }
    return lines;
}

/** @param {HistoryEntry} entry */
function sentencesOf({ action, changes }) {
    if (action === "task.created") return [words.created];
    if (action === "task.deleted") return [words.deleted];
    if (action === "task.updated" || action === "task.completed") {
        const says = (changes ?? []).flatMap(sentencesOfChange);
        if (action === "task.completed" && !says.includes(words.completed)) says.unshift(words.completed);
        if (says.length > 0) return says;
        return [changes ? words.same : words.changed];
    }
    // What happened to a reminder on the way is in its timeline.
    if (action.startsWith("reminder.")) return words.reminder[action] ? [`${words.reminder[action]}.`] : [];
    return [words.other(action)];
}

/** @param {FieldChange} change @returns {string[]} */
function sentencesOfChange({ field, from, to }) {
    const [a, b] = /** @type {[any, any]} */ ([from, to]);
    switch (field) {
        case "title":
            return [words.title(a, b)];
        case "description":
            return [words.description(a, b)];
        case "completed":
            return [b ? words.completed : words.reopened];
        case "priority":
            return [words.priority(a, b)];
        case "due_at":
            if (!a) return [words.dueSet(dayAndClock(b))];
            return [b ? words.dueMoved(dayAndClock(a), dayAndClock(b)) : words.dueRemoved(dayAndClock(a))];
        case "time_zone":
            return [words.zone(a, b)];
        case "tags":
            return [words.tags(missing(b, a), missing(a, b))];
        case "recurrence":
            if (!a) return [words.repeatSet(uncapital(sentence(b)))];
            return [b ? words.repeatChanged(uncapital(sentence(a)), uncapital(sentence(b))) : words.repeatRemoved];
        case "reminders":
            return sentencesOfReminders(a, b);
        default:
            return [words.field(field)];
    }
}

/** @param {{ id: string, remind_at: string }[]} before @param {{ id: string, remind_at: string }[]} after */
function sentencesOfReminders(before, after) {
    const find = (/** @type {typeof before} */ list, /** @type {string} */ id) => list.find((other) => other.id === id);
    return [
        ...after.filter(({ id }) => !find(before, id)).map(({ remind_at }) => words.reminderAdded(dayAndClock(remind_at))),
        ...before.filter(({ id }) => !find(after, id)).map(({ remind_at }) => words.reminderRemoved(dayAndClock(remind_at))),
        ...after.flatMap(({ id, remind_at }) => {
            const was = find(before, id);
            return was && was.remind_at !== remind_at ? [words.reminderMoved(dayAndClock(was.remind_at), dayAndClock(remind_at))] : [];
        }),
    ];
}

/** The names that only the first list has. @param {string[]} all @param {string[]} others */
const missing = (all, others) => all.filter((name) => !others.includes(name));

/** @param {string} words */
const uncapital = (words) => words.charAt(0).toLocaleLowerCase() + words.slice(1);
