// The transcripts are other people's text: it is put into the page by
// textContent alone.

const ROW_PX = 52;  // As in the style sheet.
const MAX_CHOICES = 50;  // A facet of more values is no use in a menu.
const MAX_CELLS = 2e7;  // Of a table of comparison; 40 MB, some 0.1 s.

const KIND_FILTERS = [['all', null], ['i→c', 1], ['c→i', 2],
                      ['both right', 3], ['both wrong', 0]];
const FLAGS = ['unchanged', 'truncated'];

const written = (number) => number.toLocaleString('en');
const byId = (id) => document.getElementById(id);

// An element with properties and children; strings become text.
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

// ---- Differences between two texts.

const linesOf = (text) => text.match(/[^\n]*\n|[^\n]+$/g) ?? [];
const wordsOf = (text) =>
    text.match(/(?:[\p{L}\p{M}\p{N}_]+|\S)\s*|\s+/gu) ?? [];

// Parts {left, right, same}, in order, that make up both texts: where lines
// differ, the words that do.
function compare(left, right) {
  return align(linesOf(left), linesOf(right)).flatMap((part) =>
      part.same ? [part] : align(wordsOf(part.left), wordsOf(part.right)));
}

// The same for two lists of texts, by a longest common subsequence. What is too
// long for that, but for its beginning and end, counts as all different.
function align(a, b) {
  let start = 0;
  while (start < a.length && start < b.length && a[start] === b[start]) start++;
  let endA = a.length, endB = b.length;
  while (endA > start && endB > start && a[endA - 1] === b[endB - 1]) {
    endA--;
    endB--;
  }
  const parts = [];
  const add = (left, right, same) => {
    const last = parts.at(-1);
    if (last?.same === same) {
      last.left += left;
      last.right += right;
    } else if (left || right) {
      parts.push({left, right, same});
    }
  };
  const keep = (text) => add(text, text, true);
  keep(a.slice(0, start).join(''));
  const middleA = a.slice(start, endA), middleB = b.slice(start, endB);
  if (middleA.length * middleB.length > MAX_CELLS) {
    add(middleA.join(''), middleB.join(''), false);
  } else {
    walk(middleA, middleB, keep, add);
  }
  keep(a.slice(endA).join(''));
  return parts;
}

function walk(a, b, keep, add) {
  const width = b.length + 1;
  // Longest common subsequence of a[i..] and b[j..]; at most 4,472.
  const longest = new Uint16Array((a.length + 1) * width);
  for (let i = a.length - 1; i >= 0; i--) {
    for (let j = b.length - 1; j >= 0; j--) {
      longest[i * width + j] = a[i] === b[j] ?
          longest[(i + 1) * width + j + 1] + 1 :
          Math.max(longest[(i + 1) * width + j], longest[i * width + j + 1]);
    }
  }
  let i = 0, j = 0;
  while (i < a.length || j < b.length) {
    if (i < a.length && j < b.length && a[i] === b[j]) {
      keep(a[i++]);
      j++;
    } else if (j === b.length || i < a.length &&
               longest[(i + 1) * width + j] >= longest[i * width + j + 1]) {
      add(a[i++], '', false);
    } else {
      add('', b[j++], false);
    }
  }
}

// ---- What is chosen, of what is there.

const transcripts = JSON.parse(byId('data').textContent);
for (const row of transcripts) {
  row.kind = 2 * row.grades[0] + row.grades.at(-1);
  row.flags = [row.unchanged === true, row.truncated.includes(true)];
  row.text = [row.id, row.problem, row.answer, ...row.attempts]
      .join('\n').toLowerCase();
}

const chosen = {kind: null, flags: [false, false], facets: new Map(), text: ''};
let shown = transcripts;  // What the filters leave.
let current = null;  // The open one.

function filter() {
  const facets = [...chosen.facets];
  const others = transcripts.filter((row) =>
      facets.every(([name, value]) => row.facets[name] === value) &&
      chosen.flags.every((on, flag) => !on || row.flags[flag]) &&
      row.text.includes(chosen.text));
  shown = chosen.kind === null ? others :
      others.filter((row) => row.kind === chosen.kind);
  for (const [kind, element] of counts) {
    element.textContent = written(others.filter(
        (row) => kind === null || row.kind === kind).length);
  }
  byId('count').textContent =
      `${written(shown.length)} of ${written(transcripts.length)} transcripts`;
  byId('rows').style.height = `${shown.length * ROW_PX}px`;
  byId('list').scrollTop = 0;
  read(shown.includes(current) ? current : shown[0] ?? null);
}

// ---- The list: only the rows in sight are in the page.

function drawList() {
  const list = byId('list'), bottom = list.scrollTop + list.clientHeight;
  const first = Math.max(0, Math.floor(list.scrollTop / ROW_PX) - 5);
  const last = Math.min(shown.length, Math.ceil(bottom / ROW_PX) + 5);
  byId('rows').replaceChildren(
      ...shown.slice(first, last).map((row, i) => listRow(row, first + i)));
  const active = shown.indexOf(current);
  if (first <= active && active < last) {
    list.setAttribute('aria-activedescendant', `row${active}`);
  } else {
    list.removeAttribute('aria-activedescendant');
  }
}

function listRow(row, index) {
  const element = make(
      'div', {id: `row${index}`, className: 'row'},
      make('div', {className: 'title'}, row.problem.trim().slice(0, 200)),
      make('div', {className: 'below'}, transition(row), ' · ',
           row.facets.stage, ' · ', make('bdi', {}, row.id.slice(0, 100))));
  element.setAttribute('role', 'option');
  element.setAttribute('aria-selected', row === current);
  element.setAttribute('aria-posinset', index + 1);
  element.setAttribute('aria-setsize', shown.length);
  element.style.top = `${index * ROW_PX}px`;
  element.addEventListener('click', () => {
    read(row);
    if (matchMedia('(max-width: 48rem)').matches) {
      byId('detail').scrollIntoView();
    }
  });
  return element;
}

