const get = (id) => document.getElementById(id);
const form = get('controls');
const made = (name, properties, ...children) => {
  const element = Object.assign(document.createElement(name), properties);
  element.append(...children);
  return element;
};

// A slider of a length-scale is logarithmic: from a fourth of it to four times it.
const scale = (input) =>
  Number((input.dataset.first * input.dataset.reach ** input.value).toPrecision(4));

function query() {
  const asked = new URLSearchParams({ seed: form.seed.value });
  const classes = [...form.querySelectorAll('[name=class]:checked')].map((box) => box.value);
  if (classes.length) asked.set('classes', classes.slice(0, 8).join());
  const scales = [...form.querySelectorAll('.scale')].filter((input) => Number(input.value));
  if (scales.length) asked.set('scales', scales.map((one) => `${one.name}:${scale(one)}`).join());
  get('moved').hidden = !scales.length && form.seed.value === form.seed.dataset.first;
  return asked;
}

// What was asked before is no longer waited for: the server then stops drawing it.
const asking = {};
async function ask(what, asked, show) {
  asking[what]?.abort();
  const mine = asking[what] = new AbortController();
  get(what).classList.add('waits');
  try {
    const answer = await fetch(`${what}?${asked}`, { signal: mine.signal });
    if (!answer.ok) throw new Error((await answer.text()).trim());
    show(await answer.json());
    if (what === 'sheet') get('told').textContent = '';
  } catch (error) {
    if (mine.signal.aborted) return;
    if (what === 'sheet') get('told').textContent = error.message;
    else get(what).textContent = error.message;
    if (what === 'difficulty') get('observer').hidden = true;
  }
  if (asking[what] === mine) get(what).classList.remove('waits');
}

const show = {
  sheet({ rows, plane, toml }) {
    get('sheet').replaceChildren(...rows.map((row) => made('div', { className: 'row' },
      made('div', {}, made('strong', { textContent: row.name }), ' px'),
      made('div', { className: 'tiles' }, ...row.tiles.map((src, k) => made('img',
        { src, alt: `Sample ${k + 1} of class ${row.label} (${row.name} px)` }))))));
    get('plane').textContent = plane && `Of each volume one slice is shown: ${plane}.`;
    get('toml').textContent = toml;
  },
  power({ charts }) {
    get('expected').hidden = !charts.some((chart) => chart.expected);
    get('power').replaceChildren(...charts.map(({ name, svg }) => {
      const figure = made('figure', { innerHTML: svg });
      figure.append(made('figcaption', { textContent: `${name} px` }));
      return figure;
    }));
  },
  difficulty({ whole, error, chance, components, noise, converged }) {
    const percent = (value) => `${(100 * value).toFixed(1)} %`;
    const parts = components.filter((part) => part.accuracy !== null)
      .map((part) => `${part.choices.join(' or ')}: ${percent(part.accuracy)}`);
    const least = converged ? '' : 'at least ';
    get('difficulty').textContent = `${least}${percent(whole)} ± ${percent(error)} of all classes ` +
      `(by chance ${percent(chance)}); each component by itself: ${parts.join(', ')}.`;
    get('noise').textContent = noise;
    get('observer').hidden = false;
  },
};

let later;
function draw() {
  for (const input of form.querySelectorAll('[type=range]')) {
    input.parentElement.querySelector('output').textContent =
      input.className ? scale(input) : input.value;
  }
  const asked = query();
  ask('sheet', asked, show.sheet);
  clearTimeout(later);
  later = setTimeout(() => {
    ask('power', asked, show.power);
    ask('difficulty', asked, show.difficulty);
  }, 400);
}

if (form) {
  const forever = `${location.origin}/${document.body.dataset.identity}.zarr`;
  const url = document.body.dataset.changing === 'yes' ? forever : `${location.origin}/data.zarr`;
  get('lines').textContent = `import xarray\ndataset = xarray.open_zarr("${url}", chunks=None)\n` +
    `dataset.image[0].values\n\nimport zarr\nzarr.open_group("${url}", mode="r")["image"][0]\n\n` +
    `// in a browser, with no Python\nimport * as zarr from "zarrita";\n` +
    `await zarr.open(new zarr.FetchStore("${url}/image"), { kind: "array" });`;
  get('forever').textContent = forever;
  get('copy').addEventListener('click', async () => {
    getSelection().selectAllChildren(get('toml'));
    // Browsers have no clipboard for pages from other machines without encryption.
    await navigator.clipboard?.writeText(get('toml').textContent);
    get('copy').textContent = navigator.clipboard ? 'Copied' : 'Selected: press Ctrl-C';
  });
  form.addEventListener('input', draw);
  form.addEventListener('reset', () => setTimeout(draw));
  form.addEventListener('submit', (event) => event.preventDefault());
  draw();
}

if (document.body.dataset.changing === 'yes') {
  setInterval(async () => {
    const found = await fetch('identity').then((answer) => answer.json()).catch(() => null);
    if (found !== null && found !== document.body.dataset.identity) location.reload();
  }, 1000);
}
