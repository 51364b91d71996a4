// Visits the operators' pages in headless Chromium as somebody with a keyboard, and prints what it found as one JSON object:
// arguments are the browser's program, and a JSON object with url, an operator's and a viewer's token, whom a proxy names, folder, the
// pages to look at, what is never on one, what must be seen on some before and after, where an id leads, a list that is longer than a
// page, and the forms to send.
import { chromium } from "playwright-core";

const [program, given] = process.argv.slice(-2);
const { url, token, viewer, proxy, pages, never, sees, finds, long, acts, after, folder } = JSON.parse(given);
const found = {
  console: [], foreign: [], overflow: [], unnamed: [], small: [], contrast: [], personal: [], shots: 0, keyboard: {}, unseen: [], unasked: [], done: [],
  older: [], viewer: {}, proxy: {}, live: {},
};

const browser = await chromium.launch({ executablePath: program, args: ["--no-sandbox", "--disable-gpu"] });

/** A browser window that writes down what it should not see. */
async function open(scheme, size, headers = {}) {
  const context = await browser.newContext({ colorScheme: scheme, viewport: size, reducedMotion: "reduce", extraHTTPHeaders: headers });
  const page = await context.newPage();
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) found.console.push(`${page.url()}: ${message.text()}`);
  });
  page.on("pageerror", (error) => found.console.push(`${page.url()}: ${error}`));
  page.on("request", (request) => {
    if (!request.url().startsWith(url + "/")) found.foreign.push(request.url());
  });
  return { context, page };
}

/** Signs in with nothing but the keyboard, and comes to the page that was asked for. */
async function signIn(page, whose = token, path = "/operator") {
  await page.goto(url + path);
  await page.waitForFunction(() => document.activeElement?.id === "token"); // nobody has to look for the field
  await page.keyboard.type(whose);
  await page.keyboard.press("Enter");
  await page.waitForURL(url + path);
}

const plain = (text) => text.replace(/\s+/g, " ");

/** Notes what is missing: a text, a row with these in its cells, or what should have been filtered away and is there. */
async function look(page, wanted) {
  const shown = plain(await page.locator("main").textContent());
  const rows = await page.locator("main tbody tr").evaluateAll((rows) => rows.map((row) => [...row.cells].map((cell) => cell.textContent)));
  const isThere = ({ row, cells }) =>
    rows.some((found) => [row, ...cells].every((text) => found.some((cell) => plain(cell).includes(text))));
  for (const one of wanted) {
    const isSeen = one.hides ? !shown.includes(one.hides) : one.row ? isThere(one) : shown.includes(one);
    if (!isSeen) found.unseen.push(`${page.url().slice(url.length)}: ${JSON.stringify(one)}`);
  }
}

/** What on this page would change something. */
const changing = (page) =>
  page.locator("form[method=post]:not([action$='/sign-out']), input[type=checkbox], main button:not(.filter button)").count();

/** Fills the form in that this action is about, and sends it. */
async function act(page, { path, form, with: fields = {}, tick = [], choose, press }) {
  await page.goto(url + path);
  for (const box of tick === "all" ? [] : tick) await page.locator(`input[type=checkbox][value="${box}"]`).check();
  if (tick === "all") await page.locator("[data-choose-all]").click();
  const sent = page.locator(form).first();
  await sent.evaluate((element) => element.closest("details")?.setAttribute("open", ""));
  if (choose) await sent.getByLabel(choose, { exact: false }).first().check();
  if ((await sent.locator("[name=reason][required]").count()) !== 1) found.unasked.push(`${path}: ${press}`);
  for (const [name, value] of Object.entries({ reason: "seen in a browser", ...fields })) {
    const field = sent.locator(`[name="${name}"]`);
    if (await field.evaluate((element) => element.matches("select"))) await field.selectOption(value);
    else await field.fill(value);
  }
  await sent.getByRole("button", { name: press }).first().click();
  await page.waitForURL(/[?&]did=/);
  return (await page.locator("[role=status]").textContent()).trim();
}

