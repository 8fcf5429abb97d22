// A browser for tests: headless Chromium, which is on the machine or the tests that need it are
// left out. MENTOR_CHROMIUM names one that is somewhere else.

import type { AxeResults } from "axe-core";
import type { Browser, Page } from "playwright-core";

/** The program; null if there is none. */
export const chromiumPath: string | null = findChromium();

function findChromium(): string | null {
  const named = Deno.env.get("MENTOR_CHROMIUM");
  if (named) return named;
  for (const folder of (Deno.env.get("PATH") ?? "").split(":")) {
    for (const name of ["chromium", "chromium-browser", "google-chrome"]) {
      try {
        if (Deno.statSync(`${folder}/${name}`).isFile) return `${folder}/${name}`;
      } catch {
        // Not there.
      }
    }
  }
  return null;
}

/** Starts the browser. */
export async function openBrowser(): Promise<Browser> {
  const { chromium } = await import("playwright-core");
  return await chromium.launch({ executablePath: chromiumPath!, args: ["--no-sandbox"] });
}

/** How a page is looked at. */
export interface Look {
  width: number;
  theme: "light" | "dark";
}

/** A page, and everything that its console complained of. */
export async function openPage(browser: Browser, { width, theme }: Look) {
  const page = await browser.newPage({
    viewport: { width, height: 844 },
    colorScheme: theme,
    reducedMotion: "reduce",
  });
  const complaints: string[] = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(error.message));
  return { page, complaints };
}

/** What an accessibility checker finds that is serious or worse, and whether the page is too wide. */
export async function faultsOf(page: Page): Promise<string[]> {
  const { default: axe } = await import("axe-core");
  // The page's policy lets no script be added to it; the debugger may run one all the same.
  await page.evaluate(axe.source);
  const { violations } = await page.evaluate("axe.run()") as AxeResults;
  const found = violations
    .filter(({ impact }) => impact === "serious" || impact === "critical")
    .map(({ id, nodes }) => `${id}: ${nodes.map(({ target }) => target.join(" ")).join(", ")}`);
  const [shown, whole] = await page.evaluate(
    "[innerWidth, document.documentElement.scrollWidth]",
  ) as [number, number];
  return whole > shown ? [...found, `${whole} px wide on ${shown} px`] : found;
}
