// A link in a mail: one button, which acts once, without a session.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button } from "./controls.js";
import { useSession } from "./session.js";
import { store } from "./store.js";
import { act as text } from "./text-settings.js";
import { text as shared } from "./text.js";
import { dayAndClock, exact } from "./times.js";

/** @typedef {import("../api-types").components["schemas"]["Acted"]} Acted */

/** The first byte of a capability. @type {Record<number, "complete" | "snooze">} */
const ACTIONS = { 1: "complete", 2: "snooze" };

/**
 * What a capability says of itself. The server decides whether it is true.
 * @param {string} capability
 * @returns {{ action: "complete" | "snooze" | "other", user: string, task: string }}
 */
function read(capability) {
    let bytes = "";
    try {
        bytes = atob(capability.slice(0, capability.length & ~3).replace(/-/g, "+").replace(/_/g, "/"));
    } catch {
        // The server says what is wrong with it.
    }
    const uuid = (/** @type {number} */ from) =>
        [...bytes.slice(from, from + 16)]
            .map((byte) => byte.charCodeAt(0).toString(16).padStart(2, "0"))
            .join("")
            .replace(/^(.{8})(.{4})(.{4})(.{4})(.{12})$/, "$1-$2-$3-$4-$5");
    return { action: ACTIONS[bytes.charCodeAt(0)] ?? "other", user: uuid(1), task: uuid(17) };
}

/** @param {{ capability: string }} props */
export default function Act({ capability }) {
    const { state } = useSession();
    const { action, user, task } = read(capability);
    const title = useTitle(state === "signed-in", user, task);
    const [busy, setBusy] = useState(false);
    const [acted, setActed] = useState(/** @type {Acted | null} */ (null));
    const [error, setError] = useState(/** @type {any} */ (null));
    const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null));
    useEffect(() => {
        if (acted || error?.status) heading.current?.focus();
    }, [acted, error]);

    const press = async () => {
        setBusy(true);
        setError(null);
        try {
            setActed((await request("POST", "/v1/actions", { body: { capability } })).body);
        } catch (failure) {
            setError(failure);
        }
        setBusy(false);
    };
    const isOver = acted || (error?.status && error.status < 500 && error.status !== 409 && error.status !== 429);
    const [says, what] = outcome(acted, error) ?? [text.title[action], text.what[action]];
    const href = acted && title !== null ? `#/task/${acted.task_id}` : "#/today";
    return html`<div class="act">
        <p class="act-name">${shared.shell.name}</p>
        <h1 ref=${heading} tabindex="-1">${says}</h1>
        ${title && (isOver || action !== "complete") && html`<p dir="auto">${title}</p>`}
        <p class="muted">${acted?.remind_at ? html`<time datetime=${acted.remind_at} title=${exact(acted.remind_at)}>${what}</time>` : what}</p>
        ${!isOver &&
        html`<${Button} kind="primary" icon=${action === "snooze" ? "clock" : "check"} busy=${busy} onClick=${press}><span dir="auto">${title && action === "complete" ? text.done(title) : text.button[action]}</span><//>
            <p class="small muted">${text.expires}</p>`}
        ${error && !isOver && html`<p class="alert" role="alert">${error.status ? error.message : text.unreachable}</p>`}
        ${isOver && html`<p><a href=${href}>${href === "#/today" ? text.openPage : text.open}</a></p>`}
    </div>`;
}

/**
 * What happened, and more about it.
 * @param {Acted | null} acted
 * @param {any} error
 * @returns {[string, string] | undefined}
 */
function outcome(acted, error) {
    if (acted?.outcome === "unchanged") return [text.unchanged, text.reasons[acted.reason ?? "used"]];
    if (acted?.remind_at) return [text.snoozed, text.snoozedWhat(dayAndClock(acted.remind_at))];
    if (acted) return [text.completed, text.completedWhat];
    if (error?.status === 404) return [text.refused, text.noLinks];
    if (error?.status === 422) return [text.refused, text.refusedWhat(error.errors[0]?.detail ?? error.detail)];
    return undefined;
}

/** The title of the task, if it is one of the person who is signed in; null until then. @param {boolean} isSignedIn @param {string} user @param {string} task */
function useTitle(isSignedIn, user, task) {
    const [title, setTitle] = useState(/** @type {string | null} */ (null));
    useEffect(() => {
        if (!isSignedIn || !task) return;
        const show = async () => {
            const me = store.get().me ?? (await request("GET", "/v1/me")).body;
            if (me.id === user) setTitle((await request("GET", `/v1/tasks/${task}`)).body.title);
        };
        // Without a title the button works as well.
        show().catch(() => {});
    }, [isSignedIn, user, task]);
    return title;
}