function transition(row) {
  return make('span', {}, graded(row.grades[0]), ' → ',
              graded(row.grades.at(-1)));
}

function graded(grade) {
  return grade ? make('span', {className: 'good'}, 'right') :
      make('span', {className: 'bad'}, 'wrong');
}

function bringIntoSight(index) {
  const list = byId('list'), top = index * ROW_PX;
  list.scrollTop = Math.min(
      top, Math.max(list.scrollTop, top + ROW_PX - list.clientHeight));
}

function onKey(event) {
  const page = Math.max(1, Math.floor(byId('list').clientHeight / ROW_PX) - 1);
  const steps = {ArrowDown: 1, ArrowUp: -1, PageDown: page, PageUp: -page,
                 Home: -Infinity, End: Infinity};
  if (!(event.key in steps) || !shown.length) return;
  event.preventDefault();
  const index = Math.min(shown.length - 1, Math.max(
      0, shown.indexOf(current) + steps[event.key]));
  bringIntoSight(index);
  read(shown[index]);
}

// ---- The open transcript.

function read(row) {
  const changed = row !== current;
  current = row;
  drawList();
  if (changed) byId('detail').replaceChildren(...row ? detail(row) : []);
}

function detail(row) {
  const facets = Object.entries(row.facets).map(
      ([name, value]) => make('bdi', {}, `${name}: ${value}`));
  return [
    make('h3', {}, make('bdi', {}, row.id)),
    make('p', {className: 'note'}, ...facets.flatMap((x) => [x, ' · ']),
         transition(row), row.unchanged === true ? ' · unchanged' : ''),
    make('h4', {}, 'Problem'), make('pre', {}, row.problem),
    make('h4', {}, 'Gold answer'), make('pre', {}, row.answer),
    pair(row, 0, row.attempts.length - 1),
  ];
}

// Two attempts side by side; of more than two, any two.
function pair(row, left, right) {
  const parts = compare(row.attempts[left], row.attempts[right]);
  const box = make('div', {className: 'pair'});
  const redraw = (side, ...indices) => {
    const fresh = pair(row, ...indices);
    box.replaceWith(fresh);
    fresh.querySelector(`.${side} select`).focus();
  };
  box.append(attempt(row, left, parts, 'left', 'del',
                     (index) => redraw('left', index, right)));
  if (row.attempts.length > 1) {
    box.append(attempt(row, right, parts, 'right', 'ins',
                       (index) => redraw('right', left, index)));
  }
  return box;
}

function attempt(row, index, parts, side, tag, choose) {
  const names = row.attempts.map((_, i) => `Attempt ${i + 1}`);
  const title = names.length <= 2 ? names[index] :
      menu(`Attempt on the ${side}`, names, index, choose);
  const pieces = parts.filter((part) => part[side]).map((part) =>
      part.same ? part[side] : make(tag, {}, part[side]));
  return make(
      'section', {className: side},
      make('h4', {}, make('span', {}, title), graded(row.grades[index]),
           row.truncated[index] ? make('span', {}, 'truncated') : ''),
      make('pre', {}, ...pieces));
}

function menu(label, names, index, choose) {
  const select = make('select', {ariaLabel: label}, ...names.map(
      (name) => make('option', {}, name)));
  select.selectedIndex = index;
  select.addEventListener('change', () => choose(select.selectedIndex));
  return select;
}

// ---- The filters.

const counts = new Map();  // By kind: where its number is shown.

function makeFilters() {
  const names = new Set(transcripts.flatMap((row) => Object.keys(row.facets)));
  for (const name of names) {
    const values = [...new Set(transcripts.map((row) => row.facets[name]))]
        .filter((value) => value !== undefined);
    if (values.length > 1 && values.length <= MAX_CHOICES) {
      byId('facets').append(facet(name, values));
    }
  }
  for (const [name, kind] of KIND_FILTERS) {
    counts.set(kind, make('span'));
    byId('kinds').append(choice('radio', name, kind === null, () => {
      chosen.kind = kind;
    }, counts.get(kind)));
  }
  FLAGS.forEach((name, flag) => {
    byId('flags').append(choice('checkbox', name, false, (input) => {
      chosen.flags[flag] = input.checked;
    }));
  });
  if (transcripts.every((row) => row.unchanged === null)) {
    const input = byId('flags').querySelector('input');
    input.disabled = true;
    input.parentElement.append(make('span', {}, 'not recorded'));
  }
  byId('search').addEventListener('input', (event) => {
    chosen.text = event.target.value.toLowerCase();
    filter();
  });
}

function facet(name, values) {
  const select = menu(name, ['all', ...values], 0, (index) => {
    if (index) {
      chosen.facets.set(name, values[index - 1]);
    } else {
      chosen.facets.delete(name);
    }
    filter();
  });
  return make('label', {}, make('bdi', {}, name), select);
}

function choice(type, name, checked, choose, ...more) {
  const input = make('input', {type, checked, name: type, value: name});
  input.addEventListener('change', () => {
    choose(input);
    filter();
  });
  return make('label', {}, input, name, ...more);
}

if (transcripts.length) {
  makeFilters();
  byId('list').addEventListener('scroll', drawList, {passive: true});
  byId('list').addEventListener('keydown', onKey);
  addEventListener('resize', drawList);
  filter();
}
