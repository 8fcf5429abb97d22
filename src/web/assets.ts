/**
 * The files that the dashboard's pages load: one style, the scripts, and nothing from elsewhere.
 *
 * @module
 */

import morphdomLicense from "morphdom/LICENSE" with { type: "text" };
import morphdom from "morphdom/dist/morphdom-umd.min.js" with { type: "text" };
import { digest, pageScript, pageStyle } from "../run/report/page_parts.ts";
import chatClientScript from "./chat_client.js" with { type: "text" };
import chatViewScript from "./chat_view.js" with { type: "text" };
import copyScript from "./copy.js" with { type: "text" };
import dashboardStyle from "./dashboard.css" with { type: "text" };
import liveScript from "./live.js" with { type: "text" };
import playgroundScript from "./playground.js" with { type: "text" };
import requestScript from "./request.js" with { type: "text" };
import runActionsScript from "./run_actions.js" with { type: "text" };
import sessionScript from "./session.js" with { type: "text" };
import startScript from "./start.js" with { type: "text" };

/** A file, as it is sent. */
export interface Asset {
  readonly type: string;
  readonly text: string;
  /** Changes with the text. */
  readonly hash: string;
}

const css = (text: string) => asset("text/css; charset=utf-8", text);
const script = (text: string) => asset("text/javascript; charset=utf-8", text);

/** The files by name. */
export const assets = {
  "style.css": css(`${pageStyle}\n${dashboardStyle}`),
  "page.js": script(pageScript),
  "live.js": script(`/*\n${morphdomLicense}*/\n${morphdom}\n${liveScript}`),
  "request.js": script(requestScript),
  "run_actions.js": script(runActionsScript),
  "session.js": script(sessionScript),
  "copy.js": script(copyScript),
  "start.js": script(startScript),
  "chat_client.js": script(chatClientScript),
  "chat_view.js": script(chatViewScript),
  "playground.js": script(playgroundScript),
} as const satisfies Readonly<Record<string, Asset>>;

/** Names of the files. */
export type AssetName = keyof typeof assets;

/** Where a file is found; elsewhere once its text has changed, so that it may be kept for ever. */
export function assetUrl(name: AssetName): string {
  return `/ui/assets/${name}?v=${encodeURIComponent(assets[name].hash)}`;
}

function asset(type: string, text: string): Asset {
  return { type, text, hash: digest(text) };
}
