// What Settings does with all of a person's data: export and erasure.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { request } from "./api.js";
import { Button, Dialog, Field, errorText } from "./controls.js";
import { Incomplete, read, save } from "./export.js";
import { forget } from "./push.js";
import { session, signOut } from "./session.js";
import { announce } from "./store.js";
import { settings as text } from "./text-settings.js";
import { toInput } from "./times.js";

export function Export() {
    const [lines, setLines] = useState(0);
    const [outcome, setOutcome] = useState(/** @type {{ says: string, wrong?: boolean } | null} */ (null));
    const running = useRef(/** @type {AbortController | null} */ (null));
    useEffect(() => () => running.current?.abort(), []);

    const start = async () => {
        const control = new AbortController();
        running.current = control;
        setLines(0);
        setOutcome(null);
        try {
            const { file, lines: count } = await read(setLines, control.signal);
            const name = `punctual-${toInput(Date.now()).date}.ndjson`;
            save(file, name);
            setOutcome({ says: text.exported(count, name) });
            announce(text.exported(count, name));
        } catch (error) {
            if (!control.signal.aborted) setOutcome({ says: error instanceof Incomplete ? text.exportBroken : errorText(error), wrong: true });
        }
        running.current = null;
        setLines(0);
    };
    const stop = () => running.current?.abort();
    const isRunning = running.current !== null;
    return html`<div class="setting">
        <div>
            <p>${text.export}</p>
            <p class="hint">${text.exportHint}</p>
            ${isRunning && html`<p class="hint">${text.exporting(lines)}</p>`}
            ${outcome && html`<p class=${outcome.wrong ? "hint alert" : "hint"} role=${outcome.wrong ? "alert" : undefined}>${outcome.says}</p>`}
        </div>
        ${isRunning ? html`<${Button} onClick=${stop}>${text.exportStop}<//>` : html`<${Button} icon="download" onClick=${start}>${text.exportDo}<//>`}
    </div>`;
}

export function Erase() {
    const [isAsking, setAsking] = useState(false);
    return html`<div class="setting">
        <div>
            <p>${text.erase}</p>
            <p class="hint">${text.eraseHint}</p>
        </div>
        <${Button} kind="danger" onClick=${() => setAsking(true)}>${text.eraseDo}<//>
        ${isAsking && html`<${Confirm} onClose=${() => setAsking(false)} />`}
    </div>`;
}

/** @param {{ onClose: () => void }} props */
function Confirm({ onClose }) {
    const [typed, setTyped] = useState("");
    const [busy, setBusy] = useState(false);
    const [error, setError] = useState("");
    const isConfirmed = typed.trim().toLowerCase() === text.eraseWord;
    const erase = async (/** @type {Event} */ event) => {
        event.preventDefault();
        if (!isConfirmed || busy) return;
        setBusy(true);
        setError("");
        try {
            await request("DELETE", "/v1/me");
        } catch (failure) {
            // The account is erased already, and with it the token.
            if (/** @type {any} */ (failure).status !== 401) {
                setBusy(false);
                setError(errorText(failure));
                return;
            }
        }
        await leave();
    };
    const footer = html`<${Button} onClick=${onClose}>${text.keepAccount}<//>
        <${Button} kind="danger" type="submit" form="erase" disabled=${!isConfirmed} busy=${busy}>${text.eraseNow}<//>`;
    return html`<${Dialog} title=${text.eraseTitle} onClose=${onClose} footer=${footer}>
        <p>${text.eraseWhat}</p>
        <form id="erase" onSubmit=${erase}>
            <${Field} label=${text.eraseType(text.eraseWord)} value=${typed} onValue=${setTyped} error=${error} autocomplete="off" autocapitalize="none" spellcheck="false" autofocus />
        </form>
    <//>`;
}

/** Signs out of an account that is gone, and says so. */
async function leave() {
    // The server has removed the device with the rest, and would refuse the token.
    await forget().catch(() => {});
    const end = session.subscribe(() => {
        if (session.state === "signed-out") session.reason = text.erased;
    });
    await signOut();
    end();
}
