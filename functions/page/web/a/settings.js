// Settings: what a person prefers, this device, all data.

import { html, useEffect, useState } from "./vendor/preact.js";
import { Button, Disclosure, ErrorState, Select, Spinner, Switch, useId } from "./controls.js";
import { Erase, Export } from "./data.js";
import Deliveries from "./deliveries.js";
import { Devices } from "./device.js";
import { setTheme, theme } from "./paint.js";
import { loadMe } from "./rows.js";
import { signOut, useSession } from "./session.js";
import { commands, useStore } from "./store.js";
import { settings as text } from "./text-settings.js";
import { capital, text as shared } from "./text.js";
import { clock, deviceZone, duration } from "./times.js";
import { ZoneField } from "./zones.js";

/** @typedef {import("./store.js").Me} Me */
/** @typedef {Me["channels"][number]} Channel */

const BEFORE = ["PT0S", "PT5M", "PT15M", "PT30M", "PT1H", "PT2H", "P1D", "P2D", "P1W"];

export default function Settings() {
    const me = useStore((state) => state.me);
    const [error, setError] = useState(/** @type {unknown} */ (null));
    const load = () => {
        setError(null);
        loadMe().catch(setError);
    };
    useEffect(() => void (me || load()), []);
    if (!me) return error ? html`<${ErrorState} error=${error} onRetry=${load} />` : html`<${Spinner} />`;
    return html`<div class="settings">
        <h1>${text.title}</h1>
        <${Section} title=${text.you}><${You} me=${me} /><//>
        <${Section} title=${text.reminders}><${Reminders} me=${me} /><//>
        <${Section} title=${text.device}>
            <${Devices} me=${me} />
            <${Theme} />
        <//>
        <${Section} title=${text.messages}>
            <${Disclosure} label=${text.messagesSent}><${Deliveries} /><//>
        <//>
        <${Section} title=${text.data}>
            <${Export} />
            <${Erase} />
        <//>
        <${Section} title=${text.session}><${Session} /><//>
    </div>`;
}

/** A heading, in the margin where there is room, and what it is about. @param {{ title: string, children?: any }} props */
function Section({ title, children }) {
    const id = useId();
    return html`<section aria-labelledby=${id}>
        <h2 id=${id}>${title}</h2>
        <div class="section">${children}</div>
    </section>`;
}

/** @param {{ me: Me }} props */
function You({ me }) {
    const here = deviceZone();
    const hint = here === me.time_zone ? text.zoneHint : text.zoneHere(here, clock(Date.now(), here));
    const save = (/** @type {string} */ zone) => commands.changeMe({ time_zone: zone });
    return html`<div class="setting">
            <div>
                <p>${text.email}</p>
                <p class="hint">${text.emailHint}</p>
            </div>
            <p class="value">${me.email}</p>
        </div>
        <${ZoneField} label=${text.zone} hint=${hint} value=${me.time_zone} onValue=${save} />
        ${here !== me.time_zone && html`<div class="zone-here"><${Button} kind="quiet" onClick=${() => save(here)}>${text.useZone}<//></div>`}`;
}

/** @param {{ me: Me }} props */
function Reminders({ me }) {
    const [wrong, setWrong] = useState(false);
    const id = useId();
    const setChannel = (/** @type {Channel} */ channel, /** @type {boolean} */ isOn) => {
        const channels = me.channels.filter((other) => other !== channel).concat(isOn ? [channel] : []);
        setWrong(channels.length === 0);
        if (channels.length > 0) void commands.changeMe({ channels });
    };
    const kept = me.default_reminder ?? "";
    const before = !kept || BEFORE.includes(kept) ? BEFORE : [kept, ...BEFORE];
    return html`<div role="group" aria-labelledby=${id}>
            <p id=${id}>${text.channels}</p>
            <p class=${wrong ? "hint alert" : "hint"} role=${wrong ? "alert" : undefined}>${wrong ? text.oneChannel : text.channelsHint}</p>
            ${/** @type {Channel[]} */ (["email", "push"]).map(
                (channel) => html`<${Switch} key=${channel} label=${text.channel[channel]} checked=${me.channels.includes(channel)} onChange=${(/** @type {boolean} */ isOn) => setChannel(channel, isOn)} />`,
            )}
        </div>
        <${Select}
            label=${text.defaultReminder}
            hint=${text.defaultReminderHint}
            options=${[["", text.noReminder], ...before.map((iso) => [iso, capital(duration(iso))])]}
            value=${kept}
            onValue=${(/** @type {string} */ iso) => commands.changeMe({ default_reminder: iso || null })}
        />
        <${Switch}
            label=${text.hideTitles}
            hint=${text.hideTitlesHint}
            checked=${me.hide_titles}
            onChange=${(/** @type {boolean} */ hide_titles) => commands.changeMe({ hide_titles })}
        />`;
}

function Theme() {
    const [chosen, choose] = useState(theme);
    const set = (/** @type {import("./paint.js").Theme} */ wanted) => {
        choose(wanted);
        setTheme(wanted);
    };
    return html`<${Select} label=${text.theme} options=${Object.entries(shared.shell.themes)} value=${chosen} onValue=${set} />`;
}

function Session() {
    const { email } = useSession();
    const [busy, setBusy] = useState(false);
    const leave = () => {
        setBusy(true);
        void signOut();
    };
    return html`<div class="setting">
        <div>
            <p>${text.signedIn(email)}</p>
            <p class="hint">${text.signOutHint}</p>
        </div>
        <${Button} busy=${busy} onClick=${leave}>${text.signOut}<//>
    </div>`;
}
