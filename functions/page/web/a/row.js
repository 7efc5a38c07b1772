// One task in a list.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Button, classes, errorText } from "./controls.js";
import { Icon } from "./icons.js";
import { withTask } from "./route.js";
import { commands, lastReminder, nextReminder, useStore } from "./store.js";
import { text } from "./text.js";
import { ago, clock, dayAndClock, daysFromToday, exact } from "./times.js";

const UNDO = 10_000;

/**
 * `flat`: the list does not say the day, so the row does.
 * @param {{ row: import("./store.js").Row, route: import("./route.js").Route, flat?: boolean }} props
 */
export function Row({ row, route, flat = false }) {
    const { task, saving, failed, conflict } = row;
    const toggle = () => void (task.completed ? commands.reopen : commands.complete)(task.id).catch(() => {});
    const label = task.completed ? text.list.reopen(task.title) : text.list.complete(task.title);
    const isCurrent = route.task === task.id;
    return html`<li class=${classes("row", task.completed && "completed", isCurrent && "current", saving && "saving")}>
        <button type="button" class="check" role="checkbox" aria-checked=${String(task.completed)} aria-label=${label} title=${label} onClick=${toggle}>
            <span class="circle"><${Icon} name="check" size=${12} /></span>
        </button>
        <div class="what">
            <a class="title" href=${withTask(task.id)} data-row=${task.id} aria-current=${isCurrent ? "true" : undefined} dir="auto">${task.title}</a>
            <${Marks} task=${task} />
            ${task.tags.length > 0 && html`<span class="row-tags" title=${task.tags.map((tag) => `#${tag}`).join(" ")}>${task.tags.map((tag) => html`<bdi key=${tag}>#${tag}</bdi>`)}</span>`}
        </div>
        <${When} row=${row} flat=${flat} isDoneView=${route.view === "done"} />
        ${failed && html`<${Failed} failed=${failed} />`}
        ${conflict && html`<p class="row-note"><span>${text.list.conflict}</span> <a href=${withTask(task.id)}>${text.list.review}</a></p>`}
    </li>`;
}

/** Priority and repetition. @param {{ task: import("./store.js").Task }} props */
function Marks({ task }) {
    const { priority, recurrence } = task;
    const name = text.list.priority[priority];
    return html`<span class="marks">
        ${priority === "urgent" || priority === "high"
            ? html`<span class=${classes("priority", priority)} title=${name}><span aria-hidden="true">${priority === "urgent" ? "!!" : "!"}</span><span class="unseen">${name}</span></span>`
            : priority === "low" && html`<span class="priority low" title=${name}><${Icon} name="down" size=${12} /><span class="unseen">${name}</span></span>`}
        ${recurrence && html`<span title=${text.list.repeating}><${Icon} name="repeat" size=${14} /><span class="unseen">${text.list.repeating}</span></span>`}
    </span>`;
}

/** The times of a row; for a while after it was completed, the way back. @param {{ row: import("./store.js").Row, flat: boolean, isDoneView: boolean }} props */
function When({ row, flat, isDoneView }) {
    const { task, saving } = row;
    const isOffline = useStore((state) => state.connection === "offline");
    const fresh = useFresh(task.completed);
    const [slow, setSlow] = useState(false);
    useEffect(() => {
        if (!saving) return setSlow(false);
        const timer = setTimeout(() => setSlow(true), 300);
        return () => clearTimeout(timer);
    }, [saving]);
    if (slow) return html`<p class="when">${isOffline ? text.list.unsent : text.list.saving}</p>`;
    if (fresh) {
        return html`<p class="when fresh">
            <span>${text.list.justNow}</span><${Button} kind="quiet" class="undo" onClick=${() => void commands.reopen(task.id).catch(() => {})}>${text.list.undo}<//>
        </p>`;
    }
    if (task.completed) {
        const at = task.completed_at ?? task.updated_at;
        return html`<p class="when"><time class="due" datetime=${at} title=${exact(at)}>${isDoneView ? dayAndClock(at) : text.list.doneAt(ago(at))}</time></p>`;
    }
    const last = lastReminder(task);
    // A task without a due time stands at its last reminder, once that has come.
    const reminder = nextReminder(task) ?? (task.due_at ? null : last);
    return html`<p class="when">
        ${last?.state === "failed" && html`<a class="not-sent" href=${withTask(task.id, last.id)} title=${text.list.notSentAt(dayAndClock(last.remind_at))}>
            <${Icon} name="warning" size=${14} />${text.list.notSent}
        </a>`}
        ${reminder && html`<${ReminderTime} reminder=${reminder} task=${task} flat=${flat} />`}
        ${task.due_at ? html`<${Due} at=${task.due_at} flat=${flat} />` : reminder && html`<span class="due"></span>`}
    </p>`;
}

/** @param {{ at: string, flat: boolean }} props */
function Due({ at, flat }) {
    const isOverdue = Date.parse(at) < Date.now();
    const shown = flat ? dayAndClock(at) : clock(at);
    return html`<time class=${classes("due", isOverdue && "late")} datetime=${at} title=${exact(at)}>
        ${isOverdue && daysFromToday(at) === 0 && html`<span class="word">${text.list.overdueWord} </span>`}${shown}
    </time>`;
}

/** @param {{ reminder: import("./store.js").Reminder, task: import("./store.js").Task, flat: boolean }} props */
function ReminderTime({ reminder, task, flat }) {
    const at = reminder.remind_at;
    // Beside the due time or under the heading of its day, the clock is enough.
    const day = daysFromToday(at);
    const known = task.due_at ? daysFromToday(task.due_at) === day : !flat;
    const shown = known ? clock(at) : dayAndClock(at);
    const isSent = reminder.state === "sent";
    return html`<time class="reminder" datetime=${at} title=${(isSent ? text.list.remindedAt : text.list.reminderAt)(exact(at))}>
        <${Icon} name=${isSent ? "send" : "alarm"} size=${14} /><span class="unseen">${isSent ? text.list.reminded : text.list.reminder} </span>${shown}
    </time>`;
}

/** @param {{ failed: NonNullable<import("./store.js").Row["failed"]> }} props */
function Failed({ failed }) {
    return html`<div class="row-note failed" role="alert">
        <${Icon} name="warning" size=${14} /><span>${errorText(failed.problem)}</span>
        <${Button} kind="quiet" onClick=${() => failed.retry()}>${text.list.tryAgain}<//>
        <${Button} kind="quiet" onClick=${() => failed.discard()}>${text.list.discard}<//>
    </div>`;
}

/** Whether the task was completed here in the last ten seconds. @param {boolean} completed */
function useFresh(completed) {
    const before = useRef(completed);
    const until = useRef(0);
    const [, render] = useState(0);
    if (completed !== before.current) {
        before.current = completed;
        until.current = completed ? Date.now() + UNDO : 0;
    }
    useEffect(() => {
        const left = until.current - Date.now();
        if (left <= 0) return;
        const timer = setTimeout(() => render((count) => count + 1), left);
        return () => clearTimeout(timer);
    }, [completed]);
    return until.current > Date.now();
}