/** What is wider than the window, has no name for those who hear it, or is too small for a thumb. */
function judge(narrow) {
  const wrong = { overflow: [], unnamed: [], small: [], contrast: [] };
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) wrong.overflow.push(`${location.pathname} by ${wide}px at ${innerWidth}px`);
  for (const control of document.querySelectorAll("a, button, input:not([type=hidden]), select, summary")) {
    const name = control.getAttribute("aria-label") || control.textContent.trim() || control.labels?.[0]?.textContent.trim();
    if (!name) wrong.unnamed.push(`${location.pathname}: ${control.outerHTML.slice(0, 120)}`);
    const box = control.getBoundingClientRect();
    if (narrow && box.height > 0 && box.height < 40 && control.matches("button, select, input[type=text], input[type=search]"))
      wrong.small.push(`${location.pathname}: ${control.outerHTML.slice(0, 120)}`);
  }
  const channels = (colour) => colour.match(/[\d.]+/g).map(Number);
  const light = ([r, g, b]) => {
    const part = (value) => ((value /= 255) <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const colour = channels(getComputedStyle(at).backgroundColor);
      if (colour.length < 4 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (texts.nextNode()) {
    const element = texts.currentNode.parentElement;
    if (!texts.currentNode.data.trim() || element.closest(".hidden, script, option") || !element.getClientRects().length) continue;
    const [one, other] = [light(channels(getComputedStyle(element).color)), light(ground(element))].sort((a, b) => b - a);
    const ratio = (one + 0.05) / (other + 0.05);
    if (ratio < 4.5) wrong.contrast.push(`${location.pathname}: ${ratio.toFixed(2)} ${texts.currentNode.data.trim().slice(0, 40)}`);
  }
  return wrong;
}

const sizes = { wide: { width: 1280, height: 900 }, narrow: { width: 390, height: 844 } };
for (const scheme of ["light", "dark"]) {
  for (const [name, size] of Object.entries(sizes)) {
    const { context, page } = await open(scheme, size);
    await page.goto(`${url}/operator/sign-in`);
    await page.screenshot({ path: `${folder}/sign-in-${scheme}-${name}.png` });
    await signIn(page);
    for (const [title, path] of Object.entries(pages)) {
      await page.goto(url + path);
      if (await page.locator("details").count()) await page.locator("details").first().evaluate((details) => (details.open = true));
      const wrong = await page.evaluate(judge, name === "narrow");
      for (const kind of Object.keys(wrong)) found[kind].push(...wrong[kind].map((one) => `${scheme} ${one}`));
      const text = await page.content();
      found.personal.push(...never.filter((one) => text.includes(one)).map((one) => `${path}: ${one}`));
      await page.screenshot({ path: `${folder}/${title}-${scheme}-${name}.png`, fullPage: true });
      found.shots += 1;
    }
    await context.close();
  }
}

// With the keyboard alone: to the content, to the search box, and through a form that changes something.
{
  const { context, page } = await open("light", sizes.wide);
  await signIn(page);
  await page.keyboard.press("Tab");
  found.keyboard.first = await page.evaluate(() => document.activeElement.textContent.trim());
  await page.keyboard.press("Enter");
  found.keyboard.skipped = await page.evaluate(() => document.activeElement.id);
  await page.keyboard.press("/");
  found.keyboard.slash = await page.evaluate(() => document.activeElement.id);
  await page.keyboard.type("job_1");
  await page.keyboard.press("Enter");
  await page.waitForURL(/jobs\/1$/);
  await page.goto(`${url}/operator/lanes`);
  const pause = page.locator("summary", { hasText: "upkeep" });
  await pause.focus();
  found.keyboard.outlined = await pause.evaluate((summary) => {
    summary.focus({ focusVisible: true });
    return getComputedStyle(summary).outlineStyle;
  });
  await page.keyboard.press("Enter"); // opens it
  await page.keyboard.press("Tab"); // for how long
  await page.keyboard.press("Tab"); // why
  await page.keyboard.type("seen by keyboard");
  await page.keyboard.press("Enter");
  await page.waitForURL(/did=lane\.paused/);
  found.keyboard.done = await page.locator("[role=status]").textContent();
  await context.close();
}

// What the table of features promises, as it is shown.
{
  const { context, page } = await open("light", sizes.wide);
  await signIn(page);
  for (const [path, wanted] of Object.entries(sees)) {
    await page.goto(url + path);
    await look(page, wanted);
  }
  await page.goto(`${url}/operator`);
  found.charts = await page.locator("svg.chart polyline").count();
  found.dashboards = await page.getByRole("link", { name: "Dashboards" }).getAttribute("href");

  // Whatever id somebody has, the box leads to what it is the id of.
  for (const [id, path, wanted] of finds) {
    await page.goto(`${url}/operator`);
    await page.keyboard.press("/");
    await page.keyboard.type(id);
    await page.keyboard.press("Enter");
    await page.waitForURL(url + path);
    await look(page, wanted);
  }

  // A list that is longer than a page goes on behind its last row.
  await page.goto(url + long);
  for (let more = true; more; ) {
    found.older.push(await page.locator("main tbody tr").count());
    const older = page.getByRole("link", { name: "Older" });
    more = (await older.count()) === 1;
    if (more) await Promise.all([page.waitForURL(/before=/), older.click()]);
  }

  // And every action, by the form that offers it; then what was done, who did it and why.
  for (const one of acts) found.done.push(await act(page, one));
  for (const [path, wanted] of Object.entries(after)) {
    await page.goto(url + path);
    await look(page, wanted);
  }

  // The audit log is full by now.
  await page.goto(`${url}/operator/audit`);
  for (const [name, size] of Object.entries(sizes)) {
    await page.setViewportSize(size);
    const wrong = await page.evaluate(judge, name === "narrow");
    for (const kind of Object.keys(wrong)) found[kind].push(...wrong[kind].map((one) => `full ${one}`));
    await page.screenshot({ path: `${folder}/audit-full-${name}.png`, fullPage: true });
  }
  await page.setViewportSize(sizes.wide);

  // The overview is current while somebody looks, and asks for nothing while nobody does.
  await page.clock.install();
  await page.goto(`${url}/operator`);
  const refreshed = page.waitForResponse((answer) => answer.request().headers()["x-background"] === "1");
  await page.clock.runFor(10_000);
  found.live.seen = (await refreshed).status();
  await page.evaluate(() => Object.defineProperty(document, "hidden", { value: true }));
  found.live.hidden = 0;
  page.on("request", () => (found.live.hidden += 1));
  await page.clock.runFor(60_000);
  await context.close();
}

// Who only looks sees every page and nothing to press, and comes to the page that they asked for.
{
  const { context, page } = await open("light", sizes.wide);
  await signIn(page, viewer, "/operator/lanes");
  found.viewer = { who: plain(await page.locator(".who").innerText()), changing: {}, pages: 0 };
  for (const path of Object.values(pages)) {
    const answer = await page.goto(url + path);
    if (answer.status() === 200) found.viewer.pages += 1;
    const offered = await changing(page);
    if (offered) found.viewer.changing[path] = offered;
  }
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.waitForURL(`${url}/operator/sign-in`);
  await context.close();
}

// Whom a proxy names is signed in: as an operator, who changes something under their name, or as one who only looks.
for (const [role, { user, group }] of Object.entries(proxy)) {
  const { context, page } = await open("light", sizes.wide, { "x-forwarded-user": user, "x-forwarded-groups": group });
  await page.goto(`${url}/operator/lanes`);
  found.proxy[role] = { who: plain(await page.locator(".who").innerText()), changing: (await changing(page)) > 0 };
  if (role === "operator") {
    const resume = { path: "/operator/lanes", form: "form:has([value='upkeep'])", press: "Resume upkeep" };
    found.proxy.done = await act(page, resume);
    await page.goto(`${url}/operator/audit`);
    await look(page, [{ row: "lane.resumed", cells: [user, "upkeep", "seen in a browser"] }]);
  }
  await context.close();
}

await browser.close();
console.log(JSON.stringify(found));
process.exit(0);
