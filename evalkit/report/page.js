"use strict";
/* Makes tables sortable and runs the sample browser. Model text reaches the page through textContent only. */
(() => {
  const $ = (id) => document.getElementById(id);
  const INVISIBLE = /[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200c\u200e\u200f\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\ud800-\udfff\u{e0000}-\u{e007f}]/gu;
  const PRINTED = 60;
  const KEPT_CHUNKS = 80;

  const element = (name, className, ...children) => {
    const made = document.createElement(name);
    if (className) made.className = className;
    made.append(...children.flat().filter((child) => child !== null && child !== undefined));
    return made;
  };

  const codePoint = (character) => "⟨U+" + character.codePointAt(0).toString(16).toUpperCase().padStart(4, "0") + "⟩";

  /** Text as nodes, with every invisible or direction-changing character written out. */
  const shown = (text) => {
    const nodes = [];
    let end = 0;
    for (const match of text.matchAll(INVISIBLE)) {
      if (match.index > end) nodes.push(text.slice(end, match.index));
      nodes.push(element("span", "hidden-character", codePoint(match[0])));
      end = match.index + match[0].length;
    }
    if (end < text.length) nodes.push(text.slice(end));
    return nodes;
  };

  const visible = (text) => text.replace(INVISIBLE, codePoint);

  // Tables ------------------------------------------------------------------------------------------------

  const sortTable = (table, column, kind, head) => {
    const down = head.getAttribute("aria-sort") === (kind === "number" ? "descending" : "ascending");
    const ascending = kind === "number" ? down : !down;
    const key = (row) => {
      const cell = row.cells[column];
      const value = cell.dataset.value ?? cell.textContent;
      return kind === "number" ? (cell.dataset.value === undefined ? null : Number(value)) : value;
    };
    const body = table.tBodies[0];
    const rows = [...body.rows].filter((row) => !row.classList.contains("fixed"));
    const fixed = [...body.rows].filter((row) => row.classList.contains("fixed"));
    rows.sort((one, other) => {
      const a = key(one), b = key(other);
      if (a === null || b === null) return (a === null) - (b === null);
      const order = kind === "number" ? a - b : a.localeCompare(b);
      return ascending ? order : -order;
    });
    body.append(...rows, ...fixed);
    for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
  };

  for (const head of document.querySelectorAll("table.sortable th[data-sort]")) {
    const button = element("button", "");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sortTable(head.closest("table"), head.cellIndex, head.dataset.sort, head));
  }

  // A table that is cut at the edge of the window says so.
  const sideways = () => {
    for (const frame of document.querySelectorAll(".scroll")) {
      const rest = frame.scrollWidth - frame.clientWidth;
      frame.classList.toggle("wider", rest > 1);
      frame.classList.toggle("more", rest - frame.scrollLeft > 1);
    }
  };
  for (const frame of document.querySelectorAll(".scroll")) frame.addEventListener("scroll", sideways, { passive: true });
  for (const part of document.querySelectorAll("details")) part.addEventListener("toggle", sideways);
  window.addEventListener("resize", sideways);
  sideways();

  // Data --------------------------------------------------------------------------------------------------

  const unpack = async (id) => {
    const packed = atob($(id).textContent);
    const bytes = new Uint8Array(packed.length);
    for (let place = 0; place < packed.length; place++) bytes[place] = packed.charCodeAt(place);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
    return JSON.parse(await new Response(stream).text());
  };

  const chunks = new Map();
  const chunk = (task, number) => {
    const id = `chunk-${task.number}-${number}`;
    if (!chunks.has(id)) {
      if (chunks.size >= KEPT_CHUNKS) chunks.delete(chunks.keys().next().value);
      chunks.set(id, unpack(id));
    }
    return chunks.get(id);
  };

  const chunkOf = (task, sample) => {
    let low = 0, high = task.starts.length - 1;
    while (low < high) {
      const middle = (low + high + 1) >> 1;
      if (task.starts[middle] <= sample) low = middle; else high = middle - 1;
    }
    return low;
  };

  const fetchSample = async (task, sample) => {
    const number = chunkOf(task, sample);
    const part = await chunk(task, number);
    const raw = part.samples[sample - task.starts[number]];
    let first = null;
    const prompts = raw.p.map((prompt) => {
      if (prompt === 0) return first ?? "";
      const text = prompt[0] < 0 ? prompt[1] : part.shared[prompt[0]][0] + prompt[1] + part.shared[prompt[0]][1];
      first = first ?? text;
      return text;
    });
    return { asked: raw.i ?? "", compared: raw.c ?? [], others: raw.o ?? [], prompts, own: raw.p.map((prompt) => (prompt === 0 ? "" : prompt[1])), target: raw.t, rows: raw.r };
  };

  // State, kept in the address so that every view can be linked to ----------------------------------------

  const FILTERS = new Map([
    ["task", ""], ["outcome", "all"], ["change", "all"], ["judges", "all"], ["model", ""], ["tag", ""], ["sort", "order"],
  ]);
  let index = null, task = null, found = [], open = -1, run = 0, split = new Set();

  const state = () => {
    const parts = new URLSearchParams();
    for (const [name, otherwise] of FILTERS) if ($(name).value !== otherwise) parts.set(name, $(name).value);
    if ($("search").value) parts.set("q", $("search").value);
    if (open >= 0) parts.set("sample", task.ids[open]);
    return parts;
  };

  const remember = () => {
    const address = "#" + state();
    history.replaceState(null, "", address);
    $("link").setAttribute("href", address);
  };

  const recall = () => {
    const parts = new URLSearchParams(location.hash.slice(1));
    const wanted = index.tasks.find((one) => one.key === parts.get("task"));
    if (!wanted) return false;
    chooseTask(wanted);
    for (const [name, otherwise] of FILTERS) {
      if (name === "task") continue;
      $(name).value = parts.get(name) ?? otherwise;
      if ($(name).selectedIndex < 0) $(name).value = otherwise;
    }
    $("search").value = parts.get("q") ?? "";
    const sample = parts.get("sample");
    $("samples").scrollIntoView({ behavior: "instant" });
    search().then(() => {
      if (sample === null) return $("window").open && $("window").close();
      const place = task.ids.indexOf(sample);
      if (place >= 0) show(place);
      else say(`Sample ${visible(sample)} is not in this page.`);
    });
    return true;
  };

  const choice = (value, words) => {
    const option = element("option", "", visible(words));
    option.value = value;
    return option;
  };

  /** Offer other choices and keep what was chosen, if it is still there. */
  const offer = (select, choices) => {
    const chosen = select.value;
    select.replaceChildren(...choices);
    select.value = chosen;
    if (select.selectedIndex < 0) select.selectedIndex = 0;
  };

  const useField = (name, useful) => {
    $(name).closest("label").hidden = !useful;
    if (!useful) $(name).selectedIndex = 0;
  };

  const chooseTask = (wanted) => {
    task = wanted;
    $("task").value = task.key;
    const tags = task.tags.map((name) => choice(name, name.replaceAll("_", " ")));
    tags.sort((a, b) => a.textContent.localeCompare(b.textContent));
    offer($("tag"), [choice("", "any"), ...tags]);
    const columns = task.models.map((model) => choice(String(model), index.models[model]));
    offer($("model"), [choice("", task.judges ? "any judge" : "any model"), ...columns]);
    useField("tag", task.tags.length);
    useField("model", task.models.length > 1);
    useField("change", task.models.length > 1 && !task.judges);
    useField("judges", task.split !== null);
    split = new Set(task.split ?? []);
    $("meaning").textContent = task.meaning;
  };

  const say = (words) => { $("count").textContent = words; };

  // Filters -----------------------------------------------------------------------------------------------

  const isWrong = (score) => task.middle !== null && (task.higher ? score < task.middle : score > task.middle);
  const gain = (cell, sample) => {
    const before = task.scores[0][sample], after = task.scores[cell][sample];
    if (before === null || after === null) return null;
    return task.higher ? after - before : before - after;
  };
  const changed = (cells, sample) => {
    const values = cells.map((cell) => task.scores[cell][sample]).filter((score) => score !== null);
    const spread = Math.max(...values) - Math.min(...values);
    return values.length > 1 && spread > 0 && spread >= task.least;
  };

  const CHANGES = {
    all: () => true,
    same: (sample, cells) => !CHANGES.changed(sample, cells),
    changed: (sample, cells) => changed(cells.length === 1 ? [0, ...cells] : cells, sample),
    lost: (sample, cells) => cells.some((cell) => gain(cell, sample) < 0 && changed([0, cell], sample)),
    won: (sample, cells) => cells.some((cell) => gain(cell, sample) > 0 && changed([0, cell], sample)),
  };

  const JUDGES = { all: () => true, differ: (sample) => split.has(sample), agree: (sample) => !split.has(sample) };

  const OUTCOMES = {
    all: () => true,
    wrong: (sample, cells) => cells.some((cell) => task.scores[cell][sample] !== null && isWrong(task.scores[cell][sample])),
    right: (sample, cells) => task.middle !== null &&
      cells.some((cell) => task.scores[cell][sample] !== null && !isWrong(task.scores[cell][sample])),
    unscored: (sample, cells) => cells.some((cell) => sample in task.unscored[cell]),
  };

  const extreme = (sample, pick) => {
    const gains = task.scores.map((_, cell) => (cell ? gain(cell, sample) : null)).filter((value) => value !== null);
    return gains.length ? pick(...gains) : 0;
  };
  const level = (sample, pick, otherwise) => {
    const values = task.scores.map((scores) => scores[sample]).filter((score) => score !== null);
    return values.length ? pick(...values) : otherwise;
  };
  const SORTS = {
    loss: (a, b) => extreme(a, Math.min) - extreme(b, Math.min),
    gain: (a, b) => extreme(b, Math.max) - extreme(a, Math.max),
    low: (a, b) => level(a, Math.min, Infinity) - level(b, Math.min, Infinity),
    high: (a, b) => level(b, Math.max, -Infinity) - level(a, Math.max, -Infinity),
    id: (a, b) => task.ids[a].localeCompare(task.ids[b], undefined, { numeric: true }),
  };

  const filtered = () => {
    const model = $("model").value;
    const cells = task.models.map((_, cell) => cell).filter((cell) => model === "" || task.models[cell] === Number(model));
    const tag = task.tags.indexOf($("tag").value);
    const tests = [OUTCOMES[$("outcome").value], CHANGES[$("change").value], JUDGES[$("judges").value]];
    const samples = [];
    for (let sample = 0; sample < task.ids.length; sample++) {
      if (tag >= 0 && !task.labels[sample].includes(tag)) continue;
      if (cells.length && tests.every((keeps) => keeps(sample, cells))) samples.push(sample);
    }
    const order = SORTS[$("sort").value];
    return order ? samples.sort(order) : samples;
  };

  const words = (value) => (typeof value === "string" ? value : JSON.stringify(value ?? ""));

  const matches = (sample, data, query) => {
    const texts = [task.ids[sample], task.labels[sample].map((label) => task.tags[label]).join(" "), ...data.own, words(data.target)];
    for (const row of data.rows.flat()) texts.push(row.x, row.d ?? "", row.e ? words(row.e) : "");
    texts.push(data.asked);
    for (const said of [...data.compared, ...data.others.flat()]) texts.push(said.join(" "));
    return texts.some((text) => text.toLowerCase().includes(query));
  };

  /** Apply the filters; a search for words reads through the texts, chunk after chunk, and can be overtaken. */
  const search = async () => {
    const mine = ++run;
    const query = $("search").value.trim().toLowerCase();
    const candidates = filtered();
    if (!query) return present(candidates);
    $("list").setAttribute("aria-busy", "true");
    const kept = new Set();
    const numbers = [...new Set(candidates.map((sample) => chunkOf(task, sample)))];
    const byChunk = new Map(numbers.map((number) => [number, []]));
    for (const sample of candidates) byChunk.get(chunkOf(task, sample)).push(sample);
    for (const [done, [number, samples]] of [...byChunk].entries()) {
      await chunk(task, number);
      for (const sample of samples) if (matches(sample, await fetchSample(task, sample), query)) kept.add(sample);
      if (mine !== run) return;
      if (done % 8 === 7) say(`Searched ${Math.round((100 * (done + 1)) / byChunk.size)} %: ${kept.size.toLocaleString("en")} found`);
    }
    present(candidates.filter((sample) => kept.has(sample)));
  };

  const present = (samples) => {
    found = samples;
    $("list").setAttribute("aria-busy", "false");
    const total = task.total > task.ids.length ? `, ${task.total.toLocaleString("en")} in the run` : "";
    say(`${found.length.toLocaleString("en")} of ${task.ids.length.toLocaleString("en")} samples of ${task.name} in this page${total}`);
    spacer.style.height = `${Math.max(found.length, 1) * rowHeight()}px`;
    $("list").scrollTop = 0;
    drawList();
  };

  // The list: only what can be seen is in the document ----------------------------------------------------

  const spacer = element("div", "");
  const rowHeight = () => parseFloat(getComputedStyle($("list")).getPropertyValue("--row")) || 60;

  const scoreText = (score) => {
    if (typeof score === "string") return score;
    if (task.binary && (score === 0 || score === 1)) return score ? "✓ right" : "✗ wrong";
    return task.percent ? `${(100 * score).toFixed(1)} %` : String(Number(score.toFixed(2)));
  };

  const chip = (cell, sample) => {
    const name = index.models[task.models[cell]];
    const reason = task.unscored[cell][sample];
    const score = task.scores[cell][sample];
    const said = task.words ? task.words[cell][sample] : null;
    const text = said !== null ? visible(said) : score === null ? reason ?? "no score" : scoreText(score);
    const look = score === null ? (said === null ? "none" : "") : task.middle === null ? "" : isWrong(score) ? "bad" : "good";
    return element("span", `chip ${look}`, element("span", "who", name), element("span", "", text));
  };

  const makeItem = (place) => {
    const sample = found[place];
    const ask = element("span", "ask", element("b", "", ...shown(task.ids[sample])), ...shown(task.asks[sample]));
    const button = element("button", "", ask, element("span", "chips", task.models.map((_, cell) => chip(cell, sample))));
    button.type = "button";
    button.addEventListener("click", () => show(sample));
    const item = element("div", "item", button);
    item.setAttribute("role", "listitem");
    item.setAttribute("aria-posinset", place + 1);
    item.setAttribute("aria-setsize", found.length);
    item.dataset.place = place;
    item.style.top = `${place * rowHeight()}px`;
    return item;
  };

  const drawList = () => {
    const list = $("list"), height = rowHeight();
    const first = Math.max(0, Math.floor(list.scrollTop / height) - 5);
    const last = Math.min(found.length, Math.ceil((list.scrollTop + list.clientHeight) / height) + 5);
    const focused = document.activeElement?.closest?.(".item")?.dataset.place;
    const items = [];
    for (let place = first; place < last; place++) items.push(makeItem(place));
    spacer.replaceChildren(...(items.length ? items : [emptyItem()]));
    if (focused !== undefined) spacer.querySelector(`[data-place="${focused}"] button`)?.focus({ preventScroll: true });
  };

  const emptyItem = () => {
    const item = element("div", "empty", "No sample fits these filters.");
    item.setAttribute("role", "listitem");
    return item;
  };

  const moveFocus = (event) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    const item = document.activeElement.closest?.(".item");
    if (!step || !item) return;
    event.preventDefault();
    const place = Number(item.dataset.place) + step;
    if (place < 0 || place >= found.length) return;
    const list = $("list"), height = rowHeight();
    if (place * height < list.scrollTop) list.scrollTop = place * height;
    if ((place + 1) * height > list.scrollTop + list.clientHeight) list.scrollTop = (place + 1) * height - list.clientHeight;
    drawList();
    spacer.querySelector(`[data-place="${place}"] button`)?.focus({ preventScroll: true });
  };

  // One sample --------------------------------------------------------------------------------------------

  const tokens = (text) => text.match(/\s+|[\p{L}\p{N}_]+|[^\s\p{L}\p{N}_]/gu) ?? [];
  const MOST_COMPARED = 4_000_000;

  /** Nodes of `after` with what is new and what is gone marked, by the longest common subsequence of words; null if too long or too different. */
  const wordDiff = (before, after) => {
    const a = tokens(before), b = tokens(after);
    let head = 0, tail = 0;
    while (head < a.length && head < b.length && a[head] === b[head]) head++;
    while (tail < a.length - head && tail < b.length - head && a[a.length - 1 - tail] === b[b.length - 1 - tail]) tail++;
    const x = a.slice(head, a.length - tail), y = b.slice(head, b.length - tail);
    if (x.length * y.length > MOST_COMPARED) return null;
    const width = y.length + 1;
    const lengths = new Uint16Array((x.length + 1) * width);
    for (let i = x.length - 1; i >= 0; i--) {
      for (let j = y.length - 1; j >= 0; j--) {
        lengths[i * width + j] = x[i] === y[j]
          ? lengths[(i + 1) * width + j + 1] + 1
          : Math.max(lengths[(i + 1) * width + j], lengths[i * width + j + 1]);
      }
    }
    const pieces = [["", b.slice(0, head).join("")]];
    const add = (kind, token) => {
      if (pieces.at(-1)[0] === kind) pieces.at(-1)[1] += token; else pieces.push([kind, token]);
    };
    let i = 0, j = 0;
    while (i < x.length || j < y.length) {
      if (i < x.length && j < y.length && x[i] === y[j]) { add("", x[i]); i++; j++; }
      else if (i < x.length && (j === y.length || lengths[(i + 1) * width + j] >= lengths[i * width + j + 1])) add("del", x[i++]);
      else add("ins", y[j++]);
    }
    add("", b.slice(b.length - tail).join(""));
    const count = (text) => tokens(text).filter((token) => token.trim() !== "").length;
    const kept = pieces.reduce((sum, [kind, text]) => sum + (kind ? 0 : count(text)), 0);
    if (kept < 0.3 * Math.max(count(before), count(after))) return null;
    return pieces.flatMap(([kind, text]) => (kind ? [element(kind, "", ...shown(text))] : shown(text)));
  };

  const textBlock = (nodes) => {
    const block = element("pre", "text", ...nodes);
    block.tabIndex = 0;
    return block;
  };

  const numbersOf = (value) => Object.entries(value).map(([name, number]) =>
    element("span", "chip", ...shown(`${name} ${typeof number === "number" ? Number(number.toFixed(3)) : number}`)));

  const isNumbers = (value) => value && typeof value === "object" && !Array.isArray(value) &&
    Object.values(value).every((content) => typeof content === "number");

  const EXTRA_NAMES = new Map([["judge", "The judge's words"], ["components", "Components of the score"]]);

  const extraBlocks = (extra) => Object.entries(extra).flatMap(([name, value]) => {
    if (value === null || value === "" || (typeof value === "object" && !Object.keys(value).length)) return [];
    const title = element("h5", "", ...shown(EXTRA_NAMES.get(name) ?? name.replaceAll("_", " ")));
    if (isNumbers(value)) return [title, element("div", "scores", numbersOf(value))];
    return [title, textBlock(shown(typeof value === "string" ? value : JSON.stringify(value, null, 1)))];
  });

  const answerBlocks = (row, reference) => {
    const blocks = [];
    const scores = Object.entries(row.s).map(([name, score]) => element("span", "chip", ...shown(`${name} ${score}`)));
    if (row.u) scores.push(element("span", "chip none", `unscored: ${row.u}`));
    if (row.f) scores.push(element("span", "chip none", `ended: ${row.f}`));
    if (row.n) scores.push(element("span", "chip", `${row.n} tokens`));
    blocks.push(element("div", "scores", scores));
    const marked = reference !== null && $("diff").checked && reference !== row.x ? wordDiff(reference, row.x) : null;
    blocks.push(textBlock(marked ?? (row.x === "" ? ["(empty)"] : shown(row.x))));
    if (reference !== null && reference === row.x) blocks.push(element("p", "note", "The same words as the first model."));
    if (row.d) blocks.push(element("h5", "", "Why not scored"), textBlock(shown(row.d)));
    if (row.e) blocks.push(...extraBlocks(row.e));
    if (row.j) blocks.push(element("details", "", element("summary", "", "What the judge was sent"), textBlock(shown(row.j))));
    return blocks;
  };

  const side = (data, cell) => {
    const rows = data.rows[cell];
    const said = task.words ? task.words[cell][open] : null;
    const name = index.models[task.models[cell]];
    const reference = cell > 0 && data.rows[0].length ? data.rows[0][0].x : null;
    const blocks = rows.flatMap((row, repeat) => [
      row.h ? element("h5", "", row.h) : rows.length > 1 ? element("h5", "", `repeat ${repeat + 1}`) : null,
      ...answerBlocks(row, task.judges ? null : reference),
    ]);
    const verdict = said === null ? null : element("div", "scores", element("span", "chip", ...shown(said)));
    return element("div", `side m${task.models[cell] % 8}`, element("h4", "", name), verdict,
      ...(rows.length ? blocks : ["not run"]), ...otherBlocks(data.others[cell] ?? []));
  };

  const otherBlocks = (others) => others.flatMap(([name, score, said]) => [
    element("h5", "", ...shown(`Another judge: ${name}`)),
    element("div", "scores", element("span", "chip", ...shown(score))),
    said ? textBlock(shown(said)) : null,
  ]);

  const comparedBlocks = (compared) => compared.map(([name, text], place) => {
    const before = compared[0][1];
    const marked = place && $("diff").checked && text !== before ? wordDiff(before, text) : null;
    return element("div", "side", element("h4", "", ...shown(name)), textBlock(marked ?? (text === "" ? ["(empty)"] : shown(text))));
  });

  const promptBlocks = (data) => {
    const distinct = [...new Set(data.prompts)];
    return distinct.map((prompt, place) => {
      const names = task.models.filter((_, cell) => data.prompts[cell] === prompt).map((model) => index.models[model]);
      const kind = task.judging ? "What the judge was sent" : task.recorded ? "The sample (recorded answers were scored, nothing was asked)" : "Prompt as sent";
      const title = distinct.length > 1 ? `${kind} ${task.judging ? "about" : "to"} ${names.join(", ")}` : kind;
      const folded = element("details", "", element("summary", "", title), textBlock(shown(prompt)));
      folded.open = place === 0 && prompt.length < 1500 && !data.compared.length && !task.judging;
      return folded;
    });
  };

  const show = async (sample) => {
    const data = await fetchSample(task, sample);
    open = sample;
    const labels = task.labels[sample].map((label) => element("span", "chip", ...shown(task.tags[label])));
    $("sample-title").replaceChildren(...shown(task.ids[sample]));
    const target = data.target === undefined ? [] : [element("h4", "", "Reference"), textBlock(shown(words(data.target)))];
    const asked = data.asked ? [element("h4", "", "Instruction"), textBlock(shown(data.asked))] : [];
    $("sample").replaceChildren(
      element("div", "scores", labels), ...asked, ...promptBlocks(data), ...target,
      data.compared.length ? element("div", "sides", comparedBlocks(data.compared)) : "",
      element("div", "sides", task.models.map((_, cell) => side(data, cell))),
    );
    const place = found.indexOf(sample);
    $("previous").disabled = place <= 0;
    $("next").disabled = place < 0 || place >= found.length - 1;
    remember();
    if (!$("window").open) $("window").showModal();
    $("window").scrollTop = 0;
    $("sample-title").focus();
  };

  const step = (by) => {
    const place = found.indexOf(open) + by;
    if (open >= 0 && place >= 0 && place < found.length) show(found[place]);
  };

  // Export and print --------------------------------------------------------------------------------------

  const exportFound = async () => {
    const lines = [];
    for (const sample of found) {
      const data = await fetchSample(task, sample);
      const answers = task.models.map((model, cell) => ({
        [task.judges ? "judge" : "model"]: index.models[model],
        ...(task.words ? { verdict: task.words[cell][sample] } : {}),
        prompt: data.prompts[cell],
        rows: data.rows[cell].map((row) => ({
          response: row.x, scores: row.s, unscored: row.u ?? null, detail: row.d ?? "", finish: row.f ?? "stop", extra: row.e ?? {},
        })),
      }));
      const tags = task.labels[sample].map((label) => task.tags[label]);
      const compared = data.compared.length ? { compared: data.compared } : {};
      lines.push(JSON.stringify({ task: task.name, id: task.ids[sample], tags, target: data.target ?? null, ...compared, answers }) + "\n");
    }
    const link = element("a", "");
    link.href = URL.createObjectURL(new Blob(lines, { type: "application/x-ndjson" }));
    link.download = `${task.name.replace(/[^\w.-]+/g, "-")}.jsonl`;
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  };

  let folded = [];
  window.addEventListener("beforeprint", () => {
    folded = [...document.querySelectorAll("main details:not([open])")];
    for (const part of folded) part.open = true;
    if (!task) return;
    const lines = found.slice(0, PRINTED).map((sample) => element("tr", "",
      element("td", "words", ...shown(task.ids[sample])), element("td", "words", ...shown(task.asks[sample])),
      element("td", "", element("div", "chips", task.models.map((_, cell) => chip(cell, sample))))));
    const caption = element("caption", "", `${lines.length} of ${found.length} samples of ${task.name}`);
    $("printed").replaceChildren(element("table", "", caption, element("tbody", "", lines)));
  });
  window.addEventListener("afterprint", () => { for (const part of folded) part.open = false; });

  // Start -------------------------------------------------------------------------------------------------

  let typing = 0;
  const changedFilter = () => { open = -1; search(); remember(); };

  const listen = () => {
    $("list").addEventListener("scroll", () => requestAnimationFrame(drawList), { passive: true });
    $("list").addEventListener("keydown", moveFocus);
    window.addEventListener("resize", () => { spacer.style.height = `${Math.max(found.length, 1) * rowHeight()}px`; drawList(); });
    $("task").addEventListener("change", () => { chooseTask(index.tasks.find((one) => one.key === $("task").value)); changedFilter(); });
    for (const name of FILTERS.keys()) if (name !== "task") $(name).addEventListener("change", changedFilter);
    $("search").addEventListener("input", () => {
      $("list").setAttribute("aria-busy", "true");
      clearTimeout(typing);
      typing = setTimeout(changedFilter, 150);
    });
    $("export").addEventListener("click", exportFound);
    $("previous").addEventListener("click", () => step(-1));
    $("next").addEventListener("click", () => step(1));
    $("close").addEventListener("click", () => $("window").close());
    $("diff").addEventListener("change", () => show(open));
    $("window").addEventListener("close", () => { open = -1; remember(); });
    window.addEventListener("hashchange", recall);
    document.addEventListener("keydown", (event) => {
      if (event.target.matches("input, select, textarea") || event.ctrlKey || event.metaKey || event.altKey) return;
      if (event.key === "/" && !$("window").open) { event.preventDefault(); $("search").focus(); }
      if (!$("window").open) return;
      if (event.key === "ArrowRight" || event.key === "j") step(1);
      if (event.key === "ArrowLeft" || event.key === "k") step(-1);
    });
  };

  const start = async () => {
    if (typeof DecompressionStream === "undefined") {
      return say("This browser is too old to unpack the samples; the rest of the page is complete.");
    }
    index = await unpack("index");
    for (const [number, one] of index.tasks.entries()) one.number = number;
    $("carried").textContent = index.carried;
    $("list").append(spacer);
    spacer.setAttribute("role", "presentation");
    chooseTask(index.tasks[0]);
    listen();
    if (!recall()) await search();
    document.documentElement.dataset.ready = "true";
  };

  // A page of runs that still go on loads itself again, but not while someone reads a sample, types or marks text.
  const live = document.querySelector(".live");
  const busy = () => document.hidden || $("window").open || !getSelection().isCollapsed ||
    document.activeElement.matches("input, select, textarea");
  const reload = () => {
    if (busy()) return;
    history.replaceState({ top: scrollY }, "");
    location.reload();
  };

  const top = history.state?.top;
  start().then(() => {
    if (top !== undefined) scrollTo({ top, behavior: "instant" });
    if (live) setInterval(reload, 1000 * live.dataset.every);
  });
})();
