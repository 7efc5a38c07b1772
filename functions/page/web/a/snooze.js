// Snoozing the reminder of a task from the list.

import { html, useEffect } from "./vendor/preact.js";
import { Button, Dialog } from "./controls.js";
import { announce, commands, useStore } from "./store.js";
import { text } from "./text.js";
import { dayAndClock, evening, tomorrow } from "./times.js";

/**
 * The reminder that a snooze moves: the next one, or the one that was sent last.
 * @param {import("./store.js").Task} task
 */
export function snoozable(task) {
    const byTime = [...task.reminders].sort((a, b) => Date.parse(a.remind_at) - Date.parse(b.remind_at));
    return byTime.find((reminder) => reminder.state === "scheduled") ?? byTime.filter((reminder) => reminder.state === "sent").pop();
}

/** @param {{ id: string, onClose: () => void }} props */
export function Snooze({ id, onClose }) {
    const task = useStore((state) => state.tasks.get(id)?.task);
    const reminder = task && snoozable(task);
    useEffect(() => {
        if (reminder) return;
        announce(text.list.noSnooze);
    }, []);
    const choose = (/** @type {import("./store.js").Snooze} */ body) => {
        onClose();
        if (task && reminder) void commands.snooze(task, reminder, body).catch(() => {});
    };
    const { ten, hour, until } = text.list.snoozes;
    const tonight = evening();
    return html`<${Dialog} title=${text.list.snooze} onClose=${onClose} class="narrow">
        ${reminder
            ? html`<p class="muted" dir="auto">${task.title} · ${dayAndClock(reminder.remind_at)}</p>
                  <div class="choices">
                      <${Button} autofocus onClick=${() => choose({ minutes: 10 })}>${ten}<//>
                      <${Button} onClick=${() => choose({ minutes: 60 })}>${hour}<//>
                      ${tonight && html`<${Button} onClick=${() => choose({ until: tonight })}>${until(dayAndClock(tonight))}<//>`}
                      <${Button} onClick=${() => choose({ until: tomorrow() })}>${until(dayAndClock(tomorrow()))}<//>
                  </div>`
            : html`<p class="muted">${text.list.noSnooze}</p>`}
    <//>`;
}
