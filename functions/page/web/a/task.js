// The panel of a task.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Button, Disclosure, ErrorState, Menu, Spinner } from "./controls.js";
import { Due } from "./due.js";
import { EditableText, Mark, OtherOutcome, Outcome, part } from "./edit.js";
import { Icon } from "./icons.js";
import { Property, useFocusInside } from "./property.js";
import { Reminders, Timeline } from "./reminders.js";
import { go, withoutTask } from "./route.js";
import { sentence } from "./rule.js";
import { commands, idOf, openTask, useStore } from "./store.js";
import { Tags } from "./tags.js";
import { task as text } from "./text-task.js";
import { ago, dayAndClock, exact } from "./times.js";

/** @typedef {import("./store.js").Row} Row */

const RecurrenceForm = part(() => import("./recurrence.js"));
const NextDates = part(() => import("./recurrence.js"), { name: "NextDates" });
const History = part(() => import("./history.js"));

const PRIORITIES = /** @type {const} */ (["urgent", "high", "medium", "low"]);
const MISSING = 404;
/** A longer title is set smaller. */
const LONG = 100;

/** @param {{ id: string, route: import("./route.js").Route }} props */
export default function Task({ id, route }) {
    const row = useStore((state) => state.tasks.get(idOf(id)));
    const [problem, setProblem] = useState(/** @type {any} */ (null));
    const open = () => {
        setProblem(null);
        openTask(id).catch(setProblem);
    };
    // Also when it disappears, to know whether it was deleted.
    useEffect(open, [id, Boolean(row)]);
    useEffect(() => {
        for (const part of [RecurrenceForm, History, Timeline]) part.preload().catch(() => {});
    }, []);
    if (row) return html`<${Panel} row=${row} opened=${route.reminder} />`;
    if (!problem) return html`<${Spinner} label=${text.loading} />`;
    if (problem.status !== MISSING) return html`<${ErrorState} error=${problem} onRetry=${open} />`;
    // A deleted task has a history, and can be restored.
    return html`<div class="task"><p class="task-missing">${text.missing}</p>${route.reminder && html`<${Timeline} task=${{ version: 0 }} reminder=${{ id: route.reminder }} />`}<${History} id=${id} version=${null} /></div>`;
}

/** @param {{ row: Row, opened: string | undefined }} props */
function Panel({ row, opened }) {
    const { task } = row;
    const toggle = () => void (task.completed ? commands.reopen : commands.complete)(task.id);
    const verb = task.completed ? text.reopen : text.complete;
    return html`<article class=${`task ${task.completed ? "is-done" : ""}`} tabindex="-1" aria-label=${task.title}>
        <header class="task-head">
            <h2 class="unseen">${task.title}</h2>
            <button type="button" class="task-check" role="checkbox" aria-checked=${String(task.completed)} aria-label=${verb} title=${verb} onClick=${toggle}>
                <span class="circle"><${Icon} name="check" size=${12} /></span>
            </button>
            <${EditableText} row=${row} field="title" label=${text.title} oneLine class=${task.title.length > LONG ? "task-title long" : "task-title"} />
        </header>
        <${EditableText} row=${row} field="description" label=${text.description} placeholder=${text.notes} class="task-notes" />
        <${Mark} row=${row} />
        <${OtherOutcome} row=${row} />
        <div class="properties">
            <${Due} row=${row} />
            <${Repeat} row=${row} />
            <${Priority} row=${row} />
            <${Tags} row=${row} />
        </div>
        <${ForLaterOnes} row=${row} />
        <${Reminders} row=${row} opened=${opened} />
        <${Disclosure} label=${text.history.label} class="task-history"><${History} id=${task.id} version=${task.version} /><//>
        <${Footer} row=${row} toggle=${toggle} />
    </article>`;
}

/** @param {{ row: Row }} props */
function Repeat({ row }) {
    const { task } = row;
    const words = text.repeat;
    return html`<${Property}
        name="repeat" icon="repeat" label=${words.label} disabled=${!task.due_at}
        value=${task.recurrence && sentence(task.recurrence, task)} add=${task.due_at ? words.add : words.needsDue}
        editor=${(/** @type {() => void} */ close) => html`<${RecurrenceForm} row=${row} close=${close} />`}
        below=${task.recurrence && html`<${NextDates} recurrence=${task.recurrence} task=${task} waits=${row.saving} />`}
    >
        <${Outcome} row=${row} fields=${["recurrence"]} say=${(/** @type {any} */ mine) => (mine.recurrence ? sentence(mine.recurrence) : "")} />
    <//>`;
}

