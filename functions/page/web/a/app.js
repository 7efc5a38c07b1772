// The entry of the page. What the address brought is taken out of it first.

import "./arrival.js";
import { html, render, useEffect, useErrorBoundary, useState } from "./vendor/preact.js";
import { Button } from "./controls.js";
import { useRoute } from "./route.js";
import { start, useSession } from "./session.js";
import Shell from "./shell.js";
import SignIn from "./sign-in.js";
import { follow } from "./store.js";
import { text } from "./text.js";

const WORKER_AFTER = 2_000;

function App() {
    const { state } = useSession();
    const route = useRoute();
    const [error] = useErrorBoundary((failure) => console.error(failure));
    if (error) return html`<main class="alone"><p>${text.shell.broken}</p><${Button} onClick=${() => location.reload()}>${text.shell.reload}<//></main>`;
    if (state === "signed-in") return html`<${Shell} />`;
    // A link in a mail acts without a session.
    if (route.view === "act") return html`<${Act} capability=${route.capability} />`;
    return state === "signed-out" && html`<${SignIn} />`;
}

/** @param {{ capability: string }} props */
function Act({ capability }) {
    const [View, setView] = useState(/** @type {any} */ (null));
    useEffect(() => void import("./act.js").then((module) => setView(() => module.default)), []);
    return View && html`<main class="alone"><${View} capability=${capability} /></main>`;
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
render(html`<${App} />`, root);
follow();
await start();
// Not before the page has shown something.
setTimeout(() => void import("./worker.js").then((worker) => worker.start()).catch(() => {}), WORKER_AFTER);
