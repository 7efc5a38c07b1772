// What people see before they are signed in.

import { html, useState } from "./vendor/preact.js";
import { signIn, signInWithToken } from "./session.js";
import { settings } from "./oidc.js";
import { text } from "./text.js";

export default function SignIn() {
    const [token, setToken] = useState("");
    /** @param {Event} event */
    const submit = (event) => {
        event.preventDefault();
        void signInWithToken(token);
    };
    return html`<main class="sign-in">
        <h1>${text.session.title}</h1>
        <p>${text.session.what}</p>
        ${settings.issuer && html`<button onClick=${signIn}>Sign in</button>`}
        <form onSubmit=${submit}>
            <label>Token <textarea value=${token} onInput=${(/** @type {any} */ event) => setToken(event.target.value)}></textarea></label>
            <button>Use token</button>
        </form>
    </main>`;
}