/** @param {{ row: Row }} props */
function Priority({ row }) {
    const { task } = row;
    const { label, words } = text.priority;
    const items = PRIORITIES.map((priority) => ({
        label: words[priority],
        checked: task.priority === priority,
        onSelect: () => void commands.change(task.id, { priority }),
    }));
    return html`<div class="property" data-property="priority">
        <${Menu} class="property-line" icon="flag" items=${items}>
            <span class="unseen">${label}: </span><span class=${task.priority === "medium" ? "value muted" : "value"}>${words[task.priority]}</span>
        <//>
        <${Outcome} row=${row} fields=${["priority"]} say=${(/** @type {any} */ mine) => words[mine.priority]} />
    </div>`;
}

/** The fields of a recurring task that were changed for this occurrence alone, and can be for later ones. */
const OF_SERIES = /** @type {const} */ (["title", "description", "priority", "tags"]);

/** Offers to make a change of a recurring task for its later occurrences too. @param {{ row: Row }} props */
function ForLaterOnes({ row: { task, saving, failed } }) {
    const first = useRef(task);
    const before = useRef(task);
    const pending = useRef(/** @type {Set<typeof OF_SERIES[number]>} */ (new Set()));
    const [changed, setChanged] = useState(/** @type {(typeof OF_SERIES[number])[]} */ ([]));
    const differs = (/** @type {typeof OF_SERIES[number]} */ field, /** @type {typeof task} */ from) => String(from[field]) !== String(task[field]);
    useEffect(() => {
        // What changes while nothing is being saved was changed elsewhere.
        if (saving) return OF_SERIES.forEach((field) => differs(field, before.current) && pending.current.add(field));
        if (!failed) setChanged((others) => [...new Set([...others, ...pending.current])].filter((field) => differs(field, first.current)));
        pending.current.clear();
        before.current = task;
    }, [task, saving, failed]);
    if (!task.recurrence || task.completed || changed.length === 0) return null;
    const change = () => {
        first.current = task;
        setChanged([]);
        commands.change(task.id, Object.fromEntries(changed.map((field) => [field, task[field]])), { scope: "following" });
    };
    return html`<p class="later-ones small" role="status">${text.onlyThis} <${Button} kind="quiet" onClick=${change}>${text.changeFollowing}<//></p>`;
}

/** @param {{ row: Row, toggle: () => void }} props */
function Footer({ row: { task }, toggle }) {
    const [asks, setAsks] = useState(false);
    const remove = () => {
        go(withoutTask(), { replace: true });
        commands.remove(task.id);
    };
    const { completed, completed_at: at, created_at, version } = task;
    return html`<footer class="task-foot">
        ${asks
            ? html`<${EndOfSeries} onDelete=${remove} onComplete=${toggle} onClose=${() => setAsks(false)} />`
            : html`<div class="actions">
                  <${Button} icon=${completed ? "undo" : "check"} onClick=${toggle}>${completed ? text.reopen : text.complete}<//>
                  <${Button} kind="quiet" icon="trash" onClick=${() => (task.recurrence && !completed ? setAsks(true) : remove())}>${text.delete}<//>
              </div>`}
        <p class="small muted">
            ${completed && at ? html`<time datetime=${at} title=${exact(at)}>${text.completedAt(ago(at))}</time>` : html`<time datetime=${created_at} title=${exact(created_at)}>${text.created(dayAndClock(created_at), version)}</time>`}
        </p>
    </footer>`;
}

/** Deleting an occurrence ends its series, which one may not want. @param {{ onDelete: () => void, onComplete: () => void, onClose: () => void }} props */
function EndOfSeries({ onDelete, onComplete, onClose }) {
    const group = useFocusInside(".quiet");
    const complete = () => {
        onClose();
        onComplete();
    };
    return html`<div class="ends-series" ref=${group} role="group" aria-label=${text.delete}>
        <p class="small">${text.endsSeries}</p>
        <div class="actions">
            <${Button} kind="danger" onClick=${onDelete}>${text.deleteSeries}<//>
            <${Button} onClick=${complete}>${text.complete}<//>
            <${Button} kind="quiet" onClick=${onClose}>${text.cancel}<//>
        </div>
    </div>`;
}
