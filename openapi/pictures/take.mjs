// Opens the pages in headless Chromium, and leaves of some a picture and the words that are in it: arguments are the browser's
// program and a folder.
import { chromium } from "playwright-core";
import { writeFileSync } from "node:fs";

const [program, folder] = process.argv.slice(-2);
const { DROP_API: api, DROP_OPERATOR_PAGE: operator, DROP_OPERATOR_TOKEN: token } = process.env;
const ours = [api, operator].map((address) => new URL(address).origin);
/** A reading of the gauges, and the page's own look at it, are some seconds old. */
const READ = 60_000;
const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu"] });

/** A run's port is any free one. */
function usual() {
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) texts.currentNode.data = texts.currentNode.data.replaceAll(location.port, "8080");
}

/** The words in the window; of the elements chosen, where not all of them are the same each time. */
function seen(chosen) {
  const words = [];
  const isInside = (element) => {
    const box = element.getBoundingClientRect();
    return box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.right > 0 && box.left < innerWidth;
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const { data, parentElement: element } = texts.currentNode;
    const isText = data.trim() && !element.closest("script, style");
    if (isText && isInside(element) && element.closest(chosen)) words.push(data.trim());
  }
  for (const field of document.querySelectorAll("[placeholder]")) {
    if (isInside(field) && field.matches(chosen)) words.push(field.placeholder);
  }
  return words.join("\n") + "\n";
}

/** The documentation goes on arranging itself after it is there. */
async function settled(page) {
  for (let same = 0, before = ""; same < 10; ) {
    await page.waitForTimeout(200);
    const now = await page.evaluate(seen, "*");
    same = now === before ? same + 1 : 0;
    before = now;
  }
}

/** Opens a page, which must have nothing to complain about and ask no other host for anything. */
async function look(open, then, height = 580) {
  const context = await browser.newContext({ colorScheme: "light", viewport: { width: 1280, height }, reducedMotion: "reduce" });
  const page = await context.newPage();
  const wrong = [];
  page.on("console", (message) => message.type() === "error" && wrong.push(message.text()));
  page.on("pageerror", (error) => wrong.push(String(error)));
  page.on("request", (request) => {
    const { protocol, origin } = new URL(request.url());
    if (protocol.startsWith("http") && !ours.includes(origin)) wrong.push(request.url());
  });
  await open(page);
  await settled(page);
  if (wrong.length) throw new Error(`${page.url()}: ${wrong.join("; ")}`);
  await then?.(page);
  await context.close();
}

async function take(name, chosen, open, height) {
  const leave = async (page) => {
    await page.evaluate(usual);
    await page.screenshot({ path: `${folder}/${name}.png` });
    writeFileSync(`${folder}/${name}.txt`, await page.evaluate(seen, chosen));
  };
  await look(open, leave, height);
}

async function signIn(page) {
  await page.goto(operator);
  await page.locator("#token").fill(token);
  await page.keyboard.press("Enter");
  await page.waitForURL(operator);
}

await take("docs", "*", async (page) => {
  await page.goto(`${api}/docs#tag/payments/POST/v1/transactions`);
  await page.getByRole("heading", { name: "Pay." }).waitFor();
  await page.evaluate(() => document.fonts.ready);
});
await look(async (page) => {
  await page.goto(`${api}/docs/swagger`);
  await page.getByText("/v1/transactions", { exact: true }).first().waitFor();
});
const overview = async (page) => {
  await signIn(page);
  // Not before it has something to show: the payments that wait for their person.
  const underWay = page.locator(".tile", { hasText: "Payments under way" });
  await underWay.filter({ hasText: /[1-9]/ }).waitFor({ timeout: READ });
};
await take("operator", "h1, h2, h3, th, nav, .tile .name, [type=search]", overview, 1290);
const story = async (page) => {
  await signIn(page);
  await page.goto(`${operator}/payments`);
  await page.getByRole("row").filter({ hasText: "completed" }).filter({ hasText: "final" }).first().getByRole("link").click();
  for (const step of ["payment.requested", "callback.came_back", "payment.moved", "payment delivered"]) {
    await page.locator(".story").getByText(step).first().waitFor();
  }
};
await take("payment", "h2, dt, nav, [type=search]", story, 1290);
await browser.close();
