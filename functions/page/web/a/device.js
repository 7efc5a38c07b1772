// Notifications on this device, and the devices of the person.

import { html, useEffect, useRef, useState } from "./vendor/preact.js";
import { Button, ErrorState, Spinner, errorText } from "./controls.js";
import { Icon } from "./icons.js";
import { browserOf, devices, limits, present, remove, subscribe, unsubscribe } from "./push.js";
import { withTask } from "./route.js";
import { announce, commands } from "./store.js";
import { settings as text } from "./text-settings.js";
import { day, exact } from "./times.js";

/** @typedef {import("./store.js").Me} Me */
/** @typedef {import("./push.js").Device} Device */
/** @typedef {{ state: import("./push.js").PushState, endpoint?: string }} Present */

const TEST_SECONDS = 5;

/** @param {{ me: Me }} props */
export function Devices({ me }) {
    const [known, setKnown] = useState(/** @type {Device[] | null} */ (null));
    const [now, setNow] = useState(/** @type {Present | null} */ (null));
    const [error, setError] = useState(/** @type {unknown} */ (null));
    const look = async () => {
        try {
            const found = await devices();
            setNow(await present(me, found));
            setKnown(found);
            setError(null);
        } catch (failure) {
            setError(failure);
        }
    };
    useEffect(() => {
        void look();
        return whenAllowed(look);
    }, [me.vapid_public_keys.join()]);

    if (error && !known) return html`<${ErrorState} error=${error} onRetry=${look} />`;
    if (!known || !now) return html`<${Spinner} />`;
    return html`<${ThisDevice} ...${{ me, now, look }} />
        ${known.length > 0 && html`<${List} ...${{ known, now, look }} />`}`;
}

/** Calls `look` when the person may have allowed or blocked notifications elsewhere. @param {() => void} look @returns {() => void} ends it */
function whenAllowed(look) {
    const control = new AbortController();
    const { signal } = control;
    const seen = () => document.hidden || look();
    document.addEventListener("visibilitychange", seen, { signal });
    const asked = navigator.permissions?.query({ name: "notifications" });
    asked?.then((status) => status.addEventListener("change", look, { signal })).catch(() => {});
    return () => control.abort();
}

/** @param {{ me: Me, now: Present, look: () => Promise<void> }} props */
function ThisDevice({ me, now: { state }, look }) {
    const [busy, setBusy] = useState(false);
    const [says, setSays] = useState("");
    const isAble = state === "on" || state === "off";
    const run = (/** @type {() => Promise<string>} */ act) => async () => {
        setBusy(true);
        setSays("");
        try {
            setSays(await act());
        } catch (failure) {
            setSays(failure instanceof DOMException ? text.pushFailed : errorText(failure));
        }
        await look();
        setBusy(false);
    };
    const turnOn = run(async () => {
        if (!(await subscribe(me))) return text.notNow;
        announce(text.pushState.on);
        if (!me.channels.includes("push")) void commands.changeMe({ channels: [...me.channels, "push"] }, { says: text.channelAdded });
        return "";
    });
    const turnOff = run(async () => {
        await unsubscribe();
        announce(text.pushState.off);
        return "";
    });
    return html`<div class="this-device">
        <div class="setting">
            <div>
                <p>${text.push}</p>
                <p class="hint">${text.pushState[state]}</p>
                ${says && html`<p class="hint alert" role="alert">${says}</p>`}
            </div>
            ${isAble && html`<${Button} kind=${state === "off" ? "primary" : undefined} busy=${busy} onClick=${state === "on" ? turnOff : turnOn}>${state === "on" ? text.turnOff : text.turnOn}<//>`}
        </div>
        ${isAble && html`<p class="hint">${limits().map((limit) => text.limits[limit]).join(" ")}</p>`}
        ${state === "on" && html`<${Test} />`}
    </div>`;
}

/** A real task with a real reminder: what a test shows is what will happen. */
function Test() {
    const [busy, setBusy] = useState(false);
    const [made, setMade] = useState(/** @type {import("./store.js").Task | null} */ (null));
    const [wrong, setWrong] = useState("");
    const send = async () => {
        setBusy(true);
        setWrong("");
        const remind_at = new Date(Date.now() + TEST_SECONDS * 1000).toISOString();
        try {
            setMade(await commands.create({ title: text.testTitle, reminders: [{ remind_at, channels: ["push"] }] }));
            announce(text.testSent(TEST_SECONDS));
        } catch (failure) {
            setWrong(errorText(failure));
        }
        setBusy(false);
    };
    return html`<div class="setting">
        <div>
            ${made
                ? html`<p class="hint">${text.testSent(TEST_SECONDS)} <a href=${withTask(made.id, made.reminders[0]?.id)}>${text.testLink}</a></p>`
                : html`<p class="hint">${text.testHint}</p>`}
            ${wrong && html`<p class="hint alert" role="alert">${wrong}</p>`}
        </div>
        <${Button} icon="bell" busy=${busy} onClick=${send}>${text.test}<//>
    </div>`;
}

/** @param {{ known: Device[], now: Present, look: () => Promise<void> }} props */
function List({ known, now, look }) {
    const heading = useRef(/** @type {HTMLHeadingElement | null} */ (null));
    const list = useRef(/** @type {HTMLUListElement | null} */ (null));
    const drop = async (/** @type {Device} */ device, /** @type {number} */ index) => {
        await (device.endpoint === now.endpoint ? unsubscribe() : remove(device.id));
        await look();
        announce(text.removed);
        const buttons = list.current?.querySelectorAll("button") ?? [];
        (buttons[index] ?? buttons[index - 1] ?? heading.current)?.focus();
    };
    return html`<div>
        <h3 ref=${heading} tabindex="-1">${text.devices}</h3>
        <p class="hint">${text.devicesHint}</p>
        <ul class="lines" ref=${list}>
            ${known.map((device, index) => html`<${Line} key=${device.id} device=${device} isHere=${device.endpoint === now.endpoint} drop=${() => drop(device, index)} />`)}
        </ul>
    </div>`;
}

/** @param {{ device: Device, isHere: boolean, drop: () => Promise<void> }} props */
function Line({ device, isHere, drop }) {
    const [busy, setBusy] = useState(false);
    const [wrong, setWrong] = useState("");
    const name = text.browsers[browserOf(device.endpoint)];
    const press = async () => {
        setBusy(true);
        try {
            await drop();
        } catch (failure) {
            setBusy(false);
            setWrong(errorText(failure));
        }
    };
    return html`<li class="setting">
        <${Icon} name="phone" />
        <div>
            <p>${name}${isHere && html` · <strong>${text.thisDevice}</strong>`}</p>
            <p class="hint" title=${exact(device.created_at)}>${text.added(day(device.created_at))}</p>
            ${wrong && html`<p class="hint alert" role="alert">${wrong}</p>`}
        </div>
        <${Button} kind="quiet" busy=${busy} aria-label=${text.removeDevice(name)} onClick=${press}>${text.remove}<//>
    </li>`;
}
