/**
 * Where a token is given.
 *
 * @module
 */

import { markup } from "../run/report/html.ts";
import type { DashboardPage } from "./shell.ts";

/** The page at `/ui/sign-in`. */
export function signInPage(): DashboardPage {
  return {
    title: "Sign in",
    body: markup`<form id="sign-in">
<p><label for="token">Token</label> <input id="token" name="token" type="password" autocomplete="current-password" required></p>
<p class="note">The server was started with a file of tokens. Whoever runs it makes one by <code>./mentor serve token NAME</code>.</p>
<p><button>Sign in</button></p>
<output class="bad"></output>
</form>`,
    scripts: ["session.js"],
  };
}
