// Judges a page as a screen reader and a keyboard would.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";

import { require } from "../../support/script.mjs";

const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

/** Every rule of WCAG 2.2 AA that a program can check, in both colours and on a phone. */
export async function isAccessible(page, state) {
  const size = page.viewportSize();
  for (const [colorScheme, width] of [["light", size.width], ["dark", size.width], ["light", 360]]) {
    await page.emulateMedia({ colorScheme });
    await page.setViewportSize({ width, height: size.height });
    await page.evaluate(axe);
    const found = await page.evaluate(() => axe.run({
      runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    }));
    const faults = found.violations.map(({ id, help, nodes }) =>
      `${id}: ${help}\n${nodes.map(({ html, failureSummary }) => `  ${html}\n  ${failureSummary}`).join("\n")}`);
    assert.deepEqual(faults, [], `${state}, ${colorScheme}, ${width} px`);
    const [wide, there] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= there, `${state}: ${wide} px on a screen of ${there} px`);
  }
  await page.emulateMedia({ colorScheme: null });
  await page.setViewportSize(size);
}

/** Tab reaches all that can be used, in the order of the page, and shows where it is. */
export async function worksByKeyboard(page, state) {
  const expected = await page.evaluate(() => {
    const usable = [...document.querySelectorAll("a, button, input, select, summary, [tabindex='0']")];
    const seen = usable.filter((one) => one.checkVisibility() && !one.disabled);
    // Of the buttons of a group, Tab reaches the one that is chosen.
    const reached = seen.filter((one) => one.type !== "radio" || one.checked);
    reached.forEach((one, index) => { one.dataset.place = index; });
    reached[0].focus();
    return reached.length;
  });
  for (let place = 1; place < expected; place += 1) {
    await page.keyboard.press("Tab");
    const [reached, outline, what] = await page.evaluate(() => {
      const one = document.activeElement;
      return [Number(one.dataset.place), getComputedStyle(one).outlineStyle, one.outerHTML.slice(0, 80)];
    });
    assert.equal(reached, place, `${state}: ${what}`);
    assert.notEqual(outline, "none", `${state}: ${what} does not show that it has the focus`);
  }
}
