// The timeline of a reminder: why it came, or why not.

import { html, useEffect, useMemo, useRef, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, ErrorState, Spinner } from "./controls.js";
import { Icon } from "./icons.js";
import { story, verdict } from "./story.js";
import { capital } from "./text.js";
import { timeline as words } from "./text-timeline.js";
import { clock, day, daysFromToday, exact, preciseClock } from "./times.js";

/** @typedef {import("./story.js").Step} Step */
/** @typedef {import("./story.js").Entry} Entry */
/** @typedef {import("./story.js").ReminderNow} ReminderNow */
/** @typedef {{ reminder: ReminderNow, entries: Entry[], next: string | null }} Loaded */

const PAGE = 100;
/** Pages that are loaded at once. What decides is at the end, but a timeline may have thousands of attempts. */
const PAGES = 5;
/** While something is about to happen. Each answer without news doubles it, up to a minute. */
const ASK_AGAIN = 2_000;
const DOUBLINGS = 5;
const MINUTE = 60_000;
/** setTimeout takes no longer wait. */
const LONGEST_WAIT = 2 ** 31 - 1;

/** @param {string} id @param {Loaded | null} before @returns {Promise<Loaded>} */
async function load(id, before) {
    let entries = before?.entries ?? [];
    let next = before?.next ?? null;
    let reminder = before?.reminder;
    for (let pages = 0; pages < PAGES && (pages === 0 || next); pages++) {
        const { body } = await request("GET", `/v1/reminders/${id}/timeline`, { query: { limit: PAGE, cursor: next ?? undefined } });
        entries = [...entries, ...body.entries];
        next = body.next_cursor ?? null;
        reminder = body.reminder;
    }
    return { reminder: /** @type {ReminderNow} */ (reminder), entries, next };
}

/**
 * The reminder of a task, or one that is no longer among its reminders.
 * @param {{ task: { version: number }, reminder: { id: string, state?: string, version?: number, overdue?: boolean, remind_at?: string } }} props
 */
export default function Timeline({ task, reminder: { id, state, version, overdue, remind_at } }) {
    const [loaded, setLoaded] = useState(/** @type {Loaded | null} */ (null));
    const [problem, setProblem] = useState(/** @type {any} */ (null));
    const [round, setRound] = useState(0);
    const quiet = useRef(0);
    const steps = useSteps(loaded);

    useEffect(() => {
        let gone = false;
        load(id, null).then(
            (fresh) => {
                if (gone) return;
                quiet.current = fresh.entries.length === loaded?.entries.length ? quiet.current + 1 : 0;
                setLoaded(fresh);
                setProblem(null);
            },
            (failure) => gone || setProblem(failure),
        );
        return () => {
            gone = true;
        };
    }, [id, state, version, overdue, task.version, round]);

    useEffect(() => {
        const wait = untilNews(loaded, remind_at, quiet.current);
        if (wait === null) return;
        // Nobody reads it in a tab that is not seen.
        const ask = () => {
            if (!document.hidden) setRound((count) => count + 1);
            else document.addEventListener("visibilitychange", ask, { once: true });
        };
        const timer = setTimeout(ask, wait);
        return () => {
            clearTimeout(timer);
            document.removeEventListener("visibilitychange", ask);
        };
    }, [loaded]);

    if (!loaded) return problem ? html`<${ErrorState} error=${problem} onRetry=${() => setRound(round + 1)} />` : html`<${Spinner} />`;
    const { says, tone } = verdict(loaded.reminder, loaded.entries);
    const more = () => load(id, loaded).then(setLoaded, setProblem);
    return html`<section class="timeline" aria-label=${words.label}>
        <p class=${`verdict ${tone}`} role="status"><${Icon} name=${{ good: "done", bad: "warning", off: "close", wait: "clock" }[tone]} /><span>${says}</span></p>
        <ol class="steps">
            ${steps.map((step, index) => html`<${StepLine} key=${`${step.at} ${step.entries[0].what} ${step.entries[0].delivery_id}`} step=${step} before=${steps[index - 1]} />`)}
        </ol>
        ${loaded.next && html`<${Button} kind="quiet" onClick=${more}>${words.more}<//>`}
        ${problem && html`<${ErrorState} error=${problem} onRetry=${() => setRound(round + 1)} />`}
    </section>`;
}

/** How long until there may be news that no change of the task announces. @param {Loaded | null} loaded @param {string | undefined} remindAt @param {number} quiet */
function untilNews(loaded, remindAt, quiet) {
    if (!loaded || loaded.reminder.state !== "scheduled") return null;
    const ahead = Date.parse(remindAt ?? loaded.reminder.remind_at) - Date.now();
    if (ahead > LONGEST_WAIT) return null;
    return ahead > 0 ? ahead + ASK_AGAIN / 4 : ASK_AGAIN * 2 ** Math.min(quiet, DOUBLINGS);
}

/** The steps, with the names of devices once they are known. @param {Loaded | null} loaded @returns {Step[]} */
function useSteps(loaded) {
    const [devices, setDevices] = useState(/** @type {Map<string, string>} */ (new Map()));
    const pushes = loaded?.entries.some((entry) => entry.target) ?? false;
    useEffect(() => {
        if (!pushes) return;
        request("GET", "/v1/push-subscriptions").then(
            ({ body }) => setDevices(new Map(body.items.map((/** @type {{ id: string, endpoint: string }} */ device) => [device.id, device.endpoint]))),
            () => {},
        );
    }, [pushes]);
    return useMemo(() => {
        const nameDevice = (/** @type {string} */ target) => {
            const endpoint = devices.get(target);
            const host = endpoint ? new URL(endpoint).host : "";
            return words.browsers.find(([part]) => host.includes(part))?.[1] ?? (host || words.formerDevice);
        };
        return loaded ? story(loaded.reminder, loaded.entries, nameDevice) : [];
    }, [loaded, devices]);
}

/** @param {{ step: Step, before: Step | undefined }} props */
function StepLine({ step, before }) {
    const { at, sign, says, precise, entries } = step;
    const passed = before ? Date.parse(at) - Date.parse(before.at) : 0;
    const isNewDay = before ? daysFromToday(before.at) !== daysFromToday(at) : daysFromToday(at) !== 0;
    const hasSlept = passed >= MINUTE;
    return html`${hasSlept && html`<li class="gap"><span class="line"></span><span class="small muted">${sign === "fired" ? words.asleep(long(passed)) : words.later(long(passed))}</span></li>`}
        ${isNewDay && html`<li class="new-day"><span class="line"></span><span class="small">${capital(day(at))}</span></li>`}
        <li class=${`step ${sign}`}>
            <time class="small" datetime=${at} title=${exact(at)}>${precise ? preciseClock(at) : clock(at)}</time>
            <span class="line"><span class="sign"></span></span>
            <details>
                <summary><span>${says}</span><span class="small raw">${words.details}</span></summary>
                <pre>${entries.map((entry) => JSON.stringify(entry, null, 2)).join("\n")}</pre>
            </details>
        </li>`;
}

/** A long time in one unit: "44 minutes". @param {number} ms */
function long(ms) {
    const minutes = Math.round(ms / MINUTE);
    const [amount, unit] = minutes < 120 ? [minutes, "minute"] : minutes < 48 * 60 ? [Math.round(minutes / 60), "hour"] : [Math.round(minutes / 1440), "day"];
    return new Intl.NumberFormat("en", { style: "unit", unit, unitDisplay: "long" }).format(amount);
}
