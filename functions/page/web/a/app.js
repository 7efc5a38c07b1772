// The entry of the page. What the address brought is taken out of it first.

import "./arrival.js";
import { html, render, useErrorBoundary } from "./vendor/preact.js";
import { Button } from "./controls.js";
import { later, quiet } from "./later.js";
import { useRoute } from "./route.js";
import { start, useSession } from "./session.js";
import Shell from "./shell.js";
import { follow } from "./store.js";
import { text } from "./text.js";

const WORKER_AFTER = 2_000;
const SignIn = later(() => import("./sign-in.js"), { styles: ["sign-in.css"] });
const Act = later(() => import("./act.js"), { styles: ["settings.css"] });

function App() {
    const { state } = useSession();
    const route = useRoute();
    const [error] = useErrorBoundary((failure) => console.error(failure));
    if (error) return html`<main class="alone"><p>${text.shell.broken}</p><${Button} onClick=${() => location.reload()}>${text.shell.reload}<//></main>`;
    if (state === "signed-in") return html`<${Shell} />`;
    // A link in a mail acts without a session.
    if (route.view === "act") return html`<main class="alone"><${Act} capability=${route.capability} /></main>`;
    return state === "signed-out" && html`<${SignIn} />`;
}

const root = /** @type {HTMLElement} */ (document.getElementById("app"));
render(html`<${App} />`, root);
follow();
await start();
// A session may end without a network.
void quiet.then(() => SignIn.preload()).catch(() => {});
const register = () => void import("./worker.js").then((worker) => worker.start()).catch(() => {});
// Not before the page has shown something, and for the first time only where its file can be fetched.
setTimeout(() => (navigator.onLine || navigator.serviceWorker?.controller ? register() : addEventListener("online", register, { once: true })), WORKER_AFTER);
